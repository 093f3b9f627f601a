"""Adaptive methods beside one another: the sharpness of each, in units of the threshold of its own map.

One panel a model and optimizer, seeds as further lines of the same colour.
Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rodflow.config.declarations import ALONG_RUNS, FigureEntry, except_optimizers
from rodflow.figures.core.findings import AT_EDGE, medians
from rodflow.figures.core.held import NOT_AT_EDGE, held, held_at_edge
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import (
    NO_THRESHOLD,
    band_key,
    cross,
    curve,
    exception,
    in_gain,
    mark_threshold,
    never_reached,
    threshold_key,
    top_of_ratio,
)
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import by_row, sharpness
from rodflow.figures.core.style import (
    FAINT,
    INK,
    PALETTE,
    Drawing,
    Numbers,
    hyperparameters,
    key,
    model_label,
    note,
    optimizer_label,
    styled,
)
from rodflow.store.results import DISCRETE, StoredRun, ordered

FIGURE = FigureEntry(
    per="model",
    needs=ALONG_RUNS,
    order=11,
    runs=except_optimizers("gd", "heavy_ball", "nesterov"),
    caption=r"""
*Claim* (Cohen et al., arXiv 2207.14484): each method takes its own preconditioned sharpness to its own
threshold and keeps it there. A run that never gets there is shown as it is: AMSGrad keeps the largest second
moment that it has seen, which can be that of the first steps, and then its preconditioner does not shrink with
the gradients.

Adaptive methods on the model ``{part}``, full batch unless the experiment says otherwise: sharpness over
threshold along the discrete run against the optimizer step, each with the threshold of its own map; everything
is dimensionless. :math:`S` is the largest eigenvalue of :math:`P^{-1/2} H P^{-1/2}`. In the panels in blue
:math:`P` is made from the second moment alone, and the threshold is that of :math:`\eta S`: 2 for RMSProp,
:math:`2(1+\beta_1)/(1-\beta_1)` for Adam and :math:`2(1+\beta_1)/((1-\beta_1)(1+2\beta_1))` for NAdam. In those
in brown (AdamW, AMSGrad, AdaGrad) :math:`P` is the inverse of the critical gain, measured along the run,
which holds the learning rate; the threshold of :math:`S` is then 2. The dashed line is the threshold, the band
±10%. The mark at the right is the time average at the edge, from the opening of the rod to the end of the run,
written in the panel with the quantiles of 10% and 90%; open marks are runs whose rod is closed for most of that
time, so that they say nothing about the edge. A cross ends the curve of a run that diverged.

The curves come from ``comparison.nc``, the rod from ``discrete.nc``, the thresholds from the sharpness stage;
``aeos_methods_{part}.csv`` has every number.
""",
)


_COLORS = {False: PALETTE["blue"], True: "#b35900"}
_LABELS = {
    False: "$\\eta S$, second moment in $P$",
    True: "$S$, critical gain for $P^{-1}$",
}
"""By whether the preconditioner is the inverse of the critical gain."""

_MARK: Look = {"marker": 4, "markersize": 5, "linestyle": "none"}  # its tip at the place
_LOWEST_TOP, _HIGHEST_TOP = 1.55, 1.75  # of sharpness over threshold that is shown

_COLUMNS, _TALL = 4, 1.0  # at most; inches


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Small multiples in the order of the table of optimizers; each names its threshold and what it holds."""
    cells = by_row(ordered(runs))
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        figure, panels = _figure(len(cells))
        top = top_of_ratio(runs, _LOWEST_TOP, _HIGHEST_TOP)
        for place, (axes, members) in enumerate(zip(panels, cells, strict=True)):
            axes.set_ylim(0, top)
            _draw_panel(axes, members, numbers)
            _head(axes, members, several=several)
            first, lowest = place % _COLUMNS == 0, place + _COLUMNS >= len(cells)
            axes.tick_params(labelleft=first)
            if first:
                axes.set_ylabel("sharpness /\nthreshold")
            if lowest:
                axes.set_xlabel("optimizer step")
        _key(figure, runs)
        column = panels[::_COLUMNS]
        fit(figure, column, [_TALL] * len(column))
    table = numbers.table()
    shows = medians(
        table,
        "mean_at_edge",
        AT_EDGE,
        by="optimizer",
    )
    return Drawing(figure, table, shows)


def _figure(count: int) -> tuple[Figure, list[Axes]]:
    """An empty figure of this many panels."""
    lines = -(-count // _COLUMNS)
    figure, rows = rows_of_panels([_TALL] * lines, min(count, _COLUMNS))
    panels = [*chain(*rows)]
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _draw_panel(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """Sharpness over threshold of every seed, and its mean at the edge."""
    last = max(run.settings["steps"] for run in runs)
    axes.set_xlim(0, last)
    axes.locator_params(axis="x", nbins=4)
    axes.locator_params(axis="y", nbins=4)
    mark_threshold(axes)
    width = 0.9 if len(runs) == 1 else 0.6
    for run in runs:
        color = _COLORS[in_gain(run)]
        numbers.add(run, DISCRETE, "threshold", run.threshold)
        values, name = sharpness(run, DISCRETE), "sharpness_over_threshold"
        drawn = curve(axes, run, name, values, numbers, color=color, linewidth=width, zorder=2)
        cross(axes, run, drawn, color)
        if found := held(run):
            numbers.add(run, DISCRETE, [*found.numbers], [*found.numbers.values()])
            place = np.clip(found.ratio.mean, *axes.get_ylim())
            face = INK if found.window.at_edge else "white"
            look: Look = _MARK | {"markerfacecolor": face, "clip_on": False, "zorder": 3}
            axes.plot(last, place, color=INK, label=found.name("mean"), **look)


def _head(axes: Axes, runs: Sequence[StoredRun], *, several: bool) -> None:
    """Above a panel whose it is, its hyperparameters and its threshold; in it what it holds, and what went wrong."""
    run = runs[0]
    name = optimizer_label(run.optimizer)
    axes.set_title(name, loc="left", pad=19, fontsize=7, fontweight="bold")
    own = [text.replace(" ", "") for text in hyperparameters(run)]
    if several:
        own.insert(0, model_label(run.model))
    look: Look = {"room": False, "va": "bottom"}
    note(axes, ", ".join(own), (0, 1), shift=(0, 10.5), fontsize=6, color=FAINT, **look)
    measured = "$S$" if in_gain(run) else "$\\eta S$"
    limit = f"threshold of {measured}: {run.threshold:.4g}" if run.has_threshold else NO_THRESHOLD
    note(axes, limit, (0, 1), shift=(0, 2), color=_COLORS[in_gain(run)], **look)
    words = [*dict.fromkeys(text for run in runs if (text := _exception(run)))]
    if there := [found.ratio for run in runs if (found := held_at_edge(run))]:
        mean, low = np.mean([one.mean for one in there]), min(one.low for one in there)
        words.append(f"at the edge {mean:.2f} ({low:.2f} to {max(one.high for one in there):.2f})")
    elif any(map(held, runs)):
        words.append(NOT_AT_EDGE)
    for line, text in enumerate(reversed(words)):
        note(
            axes,
            text,
            (1, 1),
            shift=(-1, -7.5 * line),
            ha="right",
            va="top",
            fontsize=6,
            room=False,
        )


def _exception(run: StoredRun) -> str:
    """As `marks.exception`, and how far a run came that never reached its threshold."""
    words = exception(run)
    if never_reached(run):
        words += f": at most {float(sharpness(run, DISCRETE).max()):.2f}"
    return words


def _key(figure: Figure, runs: Sequence[StoredRun]) -> None:
    """What the two colours and the marks mean."""
    kinds = sorted({in_gain(run) for run in runs})
    lines = [Line2D([], [], color=_COLORS[k], linewidth=1.2, label=_LABELS[k]) for k in kinds]
    mean = Line2D([], [], color=INK, label="mean at the edge", **_MARK)
    key(figure, [*lines, threshold_key(), band_key(), mean])
