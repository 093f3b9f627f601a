"""Adaptive methods at several learning rates: where the sharpness is held, and which curvature a loss is reached with.

One column a model and optimizer, one colour a learning rate, seeds as further lines of the same colour.
Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from rodflow.analysis.equal_loss import curvature_at, equal_loss
from rodflow.analysis.equilibrium import moving_average
from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.endings import note_endings
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import cross, curve, diverged, mark_threshold, threshold_key
from rodflow.figures.core.panels import columns_of_panels, fit
from rodflow.figures.core.rows import sharpness
from rodflow.figures.core.style import (
    INK,
    Drawing,
    Numbers,
    key,
    model_label,
    note,
    optimizer_label,
    styled,
)
from rodflow.figures.core.sweeps import ordered_colors, step_size, varied, words_of
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=28,
    caption=r"""
*Claim* (Cohen et al., arXiv 2207.14484): adaptive methods go on to regions of high curvature at any learning rate, but
small rates lead to sharper ones: where the loss is the same, the sharpness of the loss itself is higher the smaller
the rate.

Full-batch runs of each optimizer at several learning rates; everything is dimensionless. *Top*: sharpness of the
preconditioned Hessian over its threshold, against the optimizer step; the band is ±10%. *Bottom*: sharpness of the
Hessian against the training loss, averaged over 50 steps, on a logarithmic axis; time goes to the right, where the
loss is small. Dots are at equal loss, which is the largest of the last averages of a seed's runs: the geometric mean
of the sharpness over the same 50 steps. Several lines of one colour are seeds. A cross ends the curve of a run that
diverged.

Losses are read from the trajectories, sharpness from ``sharpness/`` and ``comparison.nc``; ``aeos_rates.csv`` has every
point drawn.
""",
)

_TALL = (1.2, 1.7)  # inches
_HIGHEST = 1.8  # of sharpness over threshold that is shown
_DOT: Look = {"marker": "o", "markersize": 4, "markeredgecolor": "white", "linestyle": "none"}


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A column for each model and optimizer."""
    groups: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault((run.model, run.optimizer), []).append(run)
    numbers, names = Numbers(), varied(runs, "learning_rate")
    with styled():
        figure, grid = columns_of_panels(_TALL, len(groups))
        for members, (top, bottom) in zip(groups.values(), grid, strict=True):
            colors = ordered_colors(sorted({step_size(run) for run in members}))
            for run in members:
                color, name = colors[step_size(run)], " ".join(words_of(run, names))
                _draw_ratio(top, run, f"sharpness_over_threshold[{name}]", color, numbers)
                _draw_path(bottom, run, f"raw_sharpness[{name}]", color, numbers)
            _draw_equal(bottom, members, colors, numbers, names)
            _dress(top, bottom, members, colors)
            note_endings(top, members)
        for axes, title in zip(
            grid[0], ("sharpness /\nthreshold", "sharpness of\nthe Hessian"), strict=True
        ):
            axes.set_ylabel(title)
        dot = Line2D([], [], color=INK, label="at equal loss", **_DOT)
        key(figure, [threshold_key(), dot])
        fit(figure, grid[0], _TALL)
    return Drawing(figure, numbers.table())


def _draw_ratio(axes: Axes, run: StoredRun, name: str, color: str, numbers: Numbers) -> None:
    drawn = curve(axes, run, name, sharpness(run, DISCRETE), numbers, color=color, linewidth=0.8)
    cross(axes, run, drawn, color)


def _path(run: StoredRun) -> tuple[xr.DataArray, xr.DataArray]:
    """Averaged loss and raw sharpness at the snapshots from the start of the flows on that have both."""
    raw = run.eigenvalues(DISCRETE)["raw_sharpness"]
    raw = raw.where(raw > 0, drop=True).sel(snapshot=slice(run.settings["start"], None))
    averaged = moving_average(run.series(DISCRETE)["loss"]).rename(step="snapshot")
    loss, raw = xr.align(averaged, raw, join="inner")
    return loss, raw


def _draw_path(axes: Axes, run: StoredRun, name: str, color: str, numbers: Numbers) -> None:
    """The raw sharpness against the averaged loss."""
    loss, raw = _path(run)
    steps = raw["snapshot"].values
    axes.plot(loss, raw, color=color, linewidth=0.8, label="raw_sharpness")
    numbers.add(run, DISCRETE, name, raw.values, steps)
    numbers.add(run, DISCRETE, name.replace("raw_sharpness", "loss_averaged"), loss.values, steps)


def _draw_equal(
    axes: Axes,
    runs: Sequence[StoredRun],
    colors: dict[float, str],
    numbers: Numbers,
    names: Sequence[str],
) -> None:
    """Dots where the runs of a seed have the same loss."""
    for seed in sorted({run.seed for run in runs}):
        members = [run for run in runs if run.seed == seed and not diverged(run)]
        common = equal_loss([run.series(DISCRETE)["loss"] for run in members])
        for run in members:
            series, raw = run.series(DISCRETE)["loss"], run.eigenvalues(DISCRETE)["raw_sharpness"]
            there = curvature_at(common, series, raw)
            if np.isfinite(there.sharpness):
                axes.plot(
                    common, there.sharpness, color=colors[step_size(run)], label="equal", **_DOT
                )
                name = f"raw_sharpness_at_equal_loss[{' '.join(words_of(run, names))}]"
                numbers.add(run, DISCRETE, name, there.sharpness, [int(there.step)])


def _dress(top: Axes, bottom: Axes, runs: Sequence[StoredRun], colors: dict[float, str]) -> None:
    """Axes of a column, its title, and the rates in their colours."""
    mark_threshold(top)
    top.set_ylim(0, _HIGHEST)
    top.set_xlim(0, max(run.settings["steps"] for run in runs))
    top.set_xlabel("optimizer step")
    bottom.set_xscale("log")
    low, high = bottom.get_xlim()
    bottom.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    bottom.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    bottom.xaxis.set_minor_formatter(NullFormatter())
    bottom.invert_xaxis()
    bottom.set_xlabel("loss, 50-step average")
    title = f"{optimizer_label(runs[0].optimizer)}, {model_label(runs[0].model)}"
    top.set_title(title, loc="left", fontsize=8, fontweight="bold", pad=12)
    for place, (rate, color) in enumerate(colors.items()):
        note(
            top, f"$\\eta$ {rate:.2g}", (place / max(len(colors), 1), 1), shift=(0, 3), color=color
        )
