"""What happens in weight space at the edge of stability: the iterates, the rod flow, the stable flow.

Two views of the same paths, one below the other. Above, across the valley: the iterates jump to
and fro along the leading eigenvector while they move on, and the rod spans the jumps. Below, from
above: rods are seen end-on, and the jumping turns the path aside. The rod flow turns with it; the
stable flow, which does not jump, goes straight on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import CubicSpline

from rodflow.config.declarations import FigureEntry, one_of_each_kind
from rodflow.figures.core.panels import fit, page, rows_of_panels
from rodflow.figures.core.preconditioner import preconditioner
from rodflow.figures.core.rows import onset
from rodflow.figures.core.style import (
    FAINT,
    Drawing,
    Numbers,
    hyperparameters,
    key,
    model_label,
    note,
    note_lines,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=("comparison", "trajectories", "sharpness", "onset_window"),
    order=5,
    runs=one_of_each_kind,
    caption=r"""
*Claim* (Regis and Chewi, arXiv 2605.06821): the jumping turns the path aside, towards lower sharpness; the rod
flow, which knows how far the iterates jump, turns with it, and the stable flow, which does not, goes on uphill
in sharpness. Rods start from rounding noise, so that they may grow some steps later than the oscillation.

What the models are about, in weight space, around the steps where the oscillation sets in. Every panel shows
the optimizer's own iterates, step by step (dots; the scale above counts the steps), the stable flow
:math:`dz/dt = F(z) - z` (dashed) and the rod flow with centre :math:`Z` and half-extent :math:`X` (thin line;
thick segments from :math:`Z - X` to :math:`Z + X` at the stored snapshots; the pale area lies between the ends
at every step, from the stored rod length and the direction interpolated between snapshots). The zero of all
axes is the midpoint of the iterates at the step that the onset window is about; all lengths are distances in
weight space, which has no unit, and the vertical axes are stretched. Upper row, *across the valley*: vertical
is the leading eigenvector of the (preconditioned) Hessian, horizontal the displacement of the midpoint over the
window. The iterates jump to and fro and the rod spans the jumps. Lower row, *on the valley floor*: the same
seen along the eigenvector, so that rods are seen end-on; vertical is the direction in which the stable flow
ends up away from the midpoint, the one that shows its departure best. The distances in the corner are those in
all directions. The numbers at the dots are sharpness over threshold: of the discrete run where it comes into
view and, at the step named in the corner, of all three. The three directions are orthogonal in the inner
product :math:`a \cdot P b` of the optimizer's preconditioner, in which the eigenvectors are.

Iterates come from ``onset_window.nc``, flows from their trajectories, sharpness from ``comparison.nc``;
``weights_plane.csv`` has every coordinate drawn.
""",
)


_STABLE, _RODS = "stable", ("rod", "rod_unit_step")
_ALONG, _ACROSS, _ASIDE = "along", "across", "aside"
_HEIGHTS = {
    _ACROSS: "across the valley:\nalong the top eigenvector",
    _ASIDE: "on the valley floor:\ntowards the stable flow",
}

_COLUMNS = 3
_PANEL = 1.75  # inches
_PALE = 0.15  # opacity of the area between the ends of the rods


@dataclass(frozen=True)
class _Frame:
    """Three directions in weight space, orthogonal in the inner product a . P b of the optimizer.

    In it the leading eigenvector is orthogonal to the other ones of the preconditioned Hessian.

    Attributes:
        origin: the place of the zeros, [parameter].
        covectors: direction -> what reads a displacement's part along it, [parameter], scaled so
            that the part is a length in weight space.
    """

    origin: np.ndarray
    covectors: dict[str, np.ndarray]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Where weights [..., parameter] are: direction -> coordinates [...]."""
        return {name: (weights - self.origin) @ row for name, row in self.covectors.items()}


@dataclass(frozen=True)
class _Path:
    """What is drawn of a process.

    Attributes:
        process: its name.
        steps: of the points of its line, [point].
        places: direction -> coordinates of its iterates or its centre, [point].
        half: half the rod's reach across the valley at these points, [point].
        rod_steps: of the rods drawn as segments, [rod].
        ends: direction -> coordinates of their two ends Z + X and Z - X, [end, rod].
    """

    process: str
    steps: np.ndarray
    places: dict[str, np.ndarray]
    half: np.ndarray | None = None
    rod_steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ends: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class _View:
    """A run around its onset, in coordinates.

    Attributes:
        run: whose it is.
        middles: direction -> coordinates of the midpoints of the iterates, [step].
        steps: of the midpoints.
        iterates: the path of the iterates.
        flows: those of the flows that were there at the time.
        distances: process -> ||w_flow - wbar|| at the step `last`.
        last: the last step in view at which all flows are known.
    """

    run: StoredRun
    steps: np.ndarray
    middles: dict[str, np.ndarray]
    iterates: _Path
    flows: tuple[_Path, ...]
    distances: dict[str, float]
    last: int


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Two panels a run, three runs side by side."""
    numbers = Numbers()
    rows = [runs[k : k + _COLUMNS] for k in range(0, len(runs), _COLUMNS)]
    columns = max((len(row) for row in rows), default=1)
    tall = [_PANEL] * (2 * len(rows))
    several = len({run.model for run in runs}) > 1
    with styled():
        figure, panels = rows_of_panels(tall, columns, width=page(columns, wide=2.6))
        for row, above, below in zip(rows, panels[::2], panels[1::2], strict=True):
            for axes in (*above[len(row) :], *below[len(row) :]):
                axes.remove()
            for place, (run, upper, lower) in enumerate(zip(row, above, below, strict=False)):
                _draw_run(upper, lower, run, numbers)
                _title(upper, run, several=several)
                if place == 0:
                    upper.set_ylabel(_HEIGHTS[_ACROSS])
                    lower.set_ylabel(_HEIGHTS[_ASIDE])
        _key(figure, runs)
        fit(figure, [row[0] for row in panels], tall)
    return Drawing(figure, numbers.table())


def _look(run: StoredRun) -> _View | str:
    """The run in coordinates, or why there is nothing to see."""
    if not run.has("onset_window"):
        return "no iterates stored"
    onset_window = run.onset_window
    steps = onset_window["step"].values
    if len(steps) < 3:
        return f"iterates {onset_window.attrs['status']}"
    iterates = onset_window["iterate"].values.astype(np.float64)
    middles = (iterates[:-2] + 2 * iterates[1:-1] + iterates[2:]) / 4
    inner = steps[1:-1]
    flows = {name: near for name in _drawn(run) if (near := _near(run, name, inner)) is not None}
    known = [
        near["snapshot"].sel(snapshot=slice(*inner[[0, -1]])).values for near in flows.values()
    ]
    last = min((int(found[-1]) for found in known), default=int(inner[-1]))
    gaps = {
        name: near["weights"].sel(snapshot=last).values.astype(np.float64)
        - middles[last - inner[0]]
        for name, near in flows.items()
        if last in near["snapshot"]
    }
    centre = int(np.clip(int(onset_window.attrs["centre"]), inner[0], inner[-1]))
    vectors = {
        _ACROSS: onset_window["eigenvector"].values.astype(np.float64),
        _ALONG: middles[-1] - middles[0],
    }
    if _STABLE in gaps and gaps[_STABLE].any():
        vectors[_ASIDE] = gaps[_STABLE]
    origin = middles[centre - inner[0]]
    frame = _Frame(origin, _covectors(vectors, _preconditioner(run, centre)))
    return _View(
        run=run,
        steps=inner,
        middles=frame(middles),
        iterates=_Path(DISCRETE, steps, frame(iterates)),
        flows=tuple(_flow_path(name, near, frame, inner) for name, near in flows.items()),
        distances={name: float(np.linalg.norm(gap)) for name, gap in gaps.items()},
        last=last,
    )


def _drawn(run: StoredRun) -> list[str]:
    """The flows in the figure: the stable flow, and the rod flow that comes first in `_RODS`."""
    rods = [name for name in _RODS if name in run.processes]
    return [name for name in (_STABLE, *rods[:1]) if name in run.processes]


def _near(run: StoredRun, flow: str, steps: np.ndarray) -> xr.Dataset | None:
    """A flow around these steps, with some snapshots beyond; None if it has no two among them."""
    trajectory = run.trajectory(flow)
    beyond = 3 * run.settings["snapshots"]["every"]
    low, high = int(steps[0]), int(steps[-1])
    if trajectory["snapshot"].sel(snapshot=slice(low, high)).size < 2:
        return None
    wide = slice(low - beyond, high + beyond)
    return trajectory.sel(snapshot=wide, step=wide)


def _preconditioner(run: StoredRun, step: int) -> np.ndarray:
    """P at the snapshot of the discrete run nearest to a step, [parameter] or []."""
    near = run.trajectory(DISCRETE).sel(snapshot=[step], method="nearest")
    return preconditioner(near, run.settings["optimizer"]).values[0]


def _covectors(vectors: dict[str, np.ndarray], p: np.ndarray) -> dict[str, np.ndarray]:
    """What reads off the parts along vectors made orthogonal in order (Gram-Schmidt) in a . P b."""
    units: dict[str, np.ndarray] = {}
    for name, vector in vectors.items():
        rest = vector
        for unit in units.values():
            rest = rest - (rest @ (p * unit)) / (unit @ (p * unit)) * unit
        units[name] = rest / np.linalg.norm(rest)
    return {name: p * unit / (unit @ (p * unit)) for name, unit in units.items()}


def _flow_path(flow: str, near: xr.Dataset, frame: _Frame, steps: np.ndarray) -> _Path:
    """A flow at every step in view: its centre is smooth, a spline through the snapshots."""
    kept = near["snapshot"].values
    centre = near["weights"].values.astype(np.float64)
    low, high = max(steps[0], kept[0]), min(steps[-1], kept[-1])
    fine = np.arange(low, high + 1)
    places = {name: CubicSpline(kept, at)(fine) for name, at in frame(centre).items()}
    if "half_extent" not in near:
        return _Path(flow, fine, places)
    extent = near["half_extent"].values.astype(np.float64)
    plus, minus = frame(centre + extent), frame(centre - extent)
    seen = (kept >= low) & (kept <= high)
    ends = {name: np.stack([plus[name], minus[name]])[:, seen] for name in plus}
    half = None
    if "rod_length" in near:
        # The length is known at every step; which part of it lies across the valley changes slowly.
        length = np.linalg.norm(extent, axis=1)
        part = np.abs(plus[_ACROSS] - minus[_ACROSS]) / 2 / np.where(length > 0, length, 1)
        half = np.interp(fine, kept, part) * near["rod_length"].reindex(step=fine).values
    return _Path(flow, fine, places, half, kept[seen], ends)


def _draw_run(upper: Axes, lower: Axes, run: StoredRun, numbers: Numbers) -> None:
    """Both views of a run, or in words why there are none."""
    view = _look(run)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("along the direction of motion")
    if isinstance(view, str):
        for axes in (upper, lower):
            axes.set(xticks=[], yticks=[])
        note(upper, view, (0.03, 0.94), va="top", color=process_style(DISCRETE).text_color)
        return
    _enter(view, numbers)
    for axes, height in ((upper, _ACROSS), (lower, _ASIDE)):
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if height in view.middles:
            _draw_view(axes, view, height)
        else:
            axes.set(yticks=[])
            note(axes, "no stable flow to compare with", (0.03, 0.94), va="top", color=FAINT)
    for path in view.flows:
        if path.half is not None:
            y, color = path.places[_ACROSS], process_style(path.process).color
            band = (path.places[_ALONG], y - path.half, y + path.half)
            upper.fill_between(*band, color=color, alpha=_PALE, linewidth=0, zorder=1.5)
    lower.set_xlim(upper.get_xlim())
    _mark_steps(upper, view)
    _state_failures(upper, view)
    if _ASIDE in view.middles:
        _name_distances(lower, view, numbers)
        _name_sharpness(lower, view, numbers)


def _enter(view: _View, numbers: Numbers) -> None:
    """Everything drawn of the paths, in the table."""
    for path in (view.iterates, *view.flows):
        what = "iterate" if path.process == DISCRETE else "centre"
        for name, values in path.places.items():
            numbers.add(view.run, path.process, f"{what}_{name}", values, path.steps)
        for name, ends in path.ends.items():
            for sign, values in zip(("plus", "minus"), ends, strict=True):
                numbers.add(view.run, path.process, f"rod_{sign}_{name}", values, path.rod_steps)
        if path.half is not None:
            numbers.add(view.run, path.process, "rod_half_across", path.half, path.steps)


def _draw_view(axes: Axes, view: _View, height: str) -> None:
    """The paths in one plane: along the motion, and one other direction."""
    style = process_style(DISCRETE)
    axes.plot(
        view.iterates.places[_ALONG],
        view.iterates.places[height],
        color=style.color,
        linewidth=0.6,
        marker="o",
        markersize=1.8,
        markeredgewidth=0,
        markerfacecolor=style.text_color,
        label=DISCRETE,
        zorder=2,
    )
    for path in view.flows:
        line = process_style(path.process).line
        axes.plot(path.places[_ALONG], path.places[height], label=path.process, **line)
        if path.ends:
            rods: dict[str, Any] = {"color": line["color"], "linewidth": 2, "zorder": 3}
            label = f"{path.process} rod"
            axes.plot(path.ends[_ALONG], path.ends[height], label=label, **rods)


def _mark_steps(axes: Axes, view: _View) -> None:
    """Above the panel, at which step the midpoint of the iterates was where."""
    places = view.middles[_ALONG]
    apart = 0.12 * np.ptp(axes.get_xlim())
    ticks: dict[float, str] = {}
    for step, place in zip(view.steps, places, strict=True):
        if step % 20 == 0 and all(abs(place - other) > apart for other in ticks):
            ticks[float(place)] = f"{step}"
    scale = axes.secondary_xaxis("top")
    scale.set_xticks([*ticks], labels=[*ticks.values()])
    scale.tick_params(color=FAINT, labelcolor=FAINT, length=2, pad=1)
    scale.spines["top"].set_visible(False)
    note(axes, "step", (0, 1), shift=(-3, 4), ha="right", color=FAINT)


def _state_failures(axes: Axes, view: _View) -> None:
    """In words which processes did not complete, are not in view, or never got there."""
    shown = {path.process for path in view.flows}
    lines = []
    for process in (DISCRETE, *_drawn(view.run)):
        style, status = process_style(process), view.run.status(process).split(":")[0]
        if status != COMPLETED:
            lines.append((f"{style.label} {status}", style.text_color))
        elif process not in {DISCRETE, *shown}:
            lines.append((f"{style.label} is not in view", style.text_color))
    if not np.isfinite(onset(view.run)):
        lines.append(("threshold not reached", process_style(DISCRETE).text_color))
    note_lines(axes, lines)


def _name_distances(axes: Axes, view: _View, numbers: Numbers) -> None:
    """How far from the midpoint of the iterates the flows are in the end, in all directions."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))
    heading = f"distance to the midpoint, step {view.last}"
    note(axes, heading, (0, 1), shift=(4, -4), va="top", color=FAINT)
    for line, (process, distance) in enumerate(view.distances.items(), start=1):
        style = process_style(process)
        numbers.add(view.run, process, "distance_to_midpoint", distance, [view.last])
        text, shift = f"{style.label}  {distance:.2g}", (4, -4 - 9 * line)
        note(axes, text, (0, 1), shift=shift, va="top", color=style.text_color)


def _name_sharpness(axes: Axes, view: _View, numbers: Numbers) -> None:
    """The sharpness over threshold of the run where it comes into view, and of all in the end."""
    ratio = view.run.comparison["sharpness_over_threshold"]
    paths = {path.process: (path.steps, path.places) for path in view.flows}
    paths[DISCRETE] = (view.steps, view.middles)
    for process, (steps, places) in paths.items():
        known = ratio.sel(process=process, snapshot=slice(int(steps[0]), view.last))
        ends = known.dropna("snapshot")["snapshot"].values
        ends = np.unique(ends[[0, -1] if process == DISCRETE else [-1]]) if ends.size else ends
        for end in ends:
            value = float(known.sel(snapshot=end))
            numbers.add(view.run, process, "sharpness_over_threshold", value, [end])
            at = int(end - steps[0])
            place = float(places[_ALONG][at]), float(places[_ASIDE][at])
            style = process_style(process)
            axes.plot(*place, marker="o", markersize=3.5, color=style.text_color, zorder=4)
            below = process == DISCRETE and end != ends[0]
            note(
                axes,
                f"{value:.2f}",
                place,
                coordinates=("data", "data"),
                shift=(1, -3) if below else (-3, 4),
                ha="left" if below else "center" if process == DISCRETE else "right",
                va="top" if below else "bottom",
                color=style.text_color,
            )


def _title(axes: Axes, run: StoredRun, *, several: bool) -> None:
    """The optimizer, (the model) and the hyperparameters, above a run's panels."""
    name = optimizer_label(run.optimizer)
    more = ", ".join([*([model_label(run.model)] if several else []), *hyperparameters(run)])
    place = (0.5, 1)
    note(axes, name, place, shift=(0, 24), ha="center", fontsize=7.5, fontweight="bold")
    note(axes, more, place, shift=(0, 15), ha="center")


def _key(figure: Figure, runs: Sequence[StoredRun]) -> None:
    """What the marks are, once, above the panels."""
    grey = process_style(DISCRETE)
    marks: dict[str, Any] = {"marker": "o", "markersize": 2.4, "markerfacecolor": grey.text_color}
    handles = [Line2D([], [], color=grey.color, linewidth=0.6, label="iterates", **marks)]
    for flow in dict.fromkeys(name for run in runs for name in _drawn(run)):
        style = process_style(flow)
        if flow == _STABLE:
            handles.append(Line2D([], [], label=style.label, **style.line))
            continue
        handles += [
            Line2D([], [], label=f"{style.label}: centre Z", **style.line),
            Line2D([], [], color=style.color, linewidth=2, label="rod, Z − X to Z + X"),
        ]
    end: dict[str, Any] = {"marker": "o", "markersize": 3.5, "color": FAINT, "linestyle": "none"}
    handles.append(Line2D([], [], label="sharpness / threshold there", **end))
    key(figure, handles)
