"""The layout of figures with one row an optimizer and panels against steps, and what is drawn in all of them.

A figure of this form makes its panels with `rodflow.figures.core.panels`, fills them, and calls `describe_row`,
`mark_steps` and `state_failures` for each row.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter, NullLocator

from rodflow.figures.core.keywords import Font, Look
from rodflow.figures.core.panels import BESIDE
from rodflow.figures.core.style import (
    DASHED,
    DOTTED,
    FAINT,
    THIN,
    Numbers,
    hyperparameters,
    note,
    note_lines,
    optimizer_label,
    process_style,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun


def by_row(runs: Iterable[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each model and optimizer, one a seed, in the order given."""
    rows: dict[tuple[str, str], list[StoredRun]] = {}
    for run in runs:
        rows.setdefault((run.model, run.optimizer), []).append(run)
    return [*rows.values()]


def sharpness(run: StoredRun, process: str) -> xr.DataArray:
    """The sharpness over the threshold along a process, [snapshot].

    Args:
        run, process: the stored run, and which of its processes.
    """
    return run.comparison["sharpness_over_threshold"].sel(process=process)


def loss(run: StoredRun, process: str) -> xr.DataArray:
    """The loss of the iterates with its oscillation averaged out, at the snapshots.

    Of the discrete run (L[t-1] + 2 L[t] + L[t+1]) / 4, as for the midpoint of the weights; of a
    rod the mean over its two ends, which are the iterates it predicts; of a flow that predicts the
    average, such as the central flow, that; else the loss at the centre. In float64, as losses that are nearly
    the same are subtracted from one another.

    Args:
        run, process: the stored run, and which of its processes.
    """
    series = run.series(process)
    if process == DISCRETE:
        at = series["loss"].astype(np.float64)
        values = (at.shift(step=1) + 2 * at + at.shift(step=-1)) / 4
    elif "loss_plus" in series:
        values = (series["loss_plus"].astype(np.float64) + series["loss_minus"]) / 2
    else:
        values = series["averaged_loss" if "averaged_loss" in series else "loss"].astype(np.float64)
    return at_snapshots(values, series)


def own_loss(run: StoredRun, process: str) -> xr.DataArray:
    """As `loss` of the discrete run; nothing of a flow, whose curve would lie on top: see `loss_difference`.

    Args:
        run, process: the stored run, and which of its processes.
    """
    values = loss(run, DISCRETE)
    return values if process == DISCRETE else values.isel(snapshot=slice(0))


def loss_difference(run: StoredRun, process: str) -> xr.DataArray:
    """|loss of a flow / loss of the discrete run - 1| at the snapshots that both have; nothing of the run itself.

    Args:
        run, process: the stored run, and which of its processes.
    """
    of_run = loss(run, DISCRETE)
    if process == DISCRETE or not run.series(process).sizes["step"]:
        return of_run.isel(snapshot=slice(0))
    here, there = xr.align(loss(run, process), of_run, join="inner")
    return abs(here - there) / there


def tracking_error(run: StoredRun, process: str) -> xr.DataArray:
    """The tracking error of a flow, [snapshot]: see `rodflow.analysis.comparison.tracking_error`.

    Args:
        run, process: the stored run, and which of its processes.
    """
    return run.comparison["tracking_error"].sel(process=process)


def at_snapshots(values: xr.DataArray, series: xr.Dataset) -> xr.DataArray:
    """Of values at every step those at the snapshots of a trajectory, [snapshot].

    Args:
        values, series: what is known at every step, [step], and the trajectory; a snapshot that `values` lacks is left
            out.
    """
    kept = np.intersect1d(series["snapshot"], values["step"])
    return values.sel(step=kept).rename(step="snapshot")


def onset(run: StoredRun, process: str = DISCRETE) -> float:
    """The step at which a process reaches the threshold; NaN if it does not.

    Args:
        run, process: the stored run, and which of its processes.
    """
    return float(run.comparison["onset"].sel(process=process))


def describe_row(axes: Axes, optimizer: str, *lines: str) -> None:
    """The optimizer's name and below it these lines, to the left of a row's first panel.

    Args:
        axes, optimizer, lines: the panel, the name as in the config, and what stands below it.
    """
    write_left(axes, optimizer_label(optimizer), fontsize=7.5, fontweight="bold")
    write_left(axes, "\n".join(lines), down=11, linespacing=1.25)


def write_left(
    axes: Axes, text: str, *, down: float = 0, at: float = 1, **font: Unpack[Font]
) -> None:
    """Words in the column to the left of a row's first panel, which `rodflow.figures.core.panels.fit` places.

    Args:
        axes: the panel.
        text: the words.
        down: how many points below `at`.
        at: height in the panel, from 0 to 1.
        font: what is not as usual, such as which edge of the words is there.
    """
    look: Font = {"va": "top", **font, "gid": BESIDE}
    note(axes, text, (0, at), shift=(0, -down), **look)


def describe_run(axes: Axes, run: StoredRun, *before: str) -> None:
    """As `describe_row`: these lines, then the run's hyperparameters.

    Args:
        axes, run, before: the panel, the run, and the lines above its hyperparameters.
    """
    describe_row(axes, run.optimizer, *before, *hyperparameters(run))


def failures(runs: Iterable[StoredRun], without: Sequence[str] = ()) -> list[tuple[str, str]]:
    """(process, how it ended) of those that did not complete, each once.

    Args:
        runs: whose processes.
        without: processes that are not drawn.
    """
    found = dict.fromkeys(
        (process, run.status(process).split(":")[0])
        for run in runs
        for process in run.processes
        if process not in without and run.status(process) != COMPLETED
    )
    return [*found]


def state_failures(axes: Axes, runs: Iterable[StoredRun], without: Sequence[str] = ()) -> None:
    """In words, and in the colour of the curve, which processes did not complete: see `failures`.

    Args:
        axes: the panel, whose lower left corner they are written into.
        runs, without: as for `failures`.
    """
    styles = [(process_style(process), status) for process, status in failures(runs, without)]
    note_lines(axes, [(f"{style.label} {status}", style.text_color) for style, status in styles])


def draw_processes(
    axes: Axes,
    run: StoredRun,
    name: str,
    of: Callable[[StoredRun, str], xr.DataArray],
    numbers: Numbers,
    among: Sequence[str] | None = None,
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """One curve a process of the finite values of a quantity at its snapshots, over the run; entered in the table.

    Args:
        axes: the panel.
        run: whose processes they are.
        name: of the quantity in the table.
        of: its values, [snapshot], of a process.
        numbers: the table.
        among: the processes that are drawn, where the run has them; None for all.

    Returns:
        Process, steps and values of each curve.
    """
    curves = []
    for process in run.processes:
        if among is not None and process not in among:
            continue
        values = of(run, process)
        values = values.where(np.isfinite(values), drop=True)
        steps, heights = values["snapshot"].values, values.values.astype(float)
        axes.plot(steps, heights, label=process, **process_style(process).line)
        numbers.add(run, process, name, heights, steps)
        curves.append((process, steps, heights))
    axes.set_xlim(0, run.settings["steps"])
    return curves


def mark_end(axes: Axes, process: str, step: float, value: float) -> None:
    """A cross where a curve ends because its process diverged, at the edge if it is beyond.

    Args:
        axes: axes whose limits are final.
        process: what diverged.
        step: where its curve ends.
        value: its last value.
    """
    axes.plot(
        step,
        np.clip(value, *axes.get_ylim()),
        marker="x",
        markersize=5,
        markeredgewidth=1.4,
        color=process_style(process).text_color,
        clip_on=False,
        zorder=4,
        label=f"{process} diverged",
    )


def mark_steps(line: Sequence[Axes], run: StoredRun, *, named: bool) -> None:
    """Where the flows start (dotted), and where the discrete run reaches its threshold (dashed).

    Args:
        line: the panels of a row.
        run: the first one of the row.
        named: whether to write above the panels which is which.
    """
    start, reached = run.settings["start"], onset(run)
    for axes in line:
        axes.axvline(start, **THIN, linestyle=DOTTED)
        if named:
            note(axes, "$t_0$", (start, 1), shift=(-1, 2), ha="right", **_STEP)
        if np.isfinite(reached):
            axes.axvline(reached, **THIN, linestyle=DASHED)
            if named:
                note(axes, "onset", (reached, 1), shift=(1, 2), ha="left", **_STEP)


_STEP: Look = {
    "coordinates": ("data", "axes fraction"),
    "color": FAINT,
    "va": "bottom",
}


def counted(run: StoredRun, flow: str, *, name: str) -> float | None:
    """The mean of what a flow counts in each unit of time, "gradients" for one; None if it does not count this.

    Args:
        run, flow: the stored run, and which of its flows.
        name: what is counted.
    """
    series = run.series(flow)
    return float(series[name].mean()) if name in series and series.sizes["step"] else None


def count_words(value: float) -> str:
    """A mean count, short."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def write_beside(axes: Axes, text: str, right: float, up: float, **font: Unpack[Font]) -> None:
    """Words whose right edge is this many inches beside the panel, points above its top.

    Args:
        axes, text: the panel, and the words.
        right, up: inches from its right edge, and points above its top.
        font: what is not as usual.
    """
    look: Font = {**font, "ha": "right"}
    note(axes, text, (1, 1), shift=(72 * right, up), **look)


def show_on_log_scale(axes: Axes, values: np.ndarray) -> None:
    """Fit a logarithmic axis to those of these values that are positive, or to 1, with a few labelled marks.

    Args:
        axes, values: the panel, and what its vertical axis is to show.
    """
    axes.set_yscale("log")
    values = values[values > 0] if (values > 0).any() else np.ones(1)
    axes.set_ylim(values.min() / 1.4, values.max() * 1.4)
    low, high = axes.get_ylim()
    if high < 1000 * low:
        subs: tuple[float, ...] = (1, 2, 5)
        if high >= 20 * low:
            subs = (1, 3) if high < 200 * low else (1,)
        if _marks(subs, low, high) < 2:  # with fewer the locator falls back to many
            subs = (1, 1.5, 2, 3, 4, 6)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    else:
        axes.yaxis.set_major_locator(LogLocator(numticks=5))
        axes.yaxis.set_minor_locator(NullLocator())  # some rows would have them and some not
    axes.yaxis.set_minor_formatter(NullFormatter())


def _marks(subs: Sequence[float], low: float, high: float) -> int:
    """How many multiples by `subs` of powers of ten lie on an axis."""
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    places = np.outer(powers, subs)
    return int(np.sum((low <= places) & (places <= high)))


def share_steps(rows: Sequence[Sequence[Axes]]) -> None:
    """Write the steps below a row only where the next row has other ones."""
    for upper, lower in pairwise(rows):
        if upper[0].get_xlim() == lower[0].get_xlim():
            for axes in upper:
                axes.tick_params(labelbottom=False)
