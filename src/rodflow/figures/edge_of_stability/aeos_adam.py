"""Full-batch Adam at the edge of stability: learning rate times preconditioned sharpness goes to a number.

The number is (2 + 2 β₁) / (1 - β₁), whatever the learning rate. One column a decay of the first moment, one colour a
learning rate, seeds as further lines of the same colour; one block of rows for each model and each choice of the other
settings. Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import AT_EDGE, medians
from rodflow.figures.core.held import held, held_at_edge, not_at_edge_key
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import (
    NO_THRESHOLD,
    band_key,
    cross,
    curve,
    diverged,
    exception,
    in_gain,
    mark_threshold,
    threshold_key,
    top_of_ratio,
)
from rodflow.figures.core.panels import fit, page, rows_of_panels
from rodflow.figures.core.rows import loss, sharpness, show_on_log_scale
from rodflow.figures.core.style import FAINT, Drawing, Numbers, key, note, styled
from rodflow.figures.core.sweeps import (
    by_other_settings,
    color_key,
    formula,
    head_block,
    hyperparameter,
    in_order,
    named,
    ordered_colors,
    plain,
    settings,
    step_size,
    varied,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=18,
    caption=r"""
*Claim* (Cohen et al., arXiv 2207.14484): after it has reached the threshold :math:`\eta S` stays near it
whatever :math:`\eta` is, while the loss keeps falling.

Full-batch Adam at several learning rates :math:`\eta` (colours) and decays :math:`\beta_1` of the first moment
(columns); everything is dimensionless. *Top*: :math:`\eta S` along the discrete run, where :math:`S` is the
largest eigenvalue of the preconditioned Hessian :math:`P^{-1/2} H P^{-1/2}`. The dashed line is the largest
stable value, :math:`(2+2\beta_1)/(1-\beta_1)`, at the same height in every column, and the band is ±10% of it.
A curve that leaves through the top has its highest value beside it. *Middle*: the loss with its oscillation
from step to step averaged out. *Bottom*: sharpness over threshold at the edge, from the opening of the rod to the
end of the run: the time average as a dot and as a number (of all seeds together), the quantiles of 10% and 90% as a
bar; an open dot is a run whose rod is closed for most of that time, which is not at the edge, a triangle lies beyond
the axis. Runs that diverged end in a cross; what diverged, never reached its threshold, or
has left it for below before its end is written in the panel after its learning rate. Runs with other models or
other settings have rows of their own, and where the preconditioner is the inverse of the critical gain the
threshold is that of :math:`S` alone, 2.

Sharpness comes from ``comparison.nc``, the rod from ``discrete.nc``, the threshold from the sharpness
stage, the loss from the training stage; ``aeos_adam.csv`` has every number.
""",
)


_RATE, _DECAY = "learning_rate", "b1"

_LOWEST_TOP, _HIGHEST_TOP = 1.3, 1.6  # of sharpness over threshold that is shown
_NARROWEST, _WIDEST = 0.16, 0.6  # half of the axis of means at the edge

_TALL = (1.25, 0.7, 0.75)  # inches
_MANY = 5  # from more learning rates on their numbers are upright


@dataclass(frozen=True)
class _Block:
    """Runs that differ in learning rate, decay of the first moment and seed alone, and where they are drawn.

    Attributes:
        runs: one for each learning rate, decay and seed.
        panels: by row and column.
        decays: the columns.
        colors: of each learning rate.
        names: the settings that tell runs apart in the table.
    """

    runs: Sequence[StoredRun]
    panels: Sequence[Sequence[Axes]]
    decays: Sequence[float | None]
    colors: Mapping[float | None, str]
    names: Sequence[str]

    def column(self, decay: float | None) -> list[StoredRun]:
        """The runs of one column, by learning rate and seed."""
        own = (run for run in self.runs if hyperparameter(run, _DECAY) == decay)
        return sorted(own, key=lambda run: (step_size(run), run.seed))

    def color(self, run: StoredRun) -> str:
        """Of its learning rate."""
        return self.colors[step_size(run)]

    def plot(
        self, axes: Axes, run: StoredRun, quantity: str, values: xr.DataArray, numbers: Numbers
    ) -> xr.DataArray:
        """Draw a quantity of a run against the steps and enter it; what is drawn."""
        look: Look = {"color": self.color(run), "linewidth": 0.9, "zorder": 2.5}
        return curve(axes, run, named(quantity, run, self.names), values, numbers, **look)


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Three rows: learning rate x sharpness, loss, and the mean of sharpness over threshold at the edge.

    Args:
        runs: of any models and optimizers; without a decay of the first moment they have a column of their own.
    """
    groups = by_other_settings(runs, _RATE, _DECAY)
    decays = in_order(hyperparameter(run, _DECAY) for run in runs)
    colors = ordered_colors(in_order(map(step_size, runs)))
    names = varied(runs, _RATE, _DECAY)
    numbers = Numbers()
    with styled():
        figure, panels = _figure(len(groups), len(decays))
        for group, rows in zip(groups, panels, strict=True):
            block = _Block(group, rows, decays, colors, names)
            _draw_sharpness(block, numbers)
            _draw_loss(block, numbers)
            _draw_held(block, numbers)
            _head(block)
        limit = [threshold_key(), band_key(), *not_at_edge_key(runs)]
        key(figure, [*color_key(_RATE, colors), *limit])
        fit(figure, [row[0] for rows in panels for row in rows], _TALL * len(groups))
    table = numbers.table()
    shows = medians(table, "mean_at_edge", AT_EDGE)
    return Drawing(figure, table, shows)


def _figure(blocks: int, count: int) -> tuple[Figure, list[list[list[Axes]]]]:
    """An empty figure and its panels: block, row, column."""
    figure, rows = rows_of_panels(_TALL * blocks, count, width=page(count))
    return figure, [rows[start : start + len(_TALL)] for start in range(0, len(rows), len(_TALL))]


def _draw_sharpness(block: _Block, numbers: Numbers) -> None:
    """Learning rate x sharpness of every run and the threshold, all thresholds at the same height."""
    top = top_of_ratio(block.runs, _LOWEST_TOP, _HIGHEST_TOP)
    for axes, decay in zip(block.panels[0], block.decays, strict=True):
        members = block.column(decay)
        _step_axis(axes, block)
        axes.tick_params(labelbottom=False)
        if not members or not members[0].has_threshold:
            words = NO_THRESHOLD if members else "no run"
            note(axes, words, (0.5, 0.5), ha="center", color=FAINT)
            axes.set_yticks([])
            continue
        limit = members[0].threshold
        mark_threshold(axes, limit, zorder=3)
        axes.set_ylim(0, top * limit)
        axes.set_yticks([0, limit / 2, limit], labels=["0", f"{limit / 2:.4g}", f"{limit:.4g}"])
        axes.get_yticklabels()[-1].set_fontweight("bold")
        beyond: dict[float, tuple[float, float]] = {}
        for run in members:
            numbers.add(run, DISCRETE, named("threshold", run, block.names), run.threshold)
            values = sharpness(run, DISCRETE) * run.threshold
            values = block.plot(axes, run, "learning_rate_x_sharpness", values, numbers)
            cross(axes, run, values, block.color(run))
            if not diverged(run) and values.size and values.max() > top * limit:
                peak = float(values.max()), float(values.idxmax("snapshot"))
                beyond[step_size(run)] = max(peak, beyond.get(step_size(run), peak))
        _say(axes, block, members)
        _name_peaks(axes, block, beyond)


def _name_peaks(axes: Axes, block: _Block, beyond: Mapping[float, tuple[float, float]]) -> None:
    """How far up the curves go that leave through the top, and come back, beside the place where they do."""
    for line, (rate, (value, step)) in enumerate(beyond.items()):
        early = step < np.mean(axes.get_xlim())
        where: Look = {"coordinates": ("data", "axes fraction"), "va": "top"}
        where |= {"ha": "left" if early else "right", "shift": (4 if early else -4, -7 * line)}
        text = f"up to {value:.3g} \u2191"
        note(axes, text, (step, 1), color=block.colors[rate], fontsize=6, room=False, **where)


def _say(axes: Axes, block: _Block, runs: Sequence[StoredRun]) -> None:
    """Upwards from the lower right corner, the runs that do not end at the threshold."""
    found = dict.fromkeys((step_size(run), words) for run in runs if (words := exception(run)))
    for line, (rate, words) in enumerate(reversed(found)):
        look: Look = {"ha": "right", "va": "bottom", "fontsize": 6}
        look |= {"color": block.colors[rate], "shift": (-1, 2 + 7 * line)}
        note(axes, f"{plain(rate)}: {words}", (1, 0), room=False, **look)


def _step_axis(axes: Axes, block: _Block) -> None:
    axes.set_xlim(0, max(run.settings["steps"] for run in block.runs))
    axes.locator_params(axis="x", nbins=4)


def _draw_loss(block: _Block, numbers: Numbers) -> None:
    """The loss with its oscillation averaged out; of a run that diverged as far up as it began."""
    shown = [np.ones(0)]
    for axes, decay in zip(block.panels[1], block.decays, strict=True):
        for run in block.column(decay):
            values = block.plot(axes, run, "loss", loss(run, DISCRETE), numbers).values
            lost = diverged(run) and values.size
            shown.append(values[values <= 10 * values[0]] if lost else values)
    for axes in block.panels[1]:
        show_on_log_scale(axes, np.concatenate(shown))
        _step_axis(axes, block)
        axes.set_xlabel("optimizer step")
        axes.tick_params(labelleft=axes is block.panels[1][0])


def _draw_held(block: _Block, numbers: Numbers) -> None:
    """Mean and quantiles of sharpness over threshold at the edge, against the learning rate."""
    rates = in_order(map(step_size, block.runs))
    known = [found.ratio for run in block.runs if (found := held(run))]
    away = [abs(end - 1) for one in known for end in (one.low, one.high)]
    half = float(np.clip(1.1 * max([*away, 0.0]), _NARROWEST, _WIDEST))
    turned: Look = {"rotation": 90} if len(block.colors) > _MANY else {}
    for axes, decay in zip(block.panels[2], block.decays, strict=True):
        mark_threshold(axes)
        axes.set_ylim(1 - half, 1 + half)
        axes.set_xlim(-0.5, len(rates) - 0.5)
        axes.set_xticks(range(len(rates)), labels=[*map(plain, rates)], **turned)
        axes.set_xlabel("learning rate $\\eta$")
        axes.tick_params(labelleft=axes is block.panels[2][0])
        for place, rate in enumerate(rates):
            members = [run for run in block.column(decay) if step_size(run) == rate]
            spread = 0.12 * (np.arange(len(members)) - (len(members) - 1) / 2)
            for run, x in zip(members, place + spread, strict=True):
                _draw_mark(axes, block, run, float(x), numbers)
            means = [found.ratio.mean for run in members if (found := held_at_edge(run))]
            if means:
                look: Look = {"coordinates": ("data", "axes fraction"), "shift": (0, 1)}
                look |= {"color": block.colors[rate], "ha": "center", **turned}
                note(axes, f"{np.mean(means):.2f}", (place, 1), **look)


def _draw_mark(axes: Axes, block: _Block, run: StoredRun, x: float, numbers: Numbers) -> None:
    """Mean and quantiles of one run: open where it is not at the edge, a triangle where it lies beyond the axis."""
    if (found := held(run)) is None:
        return
    mean, low, high = found.numbers.values()
    for name, value in found.numbers.items():
        numbers.add(run, DISCRETE, named(name, run, block.names), value)
    color, (bottom, top) = block.color(run), axes.get_ylim()
    axes.plot([x, x], [low, high], color=color, linewidth=2.2, alpha=0.4, label="range")
    off = mean < bottom or mean > top
    axes.plot(
        x,
        np.clip(mean, bottom, top),
        marker="o" if not off else "v" if mean < bottom else "^",
        markersize=4,
        color=color,
        markerfacecolor=color if found.window.at_edge else "white",
        linestyle="none",
        clip_on=False,
        zorder=3,
        label="_beyond" if off else found.name("mean"),
    )


def _head(block: _Block) -> None:
    """Whose block it is, and what is on its axes."""
    run, (top, below, last) = block.runs[0], block.panels
    own, more = settings(run), []
    if decay := own.get("weight_decay"):
        more.append(f"weight decay {plain(decay)}")
    more.append(f"batch of {own['batch_size']}" if own["batch_size"] else "full batch")
    head_block(top[0], run, (_RATE, _DECAY), *more)
    for axes, b1 in zip(top, block.decays, strict=True):
        heading = "" if b1 is None else f"{formula(_DECAY, b1)}: "
        members = block.column(b1)
        if members and members[0].has_threshold:
            text = f"{heading}threshold {members[0].threshold:.4g}"
            note(axes, text, (0.5, 1), shift=(0, 4), ha="center", fontsize=7.5)
    measured = "learning rate ×\nsharpness $\\eta S$"
    if in_gain(run):
        measured = "sharpness $S$\nin the gain"
    labels = {top[0]: measured, below[0]: "loss", last[0]: "mean at edge /\nthreshold"}
    for axes, text in labels.items():
        axes.set_ylabel(text)
