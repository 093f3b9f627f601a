"""What the rod is: its length, the direction it points in and the loss at its ends and centre.

One row an optimizer, seeds on top of each other. The half-extent of the discrete run is measured
from three consecutive iterates, that of the rod flows is predicted.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    by_row,
    describe_run,
    mark_end,
    mark_steps,
    onset,
    share_steps,
    state_failures,
)
from rodflow.figures.core.style import (
    BAND,
    FAINT,
    INK,
    THIN,
    Drawing,
    Numbers,
    key,
    lines_of,
    model_label,
    note,
    process_style,
    styled,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=ALONG_RUNS,
    order=4,
    caption=r"""
*Claim* (Regis and Chewi, arXiv 2605.06821): beyond the onset rods open and close as the measured ones do and
lie in the span of the leading eigenvectors, and the loss at both ends, which is that of the iterates, is above the
loss at the centre by the same amount.

The rod of each optimizer on the model ``{part}``, measured from three consecutive iterates (discrete run) and
predicted by the rod flows, against the optimizer step; everything is dimensionless. *Left*: the rod length
:math:`\|X_w\|`, the norm of the weights' half-extent. Before the onset (shaded) the flow's rod is the rounding
noise that seeds it, while what is measured there is the curvature of the path, not an oscillation. The
horizontal line is a tenth of the longest measured rod from :math:`t_0` (dotted) on; rods above it count as
long. *Middle*: the cosine of the angle between the rod and the span of the leading eigenvectors of the
preconditioned Hessian :math:`P^{-1/2} H P^{-1/2}`, a dot a snapshot from the onset on, large for long rods. Since
the eigenvectors live in the coordinates :math:`P^{1/2} w`, the rod is taken there too. At least four are followed,
and one more than the eigenvalues that the config asks for; with more directions than that at the threshold (as
happens with a second moment for each weight) the rod lies among those, too, and the cosine is lower. The numbers
are medians over the long rods. *Right*: the loss divided by that at the rod's centre (line at 1): at both ends of
each rod flow over its own centre, and of the iterates, even and odd steps apart, over the centre of the rod flow in
unit steps (of the ODE where there is none). Bursts that come early or late have lost their timing to the seeding
noise and to chaos. A cross ends the curve of a process that diverged.

Lengths and losses are read from the trajectories (train and flow stages), cosines from ``sharpness/``,
the onset from ``comparison.nc``; ``rod_anatomy_{part}.csv`` has every point drawn.
""",
)


LONG = 0.1
"""A rod is long from this fraction of the discrete run's longest rod after t0 on."""

_REFERENCES = ("rod_unit_step", "rod")
_LOWEST, _HIGHEST = 0.8, 2.0  # of loss over loss at the centre that is shown

_PANEL = 0.85  # inches
_TITLES = (
    r"rod length $\|X_w\|$",
    "cosine of rod and eigenvectors",
    "loss / loss at the centre",
)


def alignment(run: StoredRun, process: str) -> xr.DataArray | None:
    """Cosine of the angle between the rods of a process and the eigenvectors' span, from t0 on, [snapshot].

    Args:
        run: where it is stored.
        process: the discrete run or a flow.

    Returns:
        NaN of a rod that is closed; None if the process has no rods.
    """
    found = run.eigenvalues(process)
    if "rod_in_span" not in found:
        return None
    return found["rod_in_span"].sel(snapshot=slice(run.settings["start"], None)) ** 0.5


def long_rod(run: StoredRun) -> float:
    """The length from which a rod of this run is long; NaN if none was measured."""
    series = run.series(DISCRETE)
    if "rod_length" not in series:
        return float("nan")
    lengths = series["rod_length"].sel(step=slice(run.settings["start"], None))
    lengths = lengths.where(np.isfinite(lengths), drop=True)
    return LONG * float(lengths.max()) if lengths.size else float("nan")


def loss_ratios(run: StoredRun) -> dict[tuple[str, str], xr.DataArray]:
    """(process, quantity) -> loss over loss at the rod's centre at the same step, [step].

    Of every rod flow its two ends over its own centre; of the discrete run the iterates at even
    and at odd steps over the centre of the rod flow in unit steps, or else of the ODE.
    """
    found = {}
    rods = [process for process in run.processes if "loss_plus" in run.series(process)]
    reference = next((process for process in _REFERENCES if process in rods), None)
    if reference:
        at, centre = xr.align(run.series(DISCRETE)["loss"], run.series(reference)["loss"])
        for remainder, name in enumerate(("even", "odd")):
            chosen = at["step"] % 2 == remainder
            found[DISCRETE, f"loss_{name}_over_centre"] = (at / centre).sel(step=chosen)
    for process in rods:
        series = run.series(process)
        for end in ("plus", "minus"):
            found[process, f"loss_{end}_over_centre"] = series[f"loss_{end}"] / series["loss"]
    return found


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer (and model, if there are several), three columns."""
    rows = by_row(runs)
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        tall = [_PANEL] * len(rows)
        figure, grid = rows_of_panels(tall, len(_PANELS))
        for row, (line, members) in enumerate(zip(grid, rows, strict=True)):
            for axes, draw_panel in zip(line, _PANELS, strict=True):
                axes.set_xlim(0, max(run.settings["steps"] for run in members))
                draw_panel(axes, members, numbers)
            run = members[0]
            describe_run(line[0], run, *([model_label(run.model)] if several else []))
            state_failures(line[0], members, without=("stable",))
            mark_steps(line[::2], run, named=row == 0)
            mark_steps(line[1:2], run, named=False)
            if np.isfinite(reached := onset(run)):
                for axes in line:
                    axes.axvspan(0, reached, color=BAND, linewidth=0, zorder=0)
        for axes, title in zip(grid[0], _TITLES, strict=True):
            axes.set_title(title, pad=14)
        for axes in grid[-1]:
            axes.set_xlabel("optimizer step")
        share_steps(grid)
        shown = dict.fromkeys(p for run in runs for p in run.processes if _has_rod(run, p))
        _key(figure, [DISCRETE, *(p for p in shown if p != DISCRETE)])
        fit(figure, [row[0] for row in grid], tall)
    table = numbers.table()
    shows = medians(table, "alignment_median", "each run's median of the cosine of long rods")
    return Drawing(figure, table, shows)


def _has_rod(run: StoredRun, process: str) -> bool:
    """Whether this figure shows anything of a process."""
    return process == DISCRETE or bool({"loss_plus", "rod_length"} & {*run.series(process)})


def _draw_lengths(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """Predicted and measured rod length at every step, and from where on a rod is long."""
    settled: list[xr.DataArray] = []
    diverged: dict[str, xr.DataArray] = {}
    for run in runs:
        for process in run.processes:
            series = run.series(process)
            if "rod_length" not in series:
                continue
            values = series["rod_length"]
            values = values.where(np.isfinite(values) & (values > 0), drop=True)
            if not values.size:
                continue
            axes.plot(values["step"], values, label=process, **process_style(process).line)
            numbers.add(run, process, "rod_length", values, values["step"].values)
            if run.status(process) == COMPLETED:
                settled.append(values)
            else:
                diverged[process] = values[-1]
        level = long_rod(run)
        if np.isfinite(level):
            numbers.add(run, DISCRETE, "long_rod", level)
            axes.axhline(level, **THIN, label="long rod")
    if not axes.lines:
        _say_missing(axes, "rod length")
        return
    axes.set_yscale("log")
    if settled:
        low = min(float(values.min()) for values in settled)
        high = max(float(values.max()) for values in settled)
        axes.set_ylim(low / 2, high * 3)
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for process, end in diverged.items():
        mark_end(axes, process, float(end["step"]), float(end))


def _draw_alignments(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """A dot a snapshot from the onset on, solid where the rod is long; above, the median of the solid dots."""
    medians: dict[str, list[float]] = {}
    for run in runs:
        level = long_rod(run)
        for process in run.processes:
            values = alignment(run, process)
            if values is None:
                continue
            # Before the onset there is no oscillation: a rod is the curvature of the path, or noise.
            values = values.where(
                np.isfinite(values) & (values["snapshot"] >= onset(run)), drop=True
            )
            # A snapshot may be of the step that diverged, which has no length.
            lengths = run.series(process)["rod_length"].reindex(step=values["snapshot"].values)
            is_long = lengths.values >= level
            style, size = process_style(process), 4.6 if process == DISCRETE else 2.4
            for name, chosen in {"alignment": is_long, "alignment_short": ~is_long}.items():
                here = values[chosen]
                axes.plot(
                    here["snapshot"],
                    here,
                    linestyle="none",
                    marker="o",
                    markersize=size if name == "alignment" else size / 2,
                    markeredgewidth=0,
                    color=style.color,
                    alpha=1.0 if name == "alignment" else 0.5,
                    zorder=style.line["zorder"],
                    label=f"{process} {name}",
                )
                numbers.add(run, process, name, here, here["snapshot"].values)
            found = medians.setdefault(process, [])
            if is_long.any():
                found.append(float(np.median(values[is_long])))
                numbers.add(run, process, "alignment_median", found[-1])
    axes.set_ylim(-0.04, 1.06)
    axes.set_yticks([0, 0.5, 1])
    if not medians:
        _say_missing(axes, "half-extent")
        return
    for place, (process, found) in enumerate(reversed(medians.items())):
        text, color = (
            f"{np.mean(found):.2f}" if found else "none",
            process_style(process).text_color,
        )
        note(axes, text, (1, 1), shift=(-24 * place, 3), ha="right", color=color)
    text, shift = "median:", (-24 * len(medians), 3)
    note(axes, text, (1, 1), shift=shift, ha="right", color=FAINT)


def _draw_losses(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """Loss of the iterates and at the rods' ends over that at the centre, at every step."""
    settled = [np.ones(1)]
    for run in runs:
        for (process, quantity), ratio in loss_ratios(run).items():
            values = ratio.where(np.isfinite(ratio), drop=True)
            style = process_style(process)
            width = 1.6 if process == DISCRETE else 0.9
            axes.plot(
                values["step"],
                values,
                label=f"{process} {quantity}",
                **style.line | {"linewidth": width},
            )
            numbers.add(run, process, quantity, values, values["step"].values)
            if run.status(process) == COMPLETED:
                settled.append(values.values)
    if not axes.lines:
        _say_missing(axes, "loss at rod ends")
        return
    axes.axhline(1, color=INK, linewidth=0.7, zorder=1.5, label="centre")
    shown = np.concatenate(settled)
    low, high = max(shown.min(), _LOWEST), min(shown.max(), _HIGHEST)
    margin = 0.06 * (high - low) + 1e-3
    axes.set_ylim(low - margin, high + margin)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.ticklabel_format(axis="y", useOffset=False)
    if shown.max() > _HIGHEST:
        text = f"up to {shown.max():.2g} \u2191"
        note(axes, text, (1, 1), shift=(-1, 3), ha="right")


_PANELS: tuple[Callable[[Axes, Sequence[StoredRun], Numbers], None], ...] = (
    _draw_lengths,
    _draw_alignments,
    _draw_losses,
)


def _say_missing(axes: Axes, what: str) -> None:
    note(axes, f"no {what} stored", (0.5, 0.5), ha="center", va="center", color=FAINT, room=False)
    axes.set_yticks([])


def _key(figure: Figure, processes: Sequence[str]) -> None:
    """The processes' names, and what dots and horizontal lines are, above the panels."""
    look: Look = {
        "linestyle": "none",
        "marker": "o",
        "markeredgewidth": 0,
        "color": "#595959",
    }
    marks = [
        Line2D([], [], color=FAINT, linewidth=0.7, label=f"{LONG:g} of the longest measured rod"),
        Line2D([], [], markersize=3.5, label="rod above it", **look),
        Line2D([], [], markersize=1.8, alpha=0.5, label="below it", **look),
        Line2D([], [], color=INK, linewidth=0.7, label="loss at the centre"),
    ]
    key(figure, [*lines_of(processes), *marks])
