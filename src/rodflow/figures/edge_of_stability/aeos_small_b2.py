"""How tightly Adam holds its sharpness at the threshold: second-moment decay β₂ and ε.

One column a decay, one row and one colour an ε, seeds as further lines; below, mean, range and standard deviation at
the edge against the decay. One such block for each model and each choice of the other settings.
Source: Cohen et al. 2022 (arXiv 2207.14484).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import AT_EDGE, medians
from rodflow.figures.core.held import NOT_AT_EDGE, Held, held, held_at_edge, not_at_edge_key
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import (
    NO_THRESHOLD,
    TOLERANCE,
    band_key,
    cross,
    curve,
    exception,
    mark_threshold,
    threshold_key,
    top_of_ratio,
)
from rodflow.figures.core.panels import empty_figure, fit, page
from rodflow.figures.core.rows import sharpness
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
    varied,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=20,
    caption=r"""
*Claim* (after Cohen et al., arXiv 2207.14484): the mean stays in the band whatever :math:`\beta_2` and
:math:`\epsilon` are, for the threshold depends on neither; how tightly it is held depends on both.

What the decay :math:`\beta_2` of the second moment (columns) and :math:`\epsilon` (rows, colours) do to how
tightly Adam holds its sharpness; everything is dimensionless. :math:`\beta_2` is the length of the
preconditioner's memory, and an :math:`\epsilon` above the root of the second moment makes it constant, so that Adam
becomes heavy ball. *Grid*: sharpness over threshold, :math:`\eta S
(1-\beta_1)/(2+2\beta_1)` with :math:`S` the largest eigenvalue of :math:`P^{-1/2} H P^{-1/2}`, along the
discrete run against the optimizer step. The dashed line is the threshold, the band ±10% of it; "s.d." is the
standard deviation at the edge, from the opening of the rod to the end of the run (mean of the seeds). *Below, left*:
time average and quantiles of 10% and 90% (bar) in that time against :math:`\beta_2`; open where the rod is closed
for most of it, so that the run is not at the edge. *Right*: the standard deviation, of runs at the edge only, as
there is nothing to hold otherwise. A cross ends the curve of a run that diverged, and what diverged, never reached
its threshold, or has left it for below before its end is written in its panel.

Sharpness comes from ``comparison.nc``, the rod from ``discrete.nc``; ``aeos_small_b2.csv`` has every number.
""",
)


_B2, _EPS = "b2", "eps"

_LOWEST_TOP, _HIGHEST_TOP = 1.3, 1.75  # of sharpness over threshold that is shown
_THIN = 0.7  # the line of the threshold

_TALL, _SUMMARY = 0.72, 1.1  # inches: a row of the grid, and what is below it


@dataclass(frozen=True)
class _Block:
    """Runs that differ in b2, eps and seed alone.

    Attributes:
        runs: one for each b2, eps and seed.
        decays: the columns.
        eps: the rows.
        colors: of each eps.
        names: the settings that tell runs apart in the table.
    """

    runs: Sequence[StoredRun]
    decays: Sequence[float | None]
    eps: Sequence[float | None]
    colors: Mapping[float | None, str]
    names: Sequence[str]

    def at(self, b2: float | None, eps: float | None) -> list[StoredRun]:
        """The runs of one panel, one a seed."""
        place = {_B2: b2, _EPS: eps}
        return [r for r in self.runs if {name: hyperparameter(r, name) for name in place} == place]

    def color(self, run: StoredRun) -> str:
        """Of its eps."""
        return self.colors[hyperparameter(run, _EPS)]


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid of sharpness over threshold against the steps, and its mean at the edge against the decay.

    Args:
        runs: of any models and optimizers; one without such a decay has a column of its own.
    """
    names = varied(runs, _B2, _EPS)
    colors = ordered_colors(in_order(hyperparameter(run, _EPS) for run in runs))
    blocks = []
    for group in by_other_settings(runs, _B2, _EPS):
        decays, eps = (in_order(hyperparameter(r, name) for r in group) for name in (_B2, _EPS))
        blocks.append(_Block(group, decays, eps, colors, names))
    numbers = Numbers()
    with styled():
        figure, places_of = _figure(blocks)
        for block, (panels, summary) in zip(blocks, places_of, strict=True):
            _draw_grid(block, panels, numbers)
            _draw_summary(block, summary, numbers)
            run = block.runs[0]
            limit = NO_THRESHOLD
            if run.has_threshold:
                limit = f"threshold of $\\eta S$ {run.threshold:.4g}"
            head_block(panels[0][0], run, (_B2, _EPS), limit)
        limits = [threshold_key(), band_key(), *not_at_edge_key(runs)]
        key(figure, [*color_key(_EPS, colors), *limits])
        first = [row[0] for panels, summary in places_of for row in (*panels, summary)]
        fit(figure, first, [height for block in blocks for height in _tall(block)])
    table = numbers.table()
    shows = medians(table, "mean_at_edge", AT_EDGE)
    return Drawing(figure, table, shows)


def deviation(run: StoredRun) -> float:
    """Standard deviation of sharpness over threshold at the edge; NaN of a run that is not there."""
    if (found := held_at_edge(run)) is None:
        return np.nan
    where = slice(found.window.first, found.window.last)
    return float(sharpness(run, DISCRETE).sel(snapshot=where).std())


def _tall(block: _Block) -> list[float]:
    """The heights of the rows of a block, in inches: of its grid, and of the summary below."""
    return [*[_TALL] * len(block.eps), _SUMMARY]


def _figure(
    blocks: Sequence[_Block],
) -> tuple[Figure, list[tuple[list[list[Axes]], list[Axes]]]]:
    """An empty figure, and of each block its panels by row and column and the two of the summary."""
    count = max(len(block.decays) for block in blocks)
    tall = [height for block in blocks for height in _tall(block)]
    figure = empty_figure(page(count), tall)
    # Twice as many columns as decays, so that the two of the summary have half of the width each.
    grid = figure.add_gridspec(len(tall), 2 * count, height_ratios=tall)
    found, first = [], 0
    for block in blocks:
        rows = range(first, first + len(block.eps))
        panels = [
            [figure.add_subplot(grid[row, 2 * c : 2 * c + 2]) for c in range(len(block.decays))]
            for row in rows
        ]
        first = rows.stop + 1
        halves = (grid[rows.stop, :count], grid[rows.stop, count:])
        found.append((panels, [figure.add_subplot(half) for half in halves]))
    return figure, found


def _draw_grid(block: _Block, panels: Sequence[Sequence[Axes]], numbers: Numbers) -> None:
    """Sharpness over threshold of every run."""
    top = top_of_ratio(block.runs, _LOWEST_TOP, _HIGHEST_TOP)
    for row, eps in zip(panels, block.eps, strict=True):
        for axes, b2 in zip(row, block.decays, strict=True):
            axes.set_xlim(0, max(run.settings["steps"] for run in block.runs))
            axes.set_ylim(0, top)
            axes.set_yticks([0, 0.5, 1, 1.5][: 3 + (top > 1.5)])
            axes.locator_params(axis="x", nbins=4)
            axes.tick_params(labelleft=axes is row[0], labelbottom=row is panels[-1])
            mark_threshold(axes, linewidth=_THIN)
            _draw_runs(axes, block, block.at(b2, eps), numbers)
        row[0].set_ylabel(f"{formula(_EPS, eps)}\nsharpness /\nthreshold", color=block.colors[eps])
    for axes, b2 in zip(panels[0], block.decays, strict=True):
        note(axes, formula(_B2, b2), (0.5, 1), shift=(0, 4), ha="center", fontsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("optimizer step")


def _draw_runs(axes: Axes, block: _Block, runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """One panel: the curves of all seeds, their standard deviation, and what went wrong."""
    ends = []
    for run in runs:
        name = named("sharpness_over_threshold", run, block.names)
        look: Look = {"color": block.color(run), "linewidth": 0.8, "zorder": 2}
        drawn = curve(axes, run, name, sharpness(run, DISCRETE), numbers, **look)
        cross(axes, run, drawn, block.color(run))
        ends += drawn.values[-1:].tolist()
    words = [*dict.fromkeys(text for run in runs if (text := exception(run)))]
    known = [value for run in runs if np.isfinite(value := deviation(run))]
    if known:
        words.append(f"s.d. {_digits(float(np.mean(known)))}")
    elif any(map(held, runs)):
        words.append(NOT_AT_EDGE)
    if not runs:
        words = ["no run"]
    low = bool(ends) and max(ends) < 1 - TOLERANCE  # then there is room above, else below
    for line, text in enumerate(words if low else reversed(words)):
        look = {"ha": "right", "va": "top" if low else "bottom"}
        away = -2 - 8 * line if low else 2 + 8 * line
        note(axes, text, (1, 1 if low else 0), shift=(-1, away), room=False, **look)


def _digits(value: float) -> str:
    """A standard deviation to three places, or two digits where it is smaller."""
    return f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"


def _draw_summary(block: _Block, panels: Sequence[Axes], numbers: Numbers) -> None:
    """Against the decay: mean and quantiles at the edge, and the standard deviation."""
    mean, spread = panels
    mark_threshold(mean, linewidth=_THIN)
    for run in block.runs:
        numbers.add(run, DISCRETE, named("threshold", run, block.names), run.threshold)
    for row, eps in enumerate(block.eps):
        shift = 0.14 * (row - (len(block.eps) - 1) / 2)
        places = {
            run: block.decays.index(hyperparameter(run, _B2)) + shift
            for run in block.runs
            if hyperparameter(run, _EPS) == eps
        }
        for run, place in places.items():
            _draw_range(mean, block, run, place, numbers)
        _draw_marks(mean, block, places, "mean", lambda _, found: found.ratio.mean, numbers)
        _draw_marks(
            spread, block, places, "standard_deviation", lambda run, _: deviation(run), numbers
        )
    for axes in panels:
        labels = ["none" if b2 is None else plain(b2) for b2 in block.decays]
        axes.set_xticks(range(len(labels)), labels=labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        axes.set_xlabel("second-moment decay $\\beta_2$")
    mean.set_ylim(0, max(mean.get_ylim()[1], 1 + 2 * TOLERANCE))
    mean.set_ylabel("mean at edge /\nthreshold")
    spread.set_ylim(0, max(spread.get_ylim()[1], 0.02))
    spread.set_ylabel("its standard\ndeviation")
    if not any(map(held_at_edge, block.runs)):
        note(
            spread,
            "no run stayed at the threshold",
            (0.5, 0.5),
            ha="center",
            color=FAINT,
            room=False,
        )


def _draw_range(axes: Axes, block: _Block, run: StoredRun, x: float, numbers: Numbers) -> None:
    """From the quantile of 10% to that of 90%."""
    if (found := held(run)) is None:
        return
    ends = {found.name("low"): found.ratio.low, found.name("high"): found.ratio.high}
    look: Look = {"linewidth": 2.4, "alpha": 0.35, "label": "range"}
    axes.plot([x, x], [*ends.values()], color=block.color(run), **look)
    for name, value in ends.items():
        numbers.add(run, DISCRETE, named(name, run, block.names), value)


def _draw_marks(
    axes: Axes,
    block: _Block,
    places: Mapping[StoredRun, float],
    quantity: str,
    of: Callable[[StoredRun, Held], float],
    numbers: Numbers,
) -> None:
    """One number of each run with one eps and a path through them; open where one is not at the edge."""
    there = {run: found for run in places if (found := held(run))}
    known = {run: value for run, found in there.items() if np.isfinite(value := of(run, found))}
    color = block.color(next(iter(places)))
    if path := sorted({places[run]: value for run, value in known.items()}.items()):
        axes.plot(*zip(*path, strict=True), color=color, linewidth=0.6, label="_path")
    look: Look = {"marker": "o", "markersize": 4, "linestyle": "none", "zorder": 3}
    for run, value in known.items():
        inside, name = color if there[run].window.at_edge else "white", there[run].name(quantity)
        axes.plot(places[run], value, color=color, markerfacecolor=inside, label=name, **look)
        numbers.add(run, DISCRETE, named(name, run, block.names), value)
