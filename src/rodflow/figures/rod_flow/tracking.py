"""How closely the flows follow each optimizer: loss, how far the flows are from it, sharpness and tracking error.

One row an optimizer, seeds on top of each other. A curve that ends because its process diverged
ends in a cross, and the row says at which step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import NO_THRESHOLD, no_rod
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    by_row,
    describe_run,
    loss_difference,
    mark_end,
    mark_steps,
    own_loss,
    share_steps,
    sharpness,
    show_on_log_scale,
    state_failures,
    tracking_error,
)
from rodflow.figures.core.style import (
    THIN,
    WHITE,
    Drawing,
    Numbers,
    end_labels,
    key,
    lines_of,
    model_label,
    note,
    process_style,
    styled,
)
from rodflow.store.results import COMPLETED, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=("comparison", "trajectories"),
    order=1,
    caption=r"""
*Claim* (Regis and Chewi, arXiv 2605.06821): from the onset on the sharpness of the discrete run stays at the
threshold and the rod flows stay with it, while the stable flow, :math:`dz/dt = F(z) - z`, leaves it.

Each row is one optimizer on the model ``{part}``; against the optimizer step are drawn the loss of the run, the
relative difference of each flow's loss from it, the preconditioned sharpness over the stability threshold of
linear theory, and the tracking error, that is the distance of a flow's centre from the midpoint of the iterates
over the distance travelled since :math:`t_0`. All are dimensionless. The loss of the discrete run is averaged
over the oscillation with the weights 1/4, 1/2, 1/4; that of a rod flow is the mean over the two ends of the
rod, and that of a central flow its prediction :math:`L + \langle H, \Sigma \rangle / 2`. Vertical marks stand
at :math:`t_0`, where the flows start from the discrete run (dotted), and at the onset, where the discrete run's
sharpness first reaches the threshold (dashed); a cross ends the curve of a process that diverged.

Loss is read from the trajectories (train and flow stages), the rest from ``comparison.nc``;
``tracking_{part}.csv`` has every point drawn.
""",
)


_HIGHEST = 2.1  # of sharpness over threshold that is shown

_PANEL, _WIDTH = 0.78, 9.0  # inches


@dataclass(frozen=True)
class _Quantity:
    """A column of the figure.

    Attributes:
        name: in the table.
        title: above the column, with the unit.
        of: the values of a process at its snapshots.
        scale: of the vertical axis.
        shared: whether all rows have the same vertical axis.
    """

    name: str
    title: str
    of: Callable[[StoredRun, str], xr.DataArray]
    scale: Literal["linear", "log"]
    shared: bool


_QUANTITIES = (
    _Quantity("loss", "loss of the run", own_loss, "log", False),
    _Quantity(
        "loss_difference", "|loss / run's loss \N{MINUS SIGN} 1|", loss_difference, "log", True
    ),
    _Quantity("sharpness_over_threshold", "sharpness / threshold", sharpness, "linear", True),
    _Quantity("tracking_error", "tracking error", tracking_error, "log", True),
)


_SHARPNESS = [quantity.name for quantity in _QUANTITIES].index("sharpness_over_threshold")


@dataclass(frozen=True)
class _Curve:
    """What is drawn of one process of one run in one panel, [point]."""

    process: str
    steps: np.ndarray
    values: np.ndarray
    diverged: bool

    @property
    def settled(self) -> np.ndarray:
        """The values that an axis should show: of a diverging curve those not yet far away."""
        if not self.diverged or not self.values.size:
            return self.values
        return self.values[self.values <= 10 * self.values[0]]


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer (and model, if there are several), one column a quantity."""
    rows = by_row(runs)
    numbers = Numbers()
    ends: list[tuple[Axes, list[_Curve]]] = []
    with styled():
        tall = [_PANEL] * len(rows)
        figure, grid = rows_of_panels(tall, len(_QUANTITIES), width=_WIDTH)
        for column, quantity in zip(zip(*grid, strict=True), _QUANTITIES, strict=True):
            drawn = [
                _draw_panel(axes, members, quantity, numbers)
                for axes, members in zip(column, rows, strict=True)
            ]
            _set_limits(column, drawn, quantity)
            for axes, curves in zip(column, drawn, strict=True):
                for curve in curves:
                    if curve.diverged and curve.values.size:
                        mark_end(axes, curve.process, curve.steps[-1], curve.values[-1])
                if quantity.name == "sharpness_over_threshold":
                    _name_heights(axes, curves)
            if quantity.name == "tracking_error":
                ends = [*zip(column, drawn, strict=True)]
            column[0].set_title(quantity.title, pad=12)
            column[-1].set_xlabel("optimizer step")
        several = len({run.model for run in runs}) > 1
        for r, (line, members) in enumerate(zip(grid, rows, strict=True)):
            run = members[0]
            describe_run(line[0], run, *([model_label(run.model)] if several else []))
            state_failures(line[0], members)
            _say_what_threshold(line[_SHARPNESS], run)
            mark_steps(line, run, named=r == 0)
        share_steps(grid)
        key(figure, lines_of(dict.fromkeys(process for run in runs for process in run.processes)))
        fit(figure, [row[0] for row in grid], tall)
        for axes, curves in ends:
            _name_ends(axes, curves)
    table = numbers.table()
    shows = medians(table, "tracking_error", "the last tracking error")
    return Drawing(figure, table, shows)


def _draw_panel(
    axes: Axes, runs: Sequence[StoredRun], quantity: _Quantity, numbers: Numbers
) -> list[_Curve]:
    """Draw one quantity of the runs of a row, and enter it in the table."""
    curves = []
    for run in runs:
        for process in run.processes:
            values = quantity.of(run, process)
            values = values.where(np.isfinite(values), drop=True)
            steps = values["snapshot"].values
            curve = _Curve(
                process, steps, values.values.astype(float), run.status(process) != COMPLETED
            )
            axes.plot(steps, curve.values, label=process, **process_style(process).line)
            numbers.add(run, process, quantity.name, curve.values, steps)
            curves.append(curve)
    axes.set_yscale(quantity.scale)
    axes.set_xlim(0, max(run.settings["steps"] for run in runs))
    return curves


def _set_limits(column: Sequence[Axes], drawn: Sequence[list[_Curve]], quantity: _Quantity) -> None:
    """Show what settles in full; what runs away leaves through the top."""
    groups = [[*chain.from_iterable(drawn)]] * len(column) if quantity.shared else drawn
    for axes, curves in zip(column, groups, strict=True):
        values = np.concatenate([np.ones(0), *(curve.settled for curve in curves)])
        if quantity.scale == "linear":
            axes.set_ylim(0, _HIGHEST)
            axes.yaxis.set_major_locator(MultipleLocator(1))
            axes.axhline(1, **THIN)
            continue
        show_on_log_scale(axes, values)


def _say_what_threshold(axes: Axes, run: StoredRun) -> None:
    """In words, that there is no threshold to be over, or that what becomes unstable there is no rod."""
    words = no_rod(run) if run.has_threshold else NO_THRESHOLD
    note(axes, words, (0, 0), shift=(3, 2), room=False)


def _name_heights(axes: Axes, curves: Sequence[_Curve]) -> None:
    """How far up the curves that leave through the top end."""
    top = axes.get_ylim()[1]
    beyond = {c.process: c for c in curves if c.values.size and c.values[-1] > top}
    for line, (process, curve) in enumerate(beyond.items()):
        style = process_style(process)
        text = f"{style.short} ends at {curve.values[-1]:.2g} \u2191"
        shift = (-1, 3 + 8 * line)
        look: Look = {"color": style.text_color, "ha": "right", "bbox": WHITE, "room": False}
        note(axes, text, (1, 0), shift=shift, **look)


def _name_ends(axes: Axes, curves: Sequence[_Curve]) -> None:
    """The name of each process where its (first) curve ends."""
    last = {curve.process: curve for curve in reversed(curves) if curve.values.size}
    styles = {process: process_style(process) for process in last}
    end_labels(
        axes,
        [(last[p].values[-1], style.short, style.text_color) for p, style in styles.items()],
    )
