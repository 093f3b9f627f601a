"""The curvature along the rod and the largest one, over the threshold, and the multiplier of the rod.

One row an optimizer, seeds on top of each other. The areas are the snapshots at which the rod of the discrete run is
open, over which the numbers at the right of the first panel are averaged.
"""

from collections.abc import Iterable, Sequence
from typing import Unpack, cast

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator

from rodflow.analysis.open_rod import held, snapshots_open
from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.keywords import Look, Stroke
from rodflow.figures.core.marks import NO_THRESHOLD, no_rod, threshold_key
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import by_row, describe_run, share_steps, state_failures
from rodflow.figures.core.style import (
    BAND,
    DASHED,
    INK,
    PALETTE,
    REFERENCE,
    Drawing,
    Numbers,
    end_labels,
    key,
    lines_of,
    model_label,
    note,
    process_style,
    styled,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=ALONG_RUNS,
    order=24,
    caption=r"""
*Claim* (this project's; the thresholds are those of Cohen et al., arXiv 2103.00065 and 2207.14484): where the
largest eigenvalue holds above the threshold, the curvature along the oscillation holds at it.

Each row is one optimizer on the model ``{part}``. Against the optimizer step, over the stability threshold of linear
theory: the largest eigenvalue of the preconditioned Hessian, the Rayleigh quotient
:math:`X \cdot HX / X \cdot PX` at the centre of the rod and the secant
:math:`(g(Z+X) - g(Z-X)) \cdot X / (2\, X \cdot PX)` between its ends, of the discrete run (left) and of a rod flow
(middle). The rod of the discrete run goes through three consecutive iterates. Right, for both, the multiplier
:math:`\|(F(Z+X) - F(Z-X))/2\| / \|X\|` of the rod in a step, on a logarithmic axis. All are dimensionless. Areas are
the snapshots at which the rod of the discrete run is open: from the step at which it is half as long as its longest,
where it is longer than a tenth of it; the numbers beside a panel are averages over them. A curve has no point where
the rod is no longer than ten units of the weights' rounding. An optimizer whose step is not linear in a small
gradient has no threshold, and shows its multiplier alone.

All is from ``comparison.nc``, lengths of rods are from the trajectories; ``along_rod_{part}.csv`` has every number.
""",
)

_GREY = "#595959"

_CURVES: dict[str, tuple[str, Look]] = {
    "sharpness_over_threshold": (
        "largest eigenvalue",
        {"color": PALETTE["orange"], "linewidth": 1.6, "zorder": 2},
    ),
    "quotient_over_threshold": (
        "quotient along the rod",
        {"color": PALETTE["blue"], "linewidth": 1.1, "zorder": 2.2},
    ),
    "secant_over_threshold": (
        "secant along the rod",
        {"color": INK, "linewidth": 1.1, "linestyle": (0, (1, 1.1)), "zorder": 2.4},
    ),
}
"""Quantity -> its name, and how it is drawn."""

_COLORS = {name: str(look["color"]) for name, (_, look) in _CURVES.items()} | {"multiplier": _GREY}

Labels = list[tuple[float, str, str]]
"""Heights, words and colours."""

_FLOWS = ("rod_unit_step", "rod", "rod_macro")
"""Of these the first that a run has is drawn in the middle."""


_TALL, _HIGHEST, _NEAR = 0.95, 1.6, 0.05  # inches; of the ratios; half of the band at 1


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer, with the discrete run, a rod flow and the multipliers."""
    rows = by_row(runs)
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        tall = [_TALL] * len(rows)
        figure, grid = rows_of_panels(tall, 3, width=9.0)
        ends = [_draw_row(line, members, numbers) for line, members in zip(grid, rows, strict=True)]
        for line, members in zip(grid, rows, strict=True):
            label = [model_label(members[0].model)] if several else []
            describe_run(line[0], members[0], *label)
            state_failures(line[0], members)
        for axes, title in zip(grid[0], _titles(runs), strict=True):
            axes.set_title(title)
        for axes in grid[-1]:
            axes.set_xlabel("optimizer step")
        share_steps(grid)
        key(figure, _handles(runs))
        fit(figure, [line[0] for line in grid], tall)
        for line, (left, right) in zip(grid, ends, strict=True):
            end_labels(line[0], left)
            end_labels(line[-1], right)
    return Drawing(figure, numbers.table(), _shows(numbers))


def _titles(runs: Sequence[StoredRun]) -> list[str]:
    flows = dict.fromkeys(process_style(flow).label for run in runs if (flow := _flow(run)))
    middle = " or ".join(flows) or "no rod flow"
    return ["discrete run, over the threshold", f"{middle}, over the threshold", "multiplier"]


def _flow(run: StoredRun) -> str:
    """The rod flow that is drawn; "" if there is none."""
    return next((flow for flow in _FLOWS if flow in run.processes), "")


def _draw_row(
    line: Sequence[Axes], runs: Sequence[StoredRun], numbers: Numbers
) -> tuple[Labels, Labels]:
    """Draw the runs of a row; what is to be written beside its first panel and its last."""
    left, middle, right = line
    first = runs[0]
    for axes in line:
        axes.set_xlim(0, max(run.settings["steps"] for run in runs))
    for axes in line if first.has_threshold else (right,):
        axes.axhspan(1 - _NEAR, 1 + _NEAR, color="#cfe3f1", linewidth=0, zorder=0.6)
        axes.axhline(1, **REFERENCE, linestyle=DASHED)
    averages: dict[str, list[float]] = {name: [] for name in _COLORS}
    for run in runs:
        opened = _opened(run)
        _shade(line, run, opened)
        flow = _flow(run)
        for axes, process in ((left, DISCRETE), (middle, flow)):
            for name, (_, look) in _CURVES.items():
                if process:
                    _curve(axes, run, process, name, numbers, **look)
        for process in filter(None, (DISCRETE, flow)):
            _curve(right, run, process, "multiplier", numbers, **process_style(process).line)
        for name, found in averages.items():
            found.append(_held(run, name, opened))
            numbers.add(run, DISCRETE, f"{name}_while_open", found[-1])
    for axes in (left, middle):
        axes.set_ylim(0, _HIGHEST)
        axes.yaxis.set_major_locator(MultipleLocator(0.5))
    right.set_yscale("log")
    right.set_ylim(0.25, 4)
    right.set_yticks([0.25, 0.5, 1, 2, 4], ["", "0.5", "1", "2", ""])
    right.minorticks_off()
    words = no_rod(first) if first.has_threshold else f"{NO_THRESHOLD}: see the multiplier"
    if words:
        note(left, words, (1, 0), shift=(-2, 3), ha="right", color=_GREY, room=False)
    return _means(averages, _CURVES), _means(averages, ["multiplier"])


def _opened(run: StoredRun) -> np.ndarray:
    """The snapshots at which the rod of the discrete run is open."""
    return snapshots_open(
        run.series(DISCRETE)["rod_length"],
        run.comparison["snapshot"].values,
        run.settings["start"],
    )


def _shade(line: Sequence[Axes], run: StoredRun, opened: np.ndarray) -> None:
    """An area around each snapshot at which the rod is open."""
    half = run.settings["snapshots"]["every"] / 2
    for axes in line:
        for at in opened:
            axes.axvspan(at - half, at + half, color=BAND, linewidth=0, zorder=0.4)


def _curve(
    axes: Axes, run: StoredRun, process: str, name: str, numbers: Numbers, **look: Unpack[Stroke]
) -> None:
    """A curve with a gap where the rod is closed; a process has points at its own snapshots only."""
    values = run.comparison[name].sel(process=process).astype(np.float64)
    values = values.sel(
        snapshot=np.intersect1d(values["snapshot"], run.series(process)["snapshot"])
    )
    axes.plot(values["snapshot"].values, values.values, label=name, **look)
    finite = values.where(np.isfinite(values), drop=True)
    numbers.add(run, process, name, finite.values, finite["snapshot"].values)


def _held(run: StoredRun, name: str, opened: np.ndarray) -> float:
    """The mean over the snapshots at which the rod of the discrete run is open; of multipliers the geometric one."""
    values = run.comparison[name].sel(process=DISCRETE)
    if name == "multiplier":
        return float(np.exp(held(cast(xr.DataArray, np.log(values)), opened).mean))
    return held(values, opened).mean


def _means(runs: dict[str, list[float]], names: Iterable[str]) -> Labels:
    """What is written beside a panel: mean over the seeds of each quantity, in its colour."""
    found = {name: np.array(runs[name])[np.isfinite(runs[name])] for name in names}
    return [
        (float(values.mean()), f"{values.mean():.2f}", _COLORS[name])
        for name, values in found.items()
        if values.size
    ]


def _handles(runs: Sequence[StoredRun]) -> list[Artist]:
    curves = [Line2D([], [], label=label, **look) for label, look in _CURVES.values()]
    flows = dict.fromkeys(filter(None, map(_flow, runs)))
    return [
        *curves,
        threshold_key(),
        Patch(color="#cfe3f1", label="±5%"),
        Patch(color=BAND, label="rod open"),
        *lines_of([DISCRETE, *flows]),
    ]


def _shows(numbers: Numbers) -> str:
    """In how many runs each curvature is within 5% of the threshold while the rod is open."""
    table, parts = numbers.table(), []
    for name, (label, _) in _CURVES.items():
        values = table.loc[table["quantity"] == f"{name}_while_open", "value"].dropna()
        if not values.empty:
            inside = int(values.between(1 - _NEAR, 1 + _NEAR).sum())
            parts.append(f"{label} in {inside} of {len(values)}")
    found = "; ".join(parts)
    return (
        f"In this experiment the mean while the rod is open is within 5%: {found} runs."
        if parts
        else ""
    )
