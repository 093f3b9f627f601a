"""Gradient descent at the edge of stability: the sharpness rises to 2/η and hovers there while the loss falls.

One column a model and criterion, one colour a step size, seeds as further lines of the same colour.
Source: Cohen et al. 2021 (arXiv 2103.00065).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rodflow.analysis.edge import Window
from rodflow.analysis.equilibrium import (
    WINDOW,
    Restlessness,
    at_edge,
    moving_average,
    restlessness,
)
from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.errors import RodflowError
from rodflow.figures.core.findings import AT_EDGE, medians
from rodflow.figures.core.held import NOT_AT_EDGE, held_at_edge
from rodflow.figures.core.keywords import Look, Stroke
from rodflow.figures.core.marks import NOT_REACHED, cross, curve, diverged, ending, never_reached
from rodflow.figures.core.panels import columns_of_panels, fit, page
from rodflow.figures.core.rows import at_snapshots, sharpness, show_on_log_scale
from rodflow.figures.core.style import (
    DASHED,
    INK,
    Drawing,
    Numbers,
    key,
    note,
    optimizer_label,
    styled,
)
from rodflow.figures.core.sweeps import (
    by_problem,
    ordered_colors,
    problem_label,
    step_size,
    sweep_name,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=16,
    caption=r"""
*Claim* (Cohen et al., arXiv 2103.00065): below the threshold the sharpness rises (progressive sharpening), then
it hovers at or just above :math:`2/\eta`, while the loss goes up and down from step to step and falls in the
long run. With cross-entropy, or once the data are fitted, the sharpness falls away from the threshold again;
where all runs of a column have left it early, only the first steps are shown, as written below the column.

Full-batch gradient descent at several step sizes :math:`\eta`, one column a model and criterion, against the
optimizer step; everything is dimensionless. *Top*: the training loss :math:`L` of each step (thin) and its mean
:math:`\bar L` over 50 steps (bold, drawn at the middle of the window). *Bottom*: the sharpness :math:`S`, the
largest eigenvalue of the Hessian, with the threshold :math:`2/\eta` dashed in the colour of the step size.
Several lines of one colour are seeds. The numbers above a column, means over the seeds, are taken at the edge, from
the opening of the rod to the end of the run: the time average of :math:`S\eta/2`, the fraction of steps on which the
loss rises, and of these steps the fraction on which the 50-step mean falls nevertheless. A run whose rod is closed for
most of that time is not at the edge and has no numbers. A dash stands where the run is at the edge too briefly for a
50-step mean, or where the loss never rises. A cross ends the curve of a run that diverged.

Losses and rods are read from the trajectories (train stage), sharpness from ``sharpness/`` and ``comparison.nc``;
``eos_gd.csv`` has every point drawn.
""",
)


_OPTIMIZER = "gd"
_LIMIT = 2.0  # of step size times sharpness
_HIGHEST = 2.1  # of sharpness over threshold that is shown
_LONG = 3  # how many times as long as to the end of the edge is shown at most

_TALL = (1.6, 1.5)  # inches
_LINE = 8.5  # points above the panels for a line of numbers
_NARROWEST = 1.9  # inches for a column, with room for all heads

_HEADS = {"mean\n$S\\eta/2$": 58, "steps\n$L$ rises": 31, "of these\n$\\bar L$ falls": 0}
"""What the numbers above a panel are, and how many points to the left of its right edge each column of them ends."""


class EdgeError(RodflowError, ValueError):
    """There is no run of gradient descent to draw; the message is one line and says what to do."""


@dataclass(frozen=True)
class _Line:
    """A run and the look of its curves."""

    run: StoredRun
    name: str
    color: str
    thin: bool

    @property
    def limit(self) -> float:
        """The sharpness at the threshold, 2/η."""
        return _LIMIT / step_size(self.run)

    @property
    def near(self) -> xr.DataArray:
        """Sharpness over threshold from where it is reached to where it is left for good, [snapshot]."""
        settings = self.run.settings
        return at_edge(sharpness(self.run, DISCRETE), settings["criterion"], settings["start"])

    def restlessness(self, window: Window) -> Restlessness | None:
        """How the loss moves at the edge; None where that ends before the first moving average."""
        if window.last - max(window.first, WINDOW) < WINDOW / 2:
            return None
        return restlessness(self.run.series(DISCRETE)["loss"], window.first, window.last)

    def width(self, width: float) -> float:
        """Of a line: half of this where there are several seeds."""
        return width / 2 if self.thin else width


@dataclass(frozen=True)
class _Panel:
    """One quantity of one column, and where it is entered."""

    axes: Axes
    lines: Sequence[_Line]
    last: int
    numbers: Numbers

    def plot(
        self, line: _Line, quantity: str, values: xr.DataArray, **look: Unpack[Stroke]
    ) -> xr.DataArray:
        """Draw the values of a run to the last step shown, and enter them; which they are."""
        values = values.sel({values.dims[0]: slice(None, self.last)})
        look |= {"label": quantity, "color": line.color}
        name = f"{quantity}[{line.name}]"
        return curve(self.axes, line.run, name, values, self.numbers, **look)


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A column for each model and criterion: loss and sharpness.

    Args:
        runs: of any optimizer; those of gradient descent are drawn.

    Raises:
        EdgeError: there is none.
    """
    shown = [run for run in runs if run.optimizer == _OPTIMIZER]
    if not shown:
        raise EdgeError(
            "no run of gradient descent to draw; name eos_gd in a sweep of gd in the config"
        )
    groups = [_lines(group, shown) for group in by_problem(shown)]
    numbers = Numbers()
    with styled():
        wide = page(len(groups), narrow=_NARROWEST)
        figure, grid = columns_of_panels(_TALL, len(groups), width=wide)
        for lines, (losses, raw) in zip(groups, grid, strict=True):
            last, planned = _last_shown(lines), _planned(lines)
            _draw_loss(_Panel(losses, lines, last, numbers))
            _draw_sharpness(_Panel(raw, lines, last, numbers))
            for axes in (losses, raw):
                axes.set_xlim(0, last)
                axes.tick_params(labelbottom=axes is raw)
            first = "" if last == planned else f"\n(first {last} of {planned})"
            raw.set_xlabel(f"optimizer step{first}")
            _write_table(losses, lines, numbers)
        for axes, title in zip(grid[0], ("loss", "sharpness $S$"), strict=True):
            axes.set_ylabel(title)
        _key(figure)
        fit(figure, grid[0], _TALL)
    table = numbers.table()
    shows = medians(table, "mean_at_edge", AT_EDGE)
    return Drawing(figure, table, shows)


def _lines(group: Sequence[StoredRun], shown: Sequence[StoredRun]) -> list[_Line]:
    """The runs of a column with their colours."""
    colors = ordered_colors(sorted({step_size(run) for run in group}))
    thin = len(group) > len(colors)
    return [_Line(run, sweep_name(run, shown), colors[step_size(run)], thin) for run in group]


def _planned(lines: Sequence[_Line]) -> int:
    """How many steps the longest run of a column was to have."""
    return max(line.run.settings["steps"] for line in lines)


def _last_shown(lines: Sequence[_Line]) -> int:
    """The last step of a column: its end, or less where every run has long left the edge."""
    planned = _planned(lines)
    ends = [int(line.near["snapshot"][-1]) for line in lines if line.near.size]
    if not ends:
        return planned
    enough = -(-max(_LONG * max(ends), 8 * WINDOW) // 100) * 100
    return enough if enough <= 0.6 * planned else planned


def _draw_loss(panel: _Panel) -> None:
    """The loss of each step, pale, and its moving average at the middle of the window; from t0 on in full."""
    settled, drawn = [np.ones(0)], []
    for line in panel.lines:
        series = line.run.series(DISCRETE)
        raw = panel.plot(
            line, "loss", series["loss"], linewidth=line.width(0.7), alpha=0.5, zorder=2
        )
        averaged = moving_average(series["loss"])
        centred = averaged.assign_coords(step=averaged["step"] - WINDOW // 2)
        averaged = at_snapshots(centred, series)
        panel.plot(line, "loss_averaged", averaged, linewidth=line.width(1.3), zorder=2.5)
        later = raw.values[line.run.settings["start"] :]
        settled.append(later[later <= 10 * raw.values[:1]] if diverged(line.run) else later)
        drawn.append(raw)
    show_on_log_scale(panel.axes, np.concatenate(settled))
    _mark_ends(panel, drawn)


def _draw_sharpness(panel: _Panel) -> None:
    """The largest eigenvalue of the Hessian, and the threshold of each step size."""
    highest, drawn = [0.0], []
    for line in panel.lines:
        raw = line.run.eigenvalues(DISCRETE)["raw_sharpness"]
        drawn.append(panel.plot(line, "raw_sharpness", raw, linewidth=line.width(1.0), zorder=2))
        highest += [1.15 * line.limit, *np.minimum(drawn[-1].values, _HIGHEST * line.limit)]
    for line in {line.color: line for line in reversed(panel.lines)}.values():
        look: Look = {"linewidth": 0.9, "linestyle": DASHED, "zorder": 2.5}
        panel.axes.axhline(line.limit, color=line.color, label="threshold", **look)
        panel.numbers.add(line.run, DISCRETE, f"threshold[{line.name}]", line.limit)
    panel.axes.set_ylim(0, 1.05 * max(highest))
    _mark_ends(panel, drawn)


def _mark_ends(panel: _Panel, drawn: Sequence[xr.DataArray]) -> None:
    """A cross where the curve of a run that diverged ends."""
    for line, values in zip(panel.lines, drawn, strict=True):
        cross(panel.axes, line.run, values, line.color)


def _write_table(axes: Axes, lines: Sequence[_Line], numbers: Numbers) -> None:
    """Above a column: its title, and a line of words or numbers for each step size, in its colour."""
    colors = [*dict.fromkeys(line.color for line in lines)]
    height = _LINE * len(colors)
    title = problem_label(lines[0].run)
    note(axes, title, (0.5, 1), shift=(0, height + 26), ha="center", fontsize=8, fontweight="bold")
    note(axes, "$\\eta$", (0, 1), shift=(0, height + 6))
    for head, away in _HEADS.items():
        # Line by line, as the bar makes one line of a head higher than those beside it.
        for above, line in zip((15, 6), head.split("\n"), strict=True):
            note(axes, line, (1, 1), shift=(-away, height + above), ha="right")
    for row, color in enumerate(colors):
        own = [line for line in lines if line.color == color]
        up = height - _LINE * (row + 1) + 5
        note(axes, "━", (0, 1), shift=(-11, up), color=color, fontsize=7)
        note(axes, f"{step_size(own[0].run):g}", (0, 1), shift=(0, up), color=color)
        words = _describe(own, numbers)
        for word, away in zip(words, [*_HEADS.values()][-len(words) :], strict=True):
            note(axes, word, (1, 1), shift=(-away, up), ha="right", color=color)


def _describe(own: Sequence[_Line], numbers: Numbers) -> tuple[str, ...]:
    """Of the runs of one step size: what they do at the edge in numbers, or why there are none."""
    failed = [ending(line.run) for line in own if diverged(line.run)]
    if failed:
        return (failed[0] if len(own) == 1 else f"{len(failed)} of {len(own)} diverged",)
    there = [(line, found) for line in own if (found := held_at_edge(line.run))]
    if not there:
        return (NOT_REACHED if all(never_reached(line.run) for line in own) else NOT_AT_EDGE,)
    means, moves = [], []
    for line, held in there:
        means.append(held.ratio.mean)
        numbers.add(line.run, DISCRETE, f"mean_at_edge[{line.name}]", means[-1])
        if move := line.restlessness(held.window):
            moves.append(move)
            numbers.add(line.run, DISCRETE, f"rising[{line.name}]", move.rising)
            if np.isfinite(move.falling):
                numbers.add(line.run, DISCRETE, f"rising_while_falling[{line.name}]", move.falling)
    rising = [move.rising for move in moves]
    falling = [move.falling for move in moves if np.isfinite(move.falling)]
    return f"{np.mean(means):.2f}", _percent(rising), _percent(falling)


def _percent(fractions: Sequence[float]) -> str:
    """The mean of fractions; a dash of none."""
    return f"{100 * np.mean(fractions):.0f}%" if fractions else "–"


def _key(figure: Figure) -> None:
    """What the kinds of lines are, once."""
    looks: list[Look] = [
        {"linewidth": 0.7, "alpha": 0.5, "label": "loss $L$ of each step"},
        {"linewidth": 1.3, "label": f"its {WINDOW}-step average $\\bar L$"},
        {"linewidth": 0.9, "linestyle": DASHED, "label": "threshold $2/\\eta$"},
    ]
    handles = [Line2D([], [], color=INK, **look) for look in looks]
    key(figure, handles, title=optimizer_label(_OPTIMIZER))
