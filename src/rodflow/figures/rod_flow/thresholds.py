"""Where each optimizer holds its sharpness, against the threshold of linear theory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import share_within
from rodflow.figures.core.forest import Forest, Line, forest
from rodflow.figures.core.marks import (
    BAND_COLOR,
    TOLERANCE,
    band_key,
    ending,
    never_reached,
    not_reached_key,
)
from rodflow.figures.core.rows import sharpness
from rodflow.figures.core.style import (
    FAINT,
    INK,
    REFERENCE,
    Drawing,
    Numbers,
    key,
    process_style,
    styled,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=ALONG_RUNS,
    order=2,
    caption=r"""
*Claim* (Cohen et al., arXiv 2103.00065 and 2207.14484; Regis and Chewi, arXiv 2605.06821): every dot lies in
the band of ±10%; a dot outside, or an arrow where it lies beyond the axis, is a run that had not reached its
threshold by then or did not hold it, which the figure ``tracking`` tells apart.

Where each optimizer holds its sharpness: the dot is the time average, over the last quarter of the discrete
run, of learning rate times preconditioned sharpness, divided by the largest value that is stable by linear
theory, and the bar goes from the lowest to the highest value in that time. An open mark is a run that never
reached its threshold, and has no number. Both are dimensionless; the numbers on the right are not divided. With
momentum 0.9 theory says 2 for gradient descent and RMSProp, :math:`2(1+\beta)/(1-\beta) = 38` for heavy ball
and Adam, and :math:`2(1+\beta)/((1-\beta)(1+2\beta)) = 13.57` for Nesterov and NAdam. Where no formula is known
(AdamW, AMSGrad, AdaGrad, Yogi) the preconditioner is the inverse of the alternating gain, which has the
learning rate in it, and the sharpness itself is stable up to 2.

The averages come from ``comparison.nc``, the thresholds from the sharpness stage; ``thresholds.csv`` has every
number.
""",
)


_NARROWEST, _WIDEST = 0.16, 0.6  # half-width of the axis of measured over theory
_COLUMNS = {"theory": 0.62, "measured": 1.3, "range": 2.35}  # right edges, inches beside the panel


_HEADING = "learning rate × sharpness $\\eta S$"


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One line an optimizer and model: mean and range of learning rate x sharpness over theory.

    Lengths are ratios, so that all thresholds share an axis; the numbers beside them are not.
    """
    numbers = Numbers()
    with styled():
        chart = forest(runs)
        axes = chart.axes
        axes.axvspan(1 - TOLERANCE, 1 + TOLERANCE, color=BAND_COLOR, linewidth=0, zorder=0.5)
        axes.axvline(1, **REFERENCE)
        half = _half_width(runs)
        axes.set_xlim(1 - half, 1 + half)
        for line in chart.lines:
            _draw_line(chart, line, numbers)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("measured / theory")
        for name, offset in _COLUMNS.items():
            chart.write_head(offset, name, fontweight="bold")
        chart.write_head(_COLUMNS["range"], _HEADING, color=FAINT, line=1)
        _key(chart, runs)
        chart.fit()
    table, limits = numbers.table(), (1 - TOLERANCE, 1 + TOLERANCE)
    within = "the mean of the last quarter is within 10% of the threshold"
    shows = share_within(table, "late_mean_over_threshold", *limits, within)
    return Drawing(chart.figure, table, shows)


def _half_width(runs: Sequence[StoredRun]) -> float:
    """How far from 1 the axis reaches."""
    names = ["late_lowest", "late_highest"]
    ends = [run.comparison[name].sel(process=DISCRETE).item() for run in runs for name in names]
    away = np.abs(np.array(ends) - 1)
    return float(np.clip(1.1 * np.nanmax([*away, 0]), _NARROWEST, _WIDEST))


def _draw_line(chart: Forest, line: Line, numbers: Numbers) -> None:
    """The marks and bars of one line, and its numbers or why there are none."""
    measured = []
    for run, height in zip(line.runs, line.spread, strict=True):
        row, theory = run.comparison.sel(process=DISCRETE), run.threshold
        numbers.add(run, DISCRETE, "threshold", theory)
        found = {end: float(row[f"late_{end}"]) for end in ("mean", "lowest", "highest")}
        if not np.isfinite(found["mean"]):
            continue
        for end, ratio in found.items():
            numbers.add(run, DISCRETE, f"late_{end}", ratio * theory)
            numbers.add(run, DISCRETE, f"late_{end}_over_threshold", ratio)
        if not never_reached(run):
            measured.append([ratio * theory for ratio in found.values()])
        _draw_mark(chart.axes, run, height, *found.values())
    theories = dict.fromkeys(f"{run.threshold:.4g}" for run in line.runs)
    chart.write(_COLUMNS["theory"], line.height, " / ".join(theories))
    if measured:
        mean, low, high = np.mean(measured, axis=0)
        chart.write(_COLUMNS["measured"], line.height, f"{mean:.4g}")
        chart.write(_COLUMNS["range"], line.height, f"{low:.4g} to {high:.4g}", color=_GREY)
    else:
        chart.write(_COLUMNS["range"], line.height, _why_not(line.runs[0]), color=_GREY)


def _draw_mark(
    axes: Axes, run: StoredRun, height: float, mean: float, low: float, high: float
) -> None:
    """Mean and range of a run: open where it never reached its threshold, an arrow where it is beyond the axis."""
    axes.plot([low, high], [height] * 2, label="range", **_RANGE)
    left, right = axes.get_xlim()
    beyond = "<" if mean < left else ">" if mean > right else "o"
    look = _MEAN | {"marker": beyond, "clip_on": False, "zorder": 3}
    face = "white" if never_reached(run) else INK
    axes.plot(np.clip(mean, left, right), height, markerfacecolor=face, label="mean", **look)


def _why_not(run: StoredRun) -> str:
    """Why a run has no numbers."""
    if not never_reached(run):
        return ending(run)
    highest = float(sharpness(run, DISCRETE).max())
    return f"not reached, at most {highest:.0%}" if np.isfinite(highest) else "no sharpness"


def _key(chart: Forest, runs: Sequence[StoredRun]) -> None:
    """What dots, bars and the band are."""
    handles = [
        Line2D([], [], label="mean of the last quarter", **_MEAN),
        Line2D([], [], label="its lowest to highest", **_RANGE),
        band_key(linewidth=0),
        *not_reached_key(runs),
    ]
    key(chart.figure, handles)


_GREY = "#595959"
_RANGE: dict[str, Any] = {"color": process_style(DISCRETE).color, "linewidth": 3, "zorder": 2}
_MEAN: dict[str, Any] = {"color": INK, "linestyle": "none", "marker": "o", "markersize": 4.5}
