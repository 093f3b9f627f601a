"""What happens in weight space at the edge of stability: the iterates, the rod flow, the stable flow.

Two views of the same paths, one below the other. Above, across the valley: the iterates jump to
and fro along the leading eigenvector while they move on, and the rod spans the jumps. Below, from
above: rods are seen end-on, and the jumping turns the path aside. The rod flow turns with it; the
stable flow, which does not jump, goes straight on.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from rodflow.config.declarations import FigureEntry, one_of_each_kind
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.panels import fit, page, rows_of_panels
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
from rodflow.figures.rod_flow.weights_view import ACROSS, ALONG, ASIDE, STABLE, View, drawn, look
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


_HEIGHTS = {
    ACROSS: "across the valley:\nalong the top eigenvector",
    ASIDE: "on the valley floor:\ntowards the stable flow",
}

_COLUMNS = 3
_PANEL = 1.75  # inches
_AHEAD = 10  # steps
_PALE = 0.15  # opacity of the area between the ends of the rods


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
                    upper.set_ylabel(_HEIGHTS[ACROSS])
                    lower.set_ylabel(_HEIGHTS[ASIDE])
        _key(figure, runs)
        fit(figure, [row[0] for row in panels], tall)
    table = numbers.table()
    shows = medians(table, "distance_to_midpoint", "the distance to the midpoint in the end")
    return Drawing(figure, table, shows)


def _draw_run(upper: Axes, lower: Axes, run: StoredRun, numbers: Numbers) -> None:
    """Both views of a run, or in words why there are none."""
    view = look(run)
    upper.tick_params(labelbottom=False)
    lower.set_xlabel("along the direction of motion")
    if isinstance(view, str):
        for axes in (upper, lower):
            axes.set(xticks=[], yticks=[])
        note(
            upper,
            view,
            (0.03, 0.94),
            va="top",
            color=process_style(DISCRETE).text_color,
            room=False,
        )
        return
    _enter(view, numbers)
    for axes, height in ((upper, ACROSS), (lower, ASIDE)):
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        if height in view.middles:
            _draw_view(axes, view, height)
        else:
            axes.set(yticks=[])
            note(
                axes,
                "no stable flow to compare with",
                (0.03, 0.94),
                va="top",
                color=FAINT,
                room=False,
            )
    for path in view.flows:
        if path.half is not None:
            y, color = path.places[ACROSS], process_style(path.process).color
            band = (path.places[ALONG], y - path.half, y + path.half)
            upper.fill_between(*band, color=color, alpha=_PALE, linewidth=0, zorder=1.5)
    lower.set_xlim(upper.get_xlim())
    _mark_steps(upper, view)
    _state_failures(upper, view)
    if ASIDE in view.middles:
        _name_distances(lower, view, numbers)
        _name_sharpness(lower, view, numbers)


def _enter(view: View, numbers: Numbers) -> None:
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


def _draw_view(axes: Axes, view: View, height: str) -> None:
    """The paths in one plane: along the motion, and one other direction."""
    style = process_style(DISCRETE)
    axes.plot(
        view.iterates.places[ALONG],
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
        axes.plot(path.places[ALONG], path.places[height], label=path.process, **line)
        if path.ends:
            rods: Look = {"color": line["color"], "linewidth": 2, "zorder": 3}
            label = f"{path.process} rod"
            axes.plot(path.ends[ALONG], path.ends[height], label=label, **rods)


def _mark_steps(axes: Axes, view: View) -> None:
    """Above the panel, at which step the midpoint of the iterates was where."""
    places = view.middles[ALONG]
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


def _state_failures(axes: Axes, view: View) -> None:
    """In words which processes did not complete, are not in view, or never got there."""
    shown = {path.process for path in view.flows}
    lines = []
    for process in (DISCRETE, *drawn(view.run)):
        style, status = process_style(process), view.run.status(process).split(":")[0]
        if status != COMPLETED:
            lines.append((f"{style.label} {status}", style.text_color))
        elif process not in {DISCRETE, *shown}:
            lines.append((f"{style.label} is not in view", style.text_color))
    if not np.isfinite(onset(view.run)):
        lines.append(("threshold not reached", process_style(DISCRETE).text_color))
    note_lines(axes, lines)


def _name_distances(axes: Axes, view: View, numbers: Numbers) -> None:
    """How far from the midpoint of the iterates the flows are in the end, in all directions."""
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))
    heading = f"distance to the midpoint, step {view.last}"
    note(axes, heading, (0, 1), shift=(4, -4), va="top", color=FAINT, room=False)
    for line, (process, distance) in enumerate(view.distances.items(), start=1):
        style = process_style(process)
        numbers.add(view.run, process, "distance_to_midpoint", distance, [view.last])
        text, shift = f"{style.label}  {distance:.2g}", (4, -4 - 9 * line)
        note(axes, text, (0, 1), shift=shift, va="top", color=style.text_color, room=False)


def _name_sharpness(axes: Axes, view: View, numbers: Numbers) -> None:
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
            place = float(places[ALONG][at]), float(places[ASIDE][at])
            style = process_style(process)
            axes.plot(*place, marker="o", markersize=3.5, color=style.text_color, zorder=4)
            below = process == DISCRETE and end != ends[0]
            ahead = places[ASIDE][min(at + _AHEAD, len(places[ASIDE]) - 1)]
            falls = process == DISCRETE and ahead < place[1]  # words beside a path, not on it
            note(
                axes,
                f"{value:.2f}",
                place,
                coordinates=("data", "data"),
                shift=(1, -3) if below else (0 if falls else -3, 4),
                ha="left" if below or falls else "right",
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
    marks: Look = {"marker": "o", "markersize": 2.4, "markerfacecolor": grey.text_color}
    handles = [Line2D([], [], color=grey.color, linewidth=0.6, label="iterates", **marks)]
    for flow in dict.fromkeys(name for run in runs for name in drawn(run)):
        style = process_style(flow)
        if flow == STABLE:
            handles.append(Line2D([], [], label=style.label, **style.line))
            continue
        handles += [
            Line2D([], [], label=f"{style.label}: centre Z", **style.line),
            Line2D([], [], color=style.color, linewidth=2, label="rod, Z − X to Z + X"),
        ]
    end: Look = {"marker": "o", "markersize": 3.5, "color": FAINT, "linestyle": "none"}
    handles.append(Line2D([], [], label="sharpness / threshold there", **end))
    key(figure, handles)
