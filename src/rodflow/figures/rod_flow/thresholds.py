"""Where each optimizer holds its sharpness, against the threshold of linear theory."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from rodflow.analysis import edge
from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import share_within
from rodflow.figures.core.forest import Forest, Line, forest
from rodflow.figures.core.held import NOT_AT_EDGE, ROD_CLOSED, held
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import (
    BAND_COLOR,
    NO_THRESHOLD,
    TOLERANCE,
    band_key,
    diverged,
    ending,
    never_reached,
    no_rod,
)
from rodflow.figures.core.rows import sharpness
from rodflow.figures.core.style import (
    FAINT,
    INK,
    REFERENCE,
    Drawing,
    Numbers,
    key,
    note,
    process_style,
    styled,
    two_digits,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=ALONG_RUNS,
    order=2,
    caption=r"""
*Claim* (Cohen et al., arXiv 2103.00065 and 2207.14484; Regis and Chewi, arXiv 2605.06821): every filled dot lies
in the band of ±10%. A filled dot outside, or an arrow where it lies beyond the axis, is a run at the edge of
stability that did not hold its threshold.

Where each optimizer holds its sharpness: the dot is the time average, from the opening of the rod to the end of
the run, of learning rate times preconditioned sharpness, divided by the largest value that is stable by linear
theory; the bar goes from the quantile of 10% to that of 90%. An open mark is a run whose rod is closed for most of
that time, so that it says nothing about the edge. A run that never reached its threshold has no mark,
nor has an optimizer without one (its step is not linear in a small gradient). Both are
dimensionless; the numbers on the right are not divided. With momentum 0.9 theory says 2 for gradient descent and
RMSProp, :math:`2(1+\beta)/(1-\beta) = 38` for heavy ball and Adam, and
:math:`2(1+\beta)/((1-\beta)(1+2\beta)) = 13.57` for Nesterov and NAdam. Where no formula is known (AdamW, AMSGrad,
AdaGrad, Yogi) the preconditioner is the inverse of the critical gain, which has the learning rate in it, and the
sharpness itself is stable up to 2.

The ratio comes from ``comparison.nc``, the rod from ``discrete.nc``, the thresholds from the sharpness stage;
``thresholds.csv`` has every number.
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
    within = "the time average at the edge is within 10% of the threshold"
    shows = share_within(table, _AT_EDGE, *limits, within)
    aside = table.loc[table["quantity"] == _ASIDE, "value"].size
    return Drawing(
        chart.figure, table, f"{shows} {aside} are not at the edge.".strip() if aside else shows
    )


_AT_EDGE, _ASIDE = "mean_over_threshold", "mean_over_threshold_not_at_the_edge"
"""The time average over the threshold of runs at the edge, and of others."""


def _half_width(runs: Sequence[StoredRun]) -> float:
    """How far from 1 the axis reaches."""
    levels = [level for run in runs if (level := held(run))]
    away = [abs(end - 1) for _, found in levels for end in (found.low, found.high)]
    return float(np.clip(1.1 * max([*away, 0]), _NARROWEST, _WIDEST))


def _draw_line(chart: Forest, line: Line, numbers: Numbers) -> None:
    """The marks and bars of one line, and its numbers or why there are none."""
    measured = []
    for run, height in zip(line.runs, line.spread, strict=True):
        theory = run.threshold
        numbers.add(run, DISCRETE, "threshold", theory)
        if (level := held(run)) is None:
            continue
        where, found = level
        numbers.add(run, DISCRETE, _AT_EDGE if where.at_edge else _ASIDE, found.mean)
        numbers.add(run, DISCRETE, "low_over_threshold", found.low)
        numbers.add(run, DISCRETE, "high_over_threshold", found.high)
        numbers.add(run, DISCRETE, "part_near_threshold", found.near)
        numbers.add(run, DISCRETE, "part_with_closed_rod", where.closed)
        if where.at_edge:
            ends = [ratio * theory for ratio in (found.mean, found.low, found.high)]
            numbers.add(run, DISCRETE, "mean", ends[0])
            measured.append(ends)
        _draw_mark(chart.axes, height, where, found)
    if words := no_rod(line.runs[0]):
        note(
            chart.axes, words, (0, line.height), coordinates=("axes fraction", "data"), va="center"
        )
    theories = dict.fromkeys(
        f"{run.threshold:.4g}" if run.has_threshold else "none" for run in line.runs
    )
    chart.write(_COLUMNS["theory"], line.height, " / ".join(theories))
    if measured:
        mean, low, high = np.mean(measured, axis=0)
        chart.write(_COLUMNS["measured"], line.height, two_digits(mean))
        chart.write(
            _COLUMNS["range"], line.height, f"{two_digits(low)} to {two_digits(high)}", color=_GREY
        )
    else:
        chart.write(_COLUMNS["range"], line.height, _why_not(line.runs[0]), color=_GREY)


def _draw_mark(axes: Axes, height: float, where: edge.Window, found: edge.Spread) -> None:
    """Time average and quantiles of a run: open where it is not at the edge, an arrow where it is beyond the axis."""
    axes.plot([found.low, found.high], [height] * 2, label="range", **_RANGE)
    left, right = axes.get_xlim()
    beyond = "<" if found.mean < left else ">" if found.mean > right else "o"
    look = _MEAN | {"marker": beyond, "clip_on": False, "zorder": 3}
    face = INK if where.at_edge else "white"
    axes.plot(np.clip(found.mean, left, right), height, markerfacecolor=face, label="mean", **look)


def _why_not(run: StoredRun) -> str:
    """Why a run has no numbers."""
    if not run.has_threshold:
        return NO_THRESHOLD
    if diverged(run):
        return ending(run)
    if not never_reached(run):
        return NOT_AT_EDGE
    highest = float(sharpness(run, DISCRETE).max())
    return f"not reached, at most {highest:.0%}" if np.isfinite(highest) else "no sharpness"


def _key(chart: Forest, runs: Sequence[StoredRun]) -> None:
    """What dots, bars and the band are."""
    levels = [level for run in runs if (level := held(run))]
    handles = [
        Line2D([], [], label="time average at the edge", **_MEAN),
        Line2D([], [], label="10% to 90% of the time", **_RANGE),
        band_key(linewidth=0),
    ]
    if not all(where.at_edge for where, _ in levels):
        open_mark = _MEAN | {"markerfacecolor": "white"}
        handles.insert(1, Line2D([], [], label=ROD_CLOSED, **open_mark))
    key(chart.figure, handles)


_GREY = "#595959"
_RANGE: Look = {"color": process_style(DISCRETE).color, "linewidth": 3, "zorder": 2}
_MEAN: Look = {"color": INK, "linestyle": "none", "marker": "o", "markersize": 4.5}
