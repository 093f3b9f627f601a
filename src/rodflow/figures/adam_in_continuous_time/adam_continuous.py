"""Adam and AdamW beside their form in continuous time, nearer to each other the smaller the learning rate.

One row a series of runs that train for the same learning rate x steps (`rodflow.analysis.convergence`), one colour a
learning rate, against time η t: three weights, the loss, the distance of the two, and its last value against the
learning rate; of a series that reaches the edge of stability, where nothing converges, the sharpness instead.
Source: Gould and Tanaka 2024 (arXiv 2411.05746).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from rodflow.analysis.convergence import below_edge, order, rate, series
from rodflow.config.declarations import FigureEntry, with_flow
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    at_snapshots,
    failures,
    onset,
    sharpness,
    show_on_log_scale,
    tracking_error,
)
from rodflow.figures.core.style import (
    DASHED,
    FAINT,
    INK,
    THIN,
    Drawing,
    Numbers,
    end_labels,
    key,
    model_label,
    note,
    note_lines,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.figures.core.sweeps import (
    color_key,
    formula,
    hyperparameter,
    in_order,
    ordered_colors,
    plain,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=("comparison", "trajectories"),
    order=23,
    runs=with_flow("adam_continuous"),
    caption=r"""
*Claim* (after Gould and Tanaka, arXiv 2411.05746): with decays fixed, :math:`\eta\tau_i` shrinks with the
learning rate and both descriptions tend to a descent along the sign of the gradient; with :math:`\eta\tau_i`
fixed they tend to the same differential equation, of which Adam is a step of first order. The flow has no
threshold: at the edge of stability it goes on to ever larger sharpness, and the distance no longer shrinks.

Adam and AdamW (dots, at most twelve a curve) beside their form in continuous time (lines), one row a series of
runs that train for the same learning rate times steps, one colour a learning rate, everything dimensionless.
The flow begins at step 0 with the initial weights; iterates are midpoints of three. *First panel*: how far
three weights are from where the run is at :math:`t_0 = 1`: the one of median displacement, the one that turns
back farthest, and the one at which iterates and flow end farthest apart, all chosen at the largest learning
rate. *Second*: full-batch loss. *Third*: tracking error :math:`\Vert w_\mathrm{flow} - \bar w \Vert / \Vert
\bar w - \bar w(t_0) \Vert` against time :math:`\eta t`, with :math:`\bar w` the midpoint; a diamond is where
the run reaches its stability threshold. *Fourth*: the last tracking error against the learning rate, with the
slope of the least-squares line through the logarithms; of a series that reaches its threshold instead the
preconditioned sharpness of both, over the threshold. The continuous time constants are :math:`\tau_i = \beta_i
/ (1 - \beta_i)` steps.

Drawn from ``discrete.nc``, ``adam_continuous.nc`` and ``comparison.nc``; ``adam_continuous.csv`` has every
point.
""",
)


FLOW = "adam_continuous"
WEIGHTS = ("median", "turns", "worst")
"""The weights that are drawn: of median displacement, turning back farthest, and with flow and run farthest apart."""

_TALL, _WIDTH, _WIDE = 1.2, 8.6, (2.0, 1.35, 1.35, 1.25)  # inches
_TITLES = ("$w - w(t_0)$ of three weights", "loss", "distance", "last distance")
_DOTS = 12  # of a discrete run, at most


@dataclass(frozen=True)
class _Row:
    """A series, its colours, and where it is drawn."""

    runs: Sequence[StoredRun]
    panels: Sequence[Axes]
    colors: dict[float | None, str]
    numbers: Numbers

    def color(self, run: StoredRun) -> str:
        """Of its learning rate."""
        return self.colors[rate(run)]

    def name(self, quantity: str, run: StoredRun) -> str:
        """In the table: of which sweep and learning rate."""
        above = run.path.split("/")[:-3]
        sweep = f"{above[1]}: " if above else ""
        return f"{quantity}[{sweep}learning_rate={plain(rate(run))}]"

    def plot(
        self, panel: int, run: StoredRun, process: str, quantity: str, values: xr.DataArray
    ) -> np.ndarray:
        """Draw a quantity against time, and enter it; what is drawn.

        Args:
            panel: which.
            run: whose.
            process: dots of the discrete run, few of them; a line of the flow.
            quantity: its name.
            values: over snapshots.
        """
        values = values.where(np.isfinite(values), drop=True).astype(np.float64)
        look: Look = {"color": self.color(run), "label": f"{process} {quantity}"}
        if process == DISCRETE:
            values = values.isel(snapshot=slice(None, None, -(-values.size // _DOTS) or 1))
            look |= {"linestyle": "none", "marker": "o", "markersize": 2.6, "markeredgewidth": 0}
        else:
            look |= {"linewidth": 0.9}
        steps = values["snapshot"].values
        self.panels[panel].plot(rate(run) * steps, values.values, **look)
        self.numbers.add(run, process, self.name(quantity, run), values, steps)
        return values.values


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A row a series: three weights, losses, distance over time, and its order in the learning rate or the sharpness.

    Args:
        runs: of any sweeps; of one without the flow the iterates are drawn.
    """
    groups = series(runs)
    colors = ordered_colors(in_order(rate(run) for run in runs))
    numbers = Numbers()
    with styled():
        tall = [_TALL] * len(groups)
        figure, grid = rows_of_panels(tall, len(_WIDE), width=_WIDTH, wide=_WIDE)
        rows = [
            _Row(group, panels, colors, numbers) for group, panels in zip(groups, grid, strict=True)
        ]
        weights = [_draw_weights(row) for row in rows]
        for row in rows:
            _draw_losses(row)
            _head(row, several=len({run.seed for run in runs}) > 1)
        shown = [_draw_distances(row) for row in rows]
        for row in rows:
            _draw_last(row)
        _share_axes(rows, np.concatenate([np.ones(0), *shown]))
        for row in rows:
            _mark_onsets(row)
        _key(figure, colors, rows)
        fit(figure, [row[0] for row in grid], tall)
        for row, ends in zip(rows, weights, strict=True):
            end_labels(row.panels[0], ends)
    table = numbers.table()
    shows = medians(table, "order", "the order in the learning rate")
    return Drawing(figure, table, shows)


def _has_flow(run: StoredRun) -> bool:
    return FLOW in run.processes


def _processes(run: StoredRun) -> list[str]:
    """Those of a run that are drawn."""
    return [process for process in (DISCRETE, FLOW) if process in run.processes]


def chosen(iterates: np.ndarray, flow: np.ndarray) -> dict[str, int]:
    """Which weights are drawn, by the names in `WEIGHTS`.

    Args:
        iterates: displacements of the run, [snapshot, parameter].
        flow: those of the flow at the same snapshots.
    """
    far = np.abs(iterates)
    moved = np.flatnonzero(far[-1] > 0)
    if not moved.size:
        return {}
    middle = moved[np.argsort(far[-1][moved], kind="stable")[moved.size // 2]]
    turns = np.argmax(far.max(axis=0) - far[-1])
    worst = np.argmax(np.abs(flow[-1] - iterates[-1]))
    return dict(zip(WEIGHTS, map(int, (middle, turns, worst)), strict=True))


def _draw_weights(row: _Row) -> list[tuple[float, str, str]]:
    """The three weights, chosen at the largest learning rate, as far as run and flow have both been kept.

    Returns:
        Of each where it ends, its name and colour.
    """
    axes, picked, ends = row.panels[0], dict[str, int](), dict[str, float]()
    for run in filter(_has_flow, row.runs):
        here, there = xr.align(
            run.trajectory(DISCRETE)["weights"],
            run.trajectory(FLOW)["weights"],
            join="inner",
            exclude="parameter",
        )
        if not here.sizes["snapshot"]:
            continue
        at_start = here.isel(snapshot=0).astype(np.float64)
        moved = {DISCRETE: here - at_start, FLOW: there - at_start}
        picked = picked or chosen(moved[DISCRETE].values, moved[FLOW].values)
        for role, index in picked.items():
            for process, values in moved.items():
                own = values.isel(parameter=index, drop=True)
                drawn = row.plot(0, run, process, f"weight_{role}", own)
                ends[role] = float(drawn[-1]) if drawn.size else 0.0
    for role, index in picked.items():
        row.numbers.add(row.runs[0], DISCRETE, row.name(f"index_{role}", row.runs[0]), index)
    axes.axhline(0, color=FAINT, linewidth=0.5, zorder=1)
    axes.margins(y=0.08)
    axes.locator_params(axis="y", nbins=5)
    axes.autoscale_view()
    return [(height, role, INK) for role, height in ends.items()]


def _draw_losses(row: _Row) -> None:
    """The loss of the iterates, and that of the flow."""
    shown = [np.ones(0)]
    for run in row.runs:
        for process in _processes(run):
            data = run.series(process)
            if data.sizes["step"]:
                shown.append(row.plot(1, run, process, "loss", at_snapshots(data["loss"], data)))
    show_on_log_scale(row.panels[1], np.concatenate(shown))


def _draw_distances(row: _Row) -> np.ndarray:
    """The tracking error of the flow over time, of all runs; what is drawn."""
    shown = [
        row.plot(2, run, FLOW, "tracking_error", tracking_error(run, FLOW))
        for run in filter(_has_flow, row.runs)
    ]
    others = [name for run in row.runs for name in run.processes if name not in (DISCRETE, FLOW)]
    ended = failures(row.runs, without=others)
    words = [(f"{process_style(process).short} {status}", INK) for process, status in ended]
    note_lines(row.panels[2], words)
    return np.concatenate([np.ones(0), *shown])


def _draw_last(row: _Row) -> None:
    """The order of convergence; of a series that reaches the edge of stability its sharpness instead."""
    if all(map(below_edge, row.runs)):
        _draw_order(row)
    else:
        _draw_sharpness(row)


def _draw_order(row: _Row) -> None:
    """The last tracking error against the learning rate, and the line through their logarithms."""
    axes, found = row.panels[3], dict[float, float]()
    for run in filter(_has_flow, row.runs):
        error = tracking_error(run, FLOW).dropna("snapshot")
        if not error.size:
            continue
        found[rate(run)] = last = float(error[-1])
        look: Look = {"marker": "o", "markersize": 4, "color": row.color(run)}
        axes.plot(rate(run), last, zorder=3, label="last_tracking_error", **look)
        row.numbers.add(run, FLOW, row.name("last_tracking_error", run), last)
    rates = np.array([*found])
    slope = order([*found], [*found.values()])
    if np.isfinite(slope):
        middle = np.log([*found.values()]).mean() - slope * np.log(rates).mean()
        ends = np.array([rates.min(), rates.max()])
        look = {"color": INK, "linewidth": 0.8, "linestyle": DASHED, "zorder": 2}
        heights = np.exp(middle) * ends**slope
        axes.plot(ends, heights, label="fit", **look)
        row.numbers.add(row.runs[0], FLOW, row.name("fit", row.runs[0]), heights)
        row.numbers.add(row.runs[0], FLOW, row.name("order", row.runs[0]), slope)
        note(axes, f"slope {slope:.2f}", (0, 1), shift=(3, -2), va="top", fontsize=7)


def _draw_sharpness(row: _Row) -> None:
    """Sharpness over threshold of the iterates and of the flow."""
    shown = [
        row.plot(3, run, process, "sharpness_over_threshold", sharpness(run, process))
        for run in row.runs
        for process in _processes(run)
    ]
    axes = row.panels[3]
    show_on_log_scale(axes, np.concatenate([np.ones(1), *shown]))
    axes.axhline(1, **THIN)
    axes.set_title("sharpness / threshold", fontsize=7, pad=4)


def _share_axes(rows: Sequence[_Row], distances: np.ndarray) -> None:
    """Time from 0 to the end of a row; distances and learning rates on the same axes in all rows."""
    rates = np.array([rate(run) for row in rows for run in row.runs])
    for row in rows:
        end = max(rate(run) * run.settings["steps"] for run in row.runs)
        below = all(map(below_edge, row.runs))
        for axes in row.panels[: 3 if below else 4]:
            axes.set_xlim(0, end)
            axes.locator_params(axis="x", nbins=5)
        show_on_log_scale(row.panels[2], distances)
        if not below:
            continue
        axes = row.panels[3]
        show_on_log_scale(axes, distances)
        axes.set_xscale("log")
        axes.set_xlim(rates.min() / 1.5, rates.max() * 1.5)
        marks = np.unique(rates)
        axes.set_xticks(marks, [f"{value:.0e}".replace("e-0", "e-") for value in marks])
        axes.xaxis.set_minor_locator(NullLocator())
    note(rows[0].panels[0], _TITLES[0], (0.5, 1), shift=(0, 4), ha="center")
    for axes, title in zip(rows[0].panels[1:], _TITLES[1:], strict=True):
        axes.set_title(title, fontsize=7, pad=4)
    for row in rows:
        for place, axes in enumerate(row.panels):
            along = place < 3 or not all(map(below_edge, row.runs))
            axes.set_xlabel("time $\\eta t$" if along else "learning rate $\\eta$", labelpad=1)


def _mark_onsets(row: _Row) -> None:
    """Where a run reaches its threshold, on the curve of its distance."""
    for run in filter(_has_flow, row.runs):
        reached = onset(run)
        error = tracking_error(run, FLOW).dropna("snapshot")
        if np.isfinite(reached) and reached in error["snapshot"]:
            height = float(error.sel(snapshot=reached))
            look: Look = {"marker": "D", "markersize": 3.6, "color": row.color(run)}
            row.panels[2].plot(rate(run) * reached, height, label="onset", zorder=3, **look)
            row.numbers.add(run, DISCRETE, row.name("onset", run), reached)


def _head(row: _Row, *, several: bool) -> None:
    """Whose row it is, and what its runs have in common."""
    run = row.runs[0]
    title = f"{optimizer_label(run.optimizer)}, {model_label(run.model)}"
    title += f", seed {run.seed}" if several else ""
    axes = row.panels[0]
    axes.set_title(title, loc="left", pad=25, fontsize=8, fontweight="bold")
    words = ", ".join([*_decays(row.runs), *_weight_decay(run)])
    note(axes, words, (0, 1), shift=(0, 16), room=False, fontsize=7, color=FAINT)


def _decays(runs: Sequence[StoredRun]) -> list[str]:
    """The decays of a series, or the memories η b / (1 - b) if these are what its runs share."""
    found = []
    for number, name in ((1, "b1"), (2, "b2")):
        values = [hyperparameter(run, name) or 0.0 for run in runs]
        memories = [rate(run) * b / (1 - b) for run, b in zip(runs, values, strict=True)]
        if len({*values}) == 1:
            found.append(formula(name, values[0]))
        elif max(memories) < 1.01 * min(memories):
            found.append(f"$\\eta\\tau_{number}$ = {memories[0]:.2g} fixed")
        else:
            found.append(f"{formula(name, min(values))} to {plain(max(values))}")
    return found


def _weight_decay(run: StoredRun) -> list[str]:
    decay = hyperparameter(run, "weight_decay")
    return [] if decay is None else [f"$\\lambda$ = {plain(decay)}"]


def _key(figure: Figure, colors: dict[float | None, str], rows: Sequence[_Row]) -> None:
    """Colours of the learning rates, and what dots and lines are."""
    dots: Look = {"linestyle": "none", "marker": "o", "markersize": 3}
    handles = [
        *color_key("learning_rate", colors),
        Line2D([], [], color=INK, label="iterates", **dots),
        Line2D([], [], color=INK, linewidth=0.9, label="continuous time"),
    ]
    if any(np.isfinite(onset(run)) for row in rows for run in row.runs):
        look: Look = dots | {"marker": "D"}
        handles.append(Line2D([], [], color=INK, label="threshold reached", **look))
    key(figure, handles)
