"""How closely the flows follow each optimizer: loss, sharpness and tracking error over training.

One row an optimizer, seeds on top of each other. A curve that ends because its process diverged
ends in a cross, and the row says at which step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MultipleLocator, NullFormatter

from rodflow.figures.style import (
    FAINT,
    Drawing,
    Numbers,
    end_labels,
    hyperparameters,
    model_label,
    new_figure,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.results import COMPLETED, DISCRETE, StoredRun

_HIGHEST = 2.1  # of sharpness over threshold that is shown

_WIDTH, _LEFT, _RIGHT = 7.5, 1.35, 0.65  # inches: the figure, and what is beside the panels
_PANEL, _GAP, _BETWEEN, _TOP, _BOTTOM = 0.78, 0.27, 0.42, 0.62, 0.42


def loss(run: StoredRun, process: str) -> xr.DataArray:
    """The loss of the iterates with its oscillation averaged out, at the snapshots.

    Of the discrete run (L[t-1] + 2 L[t] + L[t+1]) / 4, as for the midpoint of the weights; of a
    rod the mean over its two ends, which are the iterates it predicts; else that at the centre.
    """
    series = run.series(process)
    if process == DISCRETE:
        at = series["loss"]
        values = (at.shift(step=1) + 2 * at + at.shift(step=-1)) / 4
    elif "loss_plus" in series:
        values = (series["loss_plus"] + series["loss_minus"]) / 2
    else:
        values = series["loss"]
    kept = np.intersect1d(series["snapshot"], series["step"])
    return values.sel(step=kept).rename(step="snapshot")


def _sharpness(run: StoredRun, process: str) -> xr.DataArray:
    return run.comparison["sharpness_over_threshold"].sel(process=process)


def _error(run: StoredRun, process: str) -> xr.DataArray:
    return run.comparison["tracking_error"].sel(process=process)


@dataclass(frozen=True)
class _Quantity:
    """A column of the figure.

    Attributes:
        name: in the table.
        title: above the column, with the unit.
        of: the values of a process at its snapshots.
        scale: of the vertical axis.
        shared: whether all rows have the same vertical axis.
    """

    name: str
    title: str
    of: Callable[[StoredRun, str], xr.DataArray]
    scale: Literal["linear", "log"]
    shared: bool


_QUANTITIES = (
    _Quantity("loss", "loss [1]", loss, "log", False),
    _Quantity("sharpness_over_threshold", "sharpness / threshold [1]", _sharpness, "linear", True),
    _Quantity("tracking_error", "tracking error [1]", _error, "log", True),
)


@dataclass(frozen=True)
class _Curve:
    """What is drawn of one process of one run in one panel, [point]."""

    process: str
    steps: np.ndarray
    values: np.ndarray
    diverged: bool

    @property
    def settled(self) -> np.ndarray:
        """The values that an axis should show: of a diverging curve those not yet far away."""
        if not self.diverged or not self.values.size:
            return self.values
        return self.values[self.values <= 10 * self.values[0]]


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer (and model, if there are several), one column a quantity."""
    rows: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        rows.setdefault((run.model, run.optimizer), []).append(run)
    numbers = Numbers()
    with styled():
        height = _TOP + len(rows) * (_PANEL + _GAP) - _GAP + _BOTTOM
        figure = new_figure(_WIDTH, height)
        width = (_WIDTH - _LEFT - _RIGHT - 2 * _BETWEEN) / 3
        panels: list[list[Axes]] = []
        for r in range(len(rows)):
            bottom = height - _TOP - _PANEL - r * (_PANEL + _GAP)
            lefts = [_LEFT + c * (width + _BETWEEN) for c in range(3)]
            boxes = [(x / _WIDTH, bottom / height, width / _WIDTH, _PANEL / height) for x in lefts]
            panels.append([figure.add_axes(box) for box in boxes])
        for column, quantity in zip(zip(*panels, strict=True), _QUANTITIES, strict=True):
            drawn = [
                _draw_panel(axes, members, quantity, numbers)
                for axes, members in zip(column, rows.values(), strict=True)
            ]
            _set_limits(column, drawn, quantity)
            for axes, curves in zip(column, drawn, strict=True):
                _mark_ends(axes, curves)
                if quantity.name == "sharpness_over_threshold":
                    _name_heights(axes, curves)
                if quantity.name == "tracking_error":
                    _name_ends(axes, curves)
            column[0].set_title(quantity.title, pad=12)
            column[-1].set_xlabel("optimizer step")
        models = {model for model, _ in rows}
        for r, (line, members) in enumerate(zip(panels, rows.values(), strict=True)):
            _describe_row(line[0], members, named=len(models) > 1)
            _state_failures(line[0], members)
            _mark_steps(line, members, named=r == 0)
        _share_steps(panels)
        processes = dict.fromkeys(process for run in runs for process in run.processes)
        _key(figure, list(processes), height)
    return Drawing(figure, numbers.table())


def _draw_panel(
    axes: Axes, runs: Sequence[StoredRun], quantity: _Quantity, numbers: Numbers
) -> list[_Curve]:
    """Draw one quantity of the runs of a row, and enter it in the table."""
    curves = []
    for run in runs:
        for process in run.processes:
            values = quantity.of(run, process)
            values = values.where(np.isfinite(values), drop=True)
            steps = values["snapshot"].values
            curve = _Curve(
                process, steps, values.values.astype(float), run.status(process) != COMPLETED
            )
            axes.plot(steps, curve.values, label=process, **process_style(process).line)
            numbers.add(run, process, quantity.name, curve.values, steps)
            curves.append(curve)
    axes.set_yscale(quantity.scale)
    axes.set_xlim(0, max(run.settings["steps"] for run in runs))
    return curves


def _set_limits(column: Sequence[Axes], drawn: Sequence[list[_Curve]], quantity: _Quantity) -> None:
    """Show what settles in full; what runs away leaves through the top."""
    groups = [[*chain.from_iterable(drawn)]] * len(column) if quantity.shared else drawn
    for axes, curves in zip(column, groups, strict=True):
        values = np.concatenate([np.ones(0), *(curve.settled for curve in curves)])
        if quantity.scale == "linear":
            axes.set_ylim(0, _HIGHEST)
            axes.yaxis.set_major_locator(MultipleLocator(1))
            axes.axhline(1, color=FAINT, linewidth=0.7, zorder=1)
            continue
        values = values[values > 0]
        if values.size:
            axes.set_ylim(values.min() / 1.4, values.max() * 1.4)
        low, high = axes.get_ylim()
        if high < 1000 * low:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if high < 200 * low else (1,)))
            axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        else:
            axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _mark_ends(axes: Axes, curves: Sequence[_Curve]) -> None:
    """A cross where a curve ends because its process diverged."""
    for curve in curves:
        if curve.diverged and curve.values.size:
            axes.plot(
                curve.steps[-1],
                np.clip(curve.values[-1], *axes.get_ylim()),
                marker="x",
                markersize=5,
                markeredgewidth=1.4,
                color=process_style(curve.process).text_color,
                clip_on=False,
                zorder=4,
                label=f"{curve.process} diverged",
            )


def _name_heights(axes: Axes, curves: Sequence[_Curve]) -> None:
    """How far up the curves that leave through the top end."""
    top = axes.get_ylim()[1]
    beyond = {c.process: c for c in curves if c.values.size and c.values[-1] > top}
    for line, (process, curve) in enumerate(beyond.items()):
        style = process_style(process)
        text = f"{style.short} ends at {curve.values[-1]:.2g} \u2191"
        shift = (-1, 3 + 8 * line)
        note(axes, text, (1, 0), shift=shift, color=style.text_color, fontsize=6.5, ha="right")


def _name_ends(axes: Axes, curves: Sequence[_Curve]) -> None:
    """The name of each process where its (first) curve ends."""
    last = {curve.process: curve for curve in reversed(curves) if curve.values.size}
    styles = {process: process_style(process) for process in last}
    end_labels(
        axes,
        [(last[p].values[-1], style.short, style.text_color) for p, style in styles.items()],
    )


def _describe_row(axes: Axes, runs: Sequence[StoredRun], *, named: bool) -> None:
    """The optimizer, (the model) and the hyperparameters, to the left of a row."""
    run = runs[0]
    model = [model_label(run.model)] if named else []
    corner, where = (0.008, 1), ("figure fraction", "axes fraction")
    name = optimizer_label(run.optimizer)
    note(axes, name, corner, coordinates=where, va="top", fontsize=7.5, fontweight="bold")
    note(
        axes,
        "\n".join([*model, *hyperparameters(run)]),
        corner,
        coordinates=where,
        shift=(0, -11),
        va="top",
        fontsize=6.5,
        linespacing=1.25,
    )


def _state_failures(axes: Axes, runs: Sequence[StoredRun]) -> None:
    """In words, and in the colour of the curve, which processes did not complete."""
    failed = [
        (process_style(process), run.status(process).split(":")[0])
        for run in runs
        for process in run.processes
        if run.status(process) != COMPLETED
    ]
    for line, (style, status) in enumerate(failed):
        text, shift = f"{style.label} {status}", (3, 2 + 8 * line)
        note(axes, text, (0, 0), shift=shift, color=style.text_color, fontsize=6.5)


def _mark_steps(line: Sequence[Axes], runs: Sequence[StoredRun], *, named: bool) -> None:
    """Where the flows start, and where the discrete run reaches its threshold."""
    run = runs[0]
    start, onset = run.settings["start"], float(run.comparison["onset"].sel(process=DISCRETE))
    for axes in line:
        axes.axvline(start, color=FAINT, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
        if named:
            note(axes, "$t_0$", (start, 1), shift=(-1, 2), ha="right", **_STEP)
        if np.isfinite(onset):
            axes.axvline(onset, color=FAINT, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
            if named:
                note(axes, "onset", (onset, 1), shift=(1, 2), ha="left", **_STEP)


_STEP: dict[str, Any] = {
    "coordinates": ("data", "axes fraction"),
    "color": FAINT,
    "fontsize": 6.5,
    "va": "bottom",
}


def _share_steps(panels: Sequence[Sequence[Axes]]) -> None:
    """Write the steps below a row only where the next row has other ones."""
    for upper, lower in pairwise(panels):
        if upper[0].get_xlim() == lower[0].get_xlim():
            for axes in upper:
                axes.tick_params(labelbottom=False)


def _key(figure: Figure, processes: Sequence[str], height: float) -> None:
    """The lines' names, once, above the panels."""
    handles = [
        Line2D([], [], label=process_style(process).label, **process_style(process).line)
        for process in processes
    ]
    figure.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.02 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=7.5,
        handlelength=2.6,
    )
