"""k-Adam: how it trains, where its sharpness settles, and whether its flows follow it.

One column for each model and choice of the other settings, one colour a k, seeds as thinner lines of the same colour.
The last panel of a column is left out where it has no flows.
Source: Gould and Tanaka 2024 (arXiv 2411.05746).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import AT_EDGE, medians
from rodflow.figures.core.held import NOT_AT_EDGE, held
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import (
    NO_THRESHOLD,
    NOT_REACHED,
    cross,
    curve,
    diverged,
    ending,
    threshold_key,
)
from rodflow.figures.core.panels import columns_of_panels, fit
from rodflow.figures.core.rows import loss, sharpness, show_on_log_scale, tracking_error
from rodflow.figures.core.style import (
    DASHED,
    FAINT,
    INK,
    SMALL,
    Drawing,
    Numbers,
    key,
    model_label,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.figures.core.sweeps import (
    by_other_settings,
    color_key,
    formula,
    hyperparameter,
    in_order,
    named,
    ordered_colors,
    settings,
    varied,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=21,
    caption=r"""
*Claim* (after Gould and Tanaka, arXiv 2411.05746): where the motion alternates the sharpness settles at the
threshold and the rod flow follows; where it rotates the second moments, which the threshold takes to be at
rest, turn with it, the sharpness lies above, and a rod, which is a motion of period two, does not describe it.

k-Adam, Adam's rescaling :math:`k` times over, on each model; one colour a :math:`k`, seeds as further lines,
against the optimizer step; everything is dimensionless. *Top*: the training loss with its oscillation averaged
out. *Middle*: learning rate times preconditioned sharpness :math:`\eta S`, with :math:`P` the product of the
:math:`k` preconditioners, and dashed the threshold of the linear map, which for :math:`k \ge 2` and large
:math:`\beta_1` is that of a slow rotation, :math:`(1 - \beta_1^2) / \beta_1^2` for :math:`k = 2`, and for small
:math:`\beta_1` that of the alternating motion, :math:`2 ((1 + \beta_1) / (1 - \beta_1))^k`; what the runs hold,
the time average from the opening of the rod to the end of the run, is written as a multiple of it; of a run whose rod
is closed for most of that time there is none. *Bottom*: tracking error of the flows, where there
are some.

Losses are read from the trajectories, sharpness from ``comparison.nc``, the rod from ``discrete.nc``; ``k_adam.csv``
has every point drawn.
""",
)


_K = "k"
_FLOWS: Look = {"rod_unit_step": "-", "rod": (0, (5, 1)), "stable": (0, (1.5, 1.2))}
_TALL = (1.3, 1.5, 1.1)  # inches
_LABELS = (
    "loss",
    "learning rate ×\nsharpness $\\eta S$",
    "tracking error",
)


@dataclass(frozen=True)
class _Column:
    """Runs that differ in k and seed alone, and where they are drawn."""

    runs: Sequence[StoredRun]
    panels: Sequence[Axes]
    colors: Mapping[float | None, str]
    names: Sequence[str]

    def look(self, run: StoredRun) -> Look:
        """Of the lines of a run."""
        several = len({one.seed for one in self.runs}) > 1
        return {"color": self.color(run), "linewidth": 0.5 if several else 0.9, "zorder": 2.5}

    def color(self, run: StoredRun) -> str:
        """Of its k."""
        return self.colors[hyperparameter(run, _K)]

    @property
    def with_flows(self) -> bool:
        """Whether any of its runs has one of the flows that are drawn."""
        return any(flow in run.processes for run in self.runs for flow in _FLOWS)

    def of(self, k: float | None) -> list[StoredRun]:
        """The runs of one k, one a seed."""
        return [run for run in self.runs if hyperparameter(run, _K) == k]


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Three rows: loss, learning rate x sharpness with the threshold of each k, and tracking error of the flows.

    Args:
        runs: of any models and optimizers; one without k has a colour of its own.
    """
    groups = by_other_settings(runs, _K)
    colors = ordered_colors(in_order(hyperparameter(run, _K) for run in runs))
    names = varied(runs, _K)
    numbers = Numbers()
    with styled():
        figure, panels = columns_of_panels(_TALL, len(groups))
        columns = [
            _Column(group, own, colors, names) for group, own in zip(groups, panels, strict=True)
        ]
        for column in columns:
            _draw_loss(column, numbers)
            _draw_sharpness(column, numbers)
            _draw_errors(column, numbers)
            _head(column)
        followed = next((column for column in columns if column.with_flows), columns[0])
        for row, (label, first) in enumerate(
            zip(_LABELS, (columns[0], columns[0], followed), strict=True)
        ):
            first.panels[row].set_ylabel(label)
        flows = [
            Line2D([], [], color=INK, linewidth=0.9, linestyle=line, label=process_style(f).label)
            for f, line in _FLOWS.items()
            if any(f in run.processes for run in runs)
        ]
        key(figure, [*color_key(_K, colors), threshold_key(color=FAINT), *flows])
        fit(figure, panels[0], _TALL)
    table = numbers.table()
    shows = medians(table, "mean_at_edge", AT_EDGE)
    return Drawing(figure, table, shows)


def _draw_loss(column: _Column, numbers: Numbers) -> None:
    """The loss with its oscillation averaged out; of a run that diverged as far up as it began."""
    axes, shown = column.panels[0], [np.ones(0)]
    for run in column.runs:
        name = named("loss", run, column.names)
        drawn = curve(axes, run, name, loss(run, DISCRETE), numbers, **column.look(run))
        values = drawn.values
        shown.append(values[values <= 10 * values[0]] if diverged(run) and values.size else values)
    show_on_log_scale(axes, np.concatenate(shown))
    _step_axis(axes, column)
    failed = dict.fromkeys((hyperparameter(r, _K), ending(r)) for r in column.runs if diverged(r))
    for line, (k, words) in enumerate(failed):
        look: Look = {"ha": "right", "va": "top", "fontsize": 6}
        look |= {"shift": (-1, -1 - 7 * line), "color": column.colors[k]}
        note(axes, f"{formula(_K, k)}: {words}", (1, 1), room=False, **look)


def _draw_sharpness(column: _Column, numbers: Numbers) -> None:
    """Learning rate x sharpness, the threshold of each k dashed in its colour, and what is held over it in words."""
    axes, shown = column.panels[1], []
    for run in column.runs:
        values = sharpness(run, DISCRETE) * run.threshold
        name = named("learning_rate_x_sharpness", run, column.names)
        drawn = curve(axes, run, name, values, numbers, **column.look(run))
        cross(axes, run, drawn, column.color(run))
        shown.append(drawn.values[drawn.values > 0])
    for k in column.colors:
        if members := column.of(k):
            limit = members[0].threshold
            numbers.add(members[0], DISCRETE, named("threshold", members[0], column.names), limit)
            look: Look = {"linewidth": 0.8, "linestyle": DASHED, "zorder": 2}
            axes.axhline(limit, color=column.colors[k], label="threshold", **look)
            shown.append(np.array([limit]))
    known = np.concatenate([np.ones(0), *shown])
    show_on_log_scale(axes, known)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.34)  # room for words
    _step_axis(axes, column, last=not column.with_flows)
    for line, k in enumerate(k for k in column.colors if column.of(k)):
        _write_held(axes, column, k, line, numbers)


def _write_held(axes: Axes, column: _Column, k: float | None, line: int, numbers: Numbers) -> None:
    """What the runs of one k hold at the edge, over their threshold, as a mean of the seeds; or why nothing."""
    members, values = column.of(k), []
    for run in members:
        if found := held(run):
            name = named(found.name("mean"), run, column.names)
            numbers.add(run, DISCRETE, name, found.ratio.mean)
            values += [found.ratio.mean] if found.window.at_edge else []
    if all(map(diverged, members)):
        words = "diverged"
    elif not members[0].has_threshold:
        words = NO_THRESHOLD
    elif not values:
        words = NOT_AT_EDGE if any(map(held, members)) else NOT_REACHED
    else:
        words = f"{np.mean(values):.3g} × threshold {members[0].threshold:.3g}"
    look: Look = {"ha": "right", "va": "top", "fontsize": 6, "color": column.colors[k]}
    note(
        axes,
        f"{formula(_K, k)}: {words}",
        (1, 1),
        shift=(-1, -1 - SMALL * line),
        room=False,
        **look,
    )


def _draw_errors(column: _Column, numbers: Numbers) -> None:
    """Tracking errors of the flows, and words where one did not complete; no panel where there is none."""
    axes, shown, failed = column.panels[2], [np.ones(0)], []
    for run in column.runs:
        for flow, line in _FLOWS.items():
            if flow not in run.processes:
                continue
            if run.status(flow) != COMPLETED:
                failed.append((hyperparameter(run, _K), flow, run.status(flow).split(":")[0]))
            error: xr.DataArray = tracking_error(run, flow).dropna("snapshot")
            steps, values = error["snapshot"].values, error.values
            name = named("tracking_error", run, column.names)
            axes.plot(
                steps, values, **column.look(run) | {"linestyle": line, "label": f"{flow} {name}"}
            )
            numbers.add(run, flow, name, values, steps)
            shown.append(values[np.isfinite(values)])
    found = np.concatenate(shown)
    if not column.with_flows:
        axes.set_axis_off()
        return
    _step_axis(axes, column, last=True)
    show_on_log_scale(axes, found)
    for line, (k, flow, words) in enumerate(dict.fromkeys(failed)):
        look: Look = {"fontsize": 6, "color": column.colors[k], "va": "bottom"}
        text = f"{formula(_K, k)}: {process_style(flow).short} {words}"
        note(axes, text, (0, 0), shift=(2, 2 + 7 * line), room=False, **look)


def _step_axis(axes: Axes, column: _Column, *, last: bool = False) -> None:
    axes.set_xlim(0, max(run.settings["steps"] for run in column.runs))
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(labelbottom=last)
    if last:
        axes.set_xlabel("optimizer step")


def _head(column: _Column) -> None:
    """The model of a column, and the settings of its runs."""
    run = column.runs[0]
    own = settings(run)
    words = [formula(name, own[name]) for name in ("learning_rate", "b1", "b2") if name in own]
    axes = column.panels[0]
    title = f"{optimizer_label(run.optimizer)}, {model_label(run.model)}"
    axes.set_title(title, loc="left", pad=14, fontsize=8, fontweight="bold")
    note(axes, ", ".join(words), (0, 1), shift=(0, 5), room=False, fontsize=6, color=FAINT)
