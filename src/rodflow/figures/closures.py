"""Two closures of the same dynamics: the lifted rod flow, and the one that keeps a covariance.

One row a run that has both; beside it when each reaches the threshold, how far off it is, and what it costs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from rodflow.figures.style import (
    FAINT,
    Drawing,
    Numbers,
    hyperparameters,
    model_label,
    new_figure,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.results import COMPLETED, DISCRETE, StoredRun

CLOSURE = "closure"
_PROCESSES = (DISCRETE, "rod", "rod_unit_step", CLOSURE)

_WIDTH, _LEFT, _RIGHT = 7.5, 1.27, 2.05  # inches: the figure, and what is beside the panels
_PANEL, _GAP, _BETWEEN, _TOP, _BOTTOM = 0.95, 0.3, 0.38, 0.62, 0.42
_COLUMNS = {
    "onset": (0.8, "onset\n"),
    "error_mean": (1.22, "mean\nerror"),
    "error_last": (1.64, "last\nerror"),
    "cost": (2.0, "cost\n"),
}
"""Of the numbers on the right, by name in the table: right edge, inches beside the panels, and heading."""


class ClosuresError(ValueError):
    """There is no run to compare closures on; the message is one line and says what to do."""


def _sharpness(run: StoredRun, process: str) -> xr.DataArray:
    return run.comparison["sharpness_over_threshold"].sel(process=process)


def _error(run: StoredRun, process: str) -> xr.DataArray:
    return run.comparison["tracking_error"].sel(process=process)


def _length(run: StoredRun, process: str) -> xr.DataArray:
    series = run.series(process)
    kept = np.intersect1d(series["snapshot"], series["step"])
    return series["rod_length"].sel(step=kept).rename(step="snapshot")


_QUANTITIES: dict[str, tuple[str, Callable[[StoredRun, str], xr.DataArray]]] = {
    "sharpness_over_threshold": ("sharpness / threshold [1]", _sharpness),
    "tracking_error": ("tracking error [1]", _error),
    "rod_length": ("rod length $\\|X_w\\|$ [1]", _length),
}
"""By name in the table: title with the unit, and the values of a process at its snapshots."""


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row a run, one column a quantity, and the numbers of each flow.

    Args:
        runs: those without a covariance closure are left out.

    Raises:
        ClosuresError: none of the runs has one.
    """
    shown = [run for run in runs if CLOSURE in run.processes]
    if not shown:
        raise ClosuresError(
            "no run has the covariance closure to compare; add closure to its flows in the config"
        )
    numbers = Numbers()
    with styled():
        height = _TOP + len(shown) * (_PANEL + _GAP) - _GAP + _BOTTOM
        figure = new_figure(_WIDTH, height)
        width = (_WIDTH - _LEFT - _RIGHT - 2 * _BETWEEN) / 3
        for row, run in enumerate(shown):
            bottom = (height - _TOP - _PANEL - row * (_PANEL + _GAP)) / height
            line = [
                figure.add_axes(
                    (
                        (_LEFT + column * (width + _BETWEEN)) / _WIDTH,
                        bottom,
                        width / _WIDTH,
                        _PANEL / height,
                    )
                )
                for column in range(3)
            ]
            for axes, (name, (title, of)) in zip(line, _QUANTITIES.items(), strict=True):
                _panel(axes, run, name, of, numbers)
                if row == 0:
                    axes.set_title(title, pad=12)
            _mark_steps(line, run, named=row == 0)
            _describe(line[0], run)
            _write_numbers(line[-1], run, numbers, headed=row == 0)
            if row == len(shown) - 1:
                line[1].set_xlabel("optimizer step")
        _key(figure, shown, height)
    return Drawing(figure, numbers.table())


def _compared(run: StoredRun) -> list[str]:
    return [process for process in _PROCESSES if process in run.processes]


def _panel(
    axes: Axes,
    run: StoredRun,
    name: str,
    of: Callable[[StoredRun, str], xr.DataArray],
    numbers: Numbers,
) -> None:
    """Draw one quantity of a run, and enter it in the table."""
    start, drawn = run.settings["start"], [np.ones(0)]
    for process in _compared(run):
        values = of(run, process)
        if name == "rod_length":  # before the flows start there is nothing to compare
            values = values.sel(snapshot=slice(start, None))
        values = values.where(np.isfinite(values), drop=True)
        steps, heights = values["snapshot"].values, values.values.astype(float)
        axes.plot(steps, heights, label=process, **process_style(process).line)
        numbers.add(run, process, name, heights, steps)
        drawn.append(heights if run.status(process) == COMPLETED else heights[:-3])
    axes.set_xlim(0, run.settings["steps"])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    shown = np.concatenate(drawn)
    if name == "sharpness_over_threshold":
        axes.set_ylim(0, max(1.3, 1.05 * shown.max(initial=0)))
        axes.yaxis.set_major_locator(MultipleLocator(0.5 if axes.get_ylim()[1] < 2 else 1))
        axes.axhline(1, color=FAINT, linewidth=0.7, zorder=1)
        return
    axes.set_yscale("log")
    if (shown := shown[shown > 0]).size:
        axes.set_ylim(shown.min() / 1.5, shown.max() * 1.5)
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _mark_steps(line: Sequence[Axes], run: StoredRun, *, named: bool) -> None:
    """Where the flows start, and where the discrete run reaches its threshold."""
    start, onset = run.settings["start"], _onset(run, DISCRETE)
    for axes in line:
        axes.axvline(start, color=FAINT, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1)
        if np.isfinite(onset):
            axes.axvline(onset, color=FAINT, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1)
        if named:
            note(axes, "$t_0$", (start, 1), shift=(-1, 2), ha="right", **_STEP)
            if np.isfinite(onset):
                note(axes, "onset", (onset, 1), shift=(1, 2), ha="left", **_STEP)


_STEP: dict[str, Any] = {
    "coordinates": ("data", "axes fraction"),
    "color": FAINT,
    "fontsize": 6.5,
    "va": "bottom",
}


def _onset(run: StoredRun, process: str) -> float:
    return float(run.comparison["onset"].sel(process=process))


def _describe(axes: Axes, run: StoredRun) -> None:
    """The optimizer, the model and the hyperparameters, to the left of a row."""
    corner, where = (0.008, 1), ("figure fraction", "axes fraction")
    name = optimizer_label(run.optimizer)
    note(axes, name, corner, coordinates=where, va="top", fontsize=7.5, fontweight="bold")
    text = "\n".join([f"{model_label(run.model)}, seed {run.seed}", *hyperparameters(run)])
    note(
        axes,
        text,
        corner,
        coordinates=where,
        shift=(0, -11),
        va="top",
        fontsize=6.5,
        linespacing=1.25,
    )


def _write_numbers(axes: Axes, run: StoredRun, numbers: Numbers, *, headed: bool) -> None:
    """Onset, mean and last error, and cost of each process, to the right of a row."""
    if headed:
        for right, heading in _COLUMNS.values():
            _write(axes, heading, right, 2, fontweight="bold", va="bottom", linespacing=1.0)
    discrete = float(run.series(DISCRETE).attrs["step_time_s"])
    for line, process in enumerate(_compared(run)):
        style, down = process_style(process), -8.0 - 11 * line
        note(axes, style.short, (1, 1), shift=(8, down), color=style.text_color, fontsize=6.5)
        if run.status(process) != COMPLETED:
            words = run.status(process).split(":")[0]
            _write(axes, words, _COLUMNS["cost"][0], down, color=style.text_color)
            continue
        row = run.comparison.sel(process=process)
        found = {name: float(row[name]) for name in ("onset", "error_mean", "error_last")}
        found["cost"] = float(run.series(process).attrs["step_time_s"]) / discrete
        for name, value in found.items():
            if process == DISCRETE and name.startswith("error"):
                continue
            numbers.add(run, process, name, value)
            _write(axes, _WORDS[name](value), _COLUMNS[name][0], down, color=style.text_color)


def _write(axes: Axes, text: str, right: float, up: float, **font: Any) -> None:
    """Words whose right edge is this many inches beside the panel, points above its top."""
    note(axes, text, (1, 1), shift=(72 * right, up), ha="right", fontsize=6.5, **font)


def _step(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "never"


def _error_words(value: float) -> str:
    """Two digits, as 1.2e-3."""
    if not np.isfinite(value):
        return "none"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _cost(value: float) -> str:
    return f"{value:.2g}×" if value < 10 else f"{value:.0f}×"


_WORDS: dict[str, Callable[[float], str]] = {
    "onset": _step,
    "error_mean": _error_words,
    "error_last": _error_words,
    "cost": _cost,
}


def _key(figure: Figure, runs: Sequence[StoredRun], height: float) -> None:
    """The lines' names, once, above the panels."""
    names = dict.fromkeys(process for run in runs for process in _compared(run))
    handles = [
        Line2D([], [], label=process_style(name).label, **process_style(name).line)
        for name in sorted(names, key=_PROCESSES.index)
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
