"""How near the flows stay, beside how near the run stays to copies of itself that differ by rounding.

One row an optimizer, and beside it the last error of each rod flow over the median last error of the replicas. A run
without replicas, and a process that diverged, say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Dashes
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import by_row, describe_run, mark_end, share_steps, tracking_error
from rodflow.figures.core.style import (
    DASHED,
    INK,
    Drawing,
    Numbers,
    key,
    lines_of,
    model_label,
    note,
    process_marker,
    process_style,
    styled,
    two_digits,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=("comparison", "trajectories"),
    order=10,
    caption=r"""
*Claim*: from the onset on the floor jumps up, and the rod flows stand at it or within twice of it, which is all
that a model of the dynamics can reach, while the stable flow is far above it. Before the onset nothing
amplifies rounding, and the distance of the rod flows from the floor is their own error.

How near to the discrete run on the model ``{part}`` a model of the dynamics can be asked to stay. Training at
the edge of stability amplifies rounding: the *replicas* of a run are the same optimizer on the same data, from
weights at :math:`t_0` multiplied element by element by :math:`1 + 10^{-7} N(0, 1)`. The grey band goes from the
lowest to the highest tracking error of the replicas, the grey line is their median: the predictability floor.
Over it are drawn the tracking errors of the stable flow and of the rod flows, all against the optimizer step:
the distance of the midpoint or of the flow's centre from the midpoint of the run over the distance that the run
has travelled since :math:`t_0`. *Right*: the last tracking error of each rod flow over the median last error of
the replicas, with lines at 1 and 2; a bar goes to the ratios with the highest and with the lowest replica in
place of the median, and the numbers are the ratios (their geometric mean, if there are several seeds).
Everything is dimensionless. A mark to the left of 1 is a flow that is nearer to the run than most of its
replicas are. A run without replicas has no band and says so, as does a process that diverged; a cross ends its
curve.

Errors and floors are read from ``comparison.nc``; ``predictability_{part}.csv`` has every number drawn.
""",
)


_BASELINE = "stable"
_LINES: tuple[tuple[float, str, Dashes], ...] = ((1, "floor", "-"), (2, "twice", DASHED))
"""Multiples of the floor with a line of their own, its name and dashes."""

_FLOOR, _GREY = "#d9d9d9", "#595959"
_PANEL, _WIDE = 0.85, (2.2, 1)  # inches; the two panels of a row
_VALUE = 42  # points: a column of numbers
_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # below words


@dataclass(frozen=True)
class _Panel:
    """The tracking errors of one model and optimizer.

    Attributes:
        axes: where they are drawn.
        settled: what the vertical axis should show.
        diverged: (flow, step, error) where a flow was last seen before it diverged.
    """

    axes: Axes
    settled: np.ndarray
    diverged: list[tuple[str, int, float]]


def floor_range(run: StoredRun) -> xr.Dataset | None:
    """Lowest, median and highest tracking error of the replicas, [snapshot]; None if there is no replica.

    Where a replica has diverged it counts no more; snapshots that no replica has are left out.
    """
    if "floor" not in run.comparison:
        return None
    floor = run.comparison["floor"].astype(np.float64)
    floor = floor.where(np.isfinite(floor)).dropna("snapshot", how="all")
    if not floor.size:
        return None
    return xr.Dataset(
        {
            "floor_lowest": floor.min("replica"),
            "floor_median": floor.median("replica"),
            "floor_highest": floor.max("replica"),
        }
    )


def over_floor(run: StoredRun, flow: str) -> dict[str, float] | None:
    """The last error of a flow over the median, highest and lowest last error of the replicas.

    None unless the run, the flow and at least one replica reached the end.

    Args:
        run, flow: the stored run, and which of its flows.

    Returns:
        "median", "highest" and "lowest" -> the quotient. Replicas that are exactly at the run, or diverged, do not
        count.
    """
    if any(run.status(process) != COMPLETED for process in (DISCRETE, flow)):
        return None
    if "floor_last" not in run.comparison:
        return None
    last = run.comparison["floor_last"].values.astype(np.float64)
    last = last[np.isfinite(last) & (last > 0)]
    error = float(run.comparison["error_last"].sel(process=flow))
    if not last.size or not np.isfinite(error):
        return None
    references = {"median": np.median(last), "highest": last.max(), "lowest": last.min()}
    return {name: error / float(value) for name, value in references.items()}


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A row an optimizer (and model, if there are several): tracking errors with their floor, and ratios to it."""
    rows = by_row(runs)
    flows = list(dict.fromkeys(p for run in runs for p in run.processes if p != DISCRETE))
    rods = [flow for flow in flows if flow != _BASELINE]
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        tall = [_PANEL] * len(rows)
        figure, grid = rows_of_panels(tall, len(_WIDE), wide=_WIDE)
        panels = []
        for (axes, beside), members in zip(grid, rows, strict=True):
            panels.append(_draw_errors(axes, members, flows, numbers))
            _draw_ratios(beside, members, rods, numbers)
            run = members[0]
            describe_run(axes, run, *([model_label(run.model)] if several else []))
        _share_errors(panels)
        _share_ratios([beside for _, beside in grid], rods)
        _key(figure, flows)
        fit(figure, [axes for axes, _ in grid], tall)
    table = numbers.table()
    shows = medians(
        table,
        "error_last_over_median_floor",
        "the last tracking error over the median of the replicas'",
    )
    return Drawing(figure, table, shows)


def _draw_errors(
    axes: Axes, runs: Sequence[StoredRun], flows: Sequence[str], numbers: Numbers
) -> _Panel:
    """Tracking errors of the flows of one model and optimizer, over the band of the replicas."""
    words: list[tuple[str, str]] = []
    settled = [np.ones(0)]
    diverged = []
    axes.set_yscale("log")
    axes.set_xlim(0, max(run.settings["steps"] for run in runs))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
    for run in runs:
        found = floor_range(run)
        if found is None:
            words.append((_no_floor(run), _GREY))
        else:
            _draw_floor(axes, run, found, numbers)
            settled += [values.values for values in found.values()]
        if run.status(DISCRETE) != COMPLETED:
            style = process_style(DISCRETE)
            words.append((f"{style.label} {run.status(DISCRETE)}", style.text_color))
        for flow in (flow for flow in flows if flow in run.processes):
            style = process_style(flow)
            errors = tracking_error(run, flow)
            errors = errors.where(np.isfinite(errors) & (errors > 0), drop=True)
            values, steps = errors.values, errors["snapshot"].values
            axes.plot(steps, values, label=flow, **style.line)
            numbers.add(run, flow, "tracking_error", values, steps)
            if run.status(flow) == COMPLETED:
                settled.append(values)
                continue
            words.append((f"{style.short} {run.status(flow).split(':')[0]}", style.text_color))
            if errors.size:
                settled.append(values[values <= 10 * values[0]])
                diverged.append((flow, int(steps[-1]), float(values[-1])))
    for line, (text, color) in enumerate(dict.fromkeys(words)):
        shift = (3, -1 - 7.5 * line)
        note(axes, text, (0, 1), shift=shift, va="top", room=False, color=color, fontsize=6)
    return _Panel(axes, np.concatenate(settled), diverged)


def _draw_floor(axes: Axes, run: StoredRun, found: xr.Dataset, numbers: Numbers) -> None:
    """The range of the replicas' errors as a band, and their median."""
    steps = found["snapshot"].values
    axes.fill_between(
        steps,
        found["floor_lowest"],
        found["floor_highest"],
        color=_FLOOR,
        linewidth=0,
        zorder=1,
        label="replicas",
    )
    axes.plot(steps, found["floor_median"], color=_GREY, linewidth=0.9, zorder=1.5, label="floor")
    for quantity, values in found.items():
        numbers.add(run, DISCRETE, str(quantity), values, steps)


def _no_floor(run: StoredRun) -> str:
    """Why a run has no floor."""
    return "no replicas stored" if "floor" not in run.comparison else "no replica started"


def _share_errors(panels: Sequence[_Panel]) -> None:
    """One vertical axis for all; steps below a panel where the next one has others."""
    values = np.concatenate([np.ones(0), *(panel.settled for panel in panels)])
    values = values[values > 0]
    limits = (values.min() / 1.6, values.max() * 12) if values.size else (1e-4, 1.0)
    for panel in panels:
        panel.axes.set_ylim(*limits)
        panel.axes.yaxis.set_major_locator(LogLocator(numticks=4))
        panel.axes.yaxis.set_minor_formatter(NullFormatter())
        for flow, step, error in panel.diverged:
            mark_end(panel.axes, flow, step, error)
    panels[0].axes.set_title("tracking error", pad=14)
    panels[-1].axes.set_xlabel("optimizer step")
    share_steps([[panel.axes] for panel in panels])


def _share_ratios(column: Sequence[Axes], rods: Sequence[str]) -> None:
    """One horizontal axis for all, with lines at the floor and at twice of it, and headings of the numbers."""
    limits = [axes.get_xlim() for axes in column]
    low, high = min(0.4, *(low for low, _ in limits)), max(5.0, *(high for _, high in limits))
    for axes in column:
        axes.set_xlim(low, high)
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(labelbottom=axes is column[-1])
        for value, name, dashes in _LINES:
            axes.axvline(value, color=INK, linewidth=0.8, linestyle=dashes, zorder=1, label=name)
    for value, name, _ in _LINES:
        where = ("data", "axes fraction")
        side = "right" if value == 1 else "left"
        note(column[0], name, (value, 1), coordinates=where, shift=(0, 4), ha=side)
    column[-1].set_xlabel("last error / median floor")
    for place, flow in enumerate(rods, start=1):
        style, shift = process_style(flow), (_VALUE * place, 4)
        color = style.text_color
        note(column[0], style.short, (1, 1), shift=shift, ha="right", color=color)


def _draw_ratios(
    axes: Axes, runs: Sequence[StoredRun], rods: Sequence[str], numbers: Numbers
) -> None:
    """The marks of one model and optimizer, their numbers, or why there are none."""
    axes.set_xscale("log")
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    failures: dict[str, None] = {}
    for column, flow in enumerate(rods):
        style = process_style(flow)
        found = []
        for index, run in enumerate(runs):
            if flow not in run.processes:
                continue
            ratios = over_floor(run, flow)
            if ratios is None:
                failures |= dict.fromkeys(_reasons(run, flow))
                continue
            lanes = len(rods) * len(runs)
            lane = column * len(runs) + index
            height = 1 - (lane + 0.5) / lanes
            for name, ratio in ratios.items():
                numbers.add(run, flow, f"error_last_over_{name}_floor", ratio)
            axes.plot(
                [ratios["highest"], ratios["lowest"]],
                [height, height],
                color=style.color,
                linewidth=0.9,
                zorder=2,
                label=f"{flow} range",
            )
            axes.plot(
                ratios["median"],
                height,
                marker=process_marker(flow),
                markersize=4,
                linestyle="none",
                color=style.color,
                zorder=3,
                label=f"{flow} median",
            )
            found.append(ratios["median"])
        if found:
            text = two_digits(np.exp(np.mean(np.log(found))))
            shift, color = (_VALUE * (column + 1), 0), style.text_color
            note(axes, text, (1, 0.5), shift=shift, ha="right", va="center", color=color)
    words = "\n".join(failures)
    note(
        axes,
        words,
        (0, 0.5),
        shift=(3, 0),
        va="center",
        color=_GREY,
        fontsize=6,
        bbox=_BOX,
        room=False,
    )


def _reasons(run: StoredRun, flow: str) -> list[str]:
    """Why a flow of a run has no mark."""
    ended = {process: run.status(process).split(":")[0] for process in (DISCRETE, flow)}
    failed = [f"{process_style(p).label} {s}" for p, s in ended.items() if s != COMPLETED]
    return failed or [
        "no replicas stored" if "floor_last" not in run.comparison else "no replica reached the end"
    ]


def _key(figure: Figure, flows: Sequence[str]) -> None:
    """What lines, band and marks are, above the panels."""
    floor = [
        Patch(color=_FLOOR, linewidth=0, label="predictability floor: range of the replicas"),
        Line2D([], [], color=_GREY, linewidth=0.9, label="their median"),
    ]
    key(figure, [*lines_of(flows), *floor])
