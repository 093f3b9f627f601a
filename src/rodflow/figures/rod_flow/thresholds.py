"""Where each optimizer holds its sharpness, against the threshold of linear theory."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.forest import Forest, Line, forest
from rodflow.figures.core.style import FAINT, INK, Drawing, Numbers, process_style, styled
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
theory, and the bar goes from the lowest to the highest value in that time. Both are dimensionless; the numbers
on the right are not divided. With momentum 0.9 theory says 2 for gradient descent and RMSProp,
:math:`2(1+\beta)/(1-\beta) = 38` for heavy ball and Adam, and :math:`2(1+\beta)/((1-\beta)(1+2\beta)) = 13.57`
for Nesterov and NAdam. Where no formula is known (AdamW, AMSGrad, AdaGrad, Yogi) the preconditioner is the
inverse of the alternating gain, which has the learning rate in it, and the sharpness itself is stable up to 2.

The averages come from ``comparison.nc``, the thresholds from the sharpness stage; ``thresholds.csv`` has every
number.
""",
)


_TOLERANCE = 0.1
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
        axes.axvspan(1 - _TOLERANCE, 1 + _TOLERANCE, color="#cfe3f1", linewidth=0, zorder=0.5)
        axes.axvline(1, color=INK, linewidth=0.8, zorder=1)
        half = _half_width(runs)
        axes.set_xlim(1 - half, 1 + half)
        for line in chart.lines:
            _draw_line(chart, line, numbers)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("measured / theory (band: ±10%)")
        for name, offset in _COLUMNS.items():
            chart.write(offset, chart.head, name, fontweight="bold")
        chart.write(_COLUMNS["range"], chart.head + 0.85, _HEADING, color=FAINT)
        chart.fit()
    return Drawing(chart.figure, numbers.table())


def _half_width(runs: Sequence[StoredRun]) -> float:
    """How far from 1 the axis reaches."""
    names = ["late_lowest", "late_highest"]
    ends = [run.comparison[name].sel(process=DISCRETE).item() for run in runs for name in names]
    away = np.abs(np.array(ends) - 1)
    return float(np.clip(1.1 * np.nanmax([*away, 0]), _NARROWEST, _WIDEST))


def _draw_line(chart: Forest, line: Line, numbers: Numbers) -> None:
    style = process_style(DISCRETE)
    measured = []
    for run, height in zip(line.runs, line.spread, strict=True):
        row = run.comparison.sel(process=DISCRETE)
        mean, low, high = (
            row[name].item() for name in ("late_mean", "late_lowest", "late_highest")
        )
        theory = run.threshold
        numbers.add(run, DISCRETE, "threshold", theory)
        if not np.isfinite(mean):
            continue
        for name, ratio in {"mean": mean, "lowest": low, "highest": high}.items():
            numbers.add(run, DISCRETE, f"late_{name}", ratio * theory)
            numbers.add(run, DISCRETE, f"late_{name}_over_threshold", ratio)
        measured.append((mean * theory, low * theory, high * theory))
        chart.axes.plot(
            [low, high], [height] * 2, color=style.color, linewidth=3, zorder=2, label="range"
        )
        left, right = chart.axes.get_xlim()
        off = mean < left or mean > right
        chart.axes.plot(
            np.clip(mean, left, right),
            height,
            marker="o" if not off else "<" if mean < left else ">",
            markersize=4.5,
            color=INK,
            linestyle="none",
            clip_on=False,
            zorder=3,
            label="mean",
        )
    theories = dict.fromkeys(f"{run.threshold:.4g}" for run in line.runs)
    chart.write(_COLUMNS["theory"], line.height, " / ".join(theories))
    if measured:
        mean, low, high = np.mean(measured, axis=0)
        chart.write(_COLUMNS["measured"], line.height, f"{mean:.4g}")
        chart.write(_COLUMNS["range"], line.height, f"{low:.4g} to {high:.4g}", color="#595959")
    else:
        status = line.runs[0].status(DISCRETE)
        chart.write(_COLUMNS["range"], line.height, status, color="#595959")
