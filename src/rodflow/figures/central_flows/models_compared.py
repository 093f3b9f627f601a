"""Every continuous-time model of a run side by side: how near each stays to the run, and what it costs.

One row a run: loss, sharpness and tracking error, and beside them a line of numbers for each flow. Where a process
did not complete, that is written in place of its errors.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, MultipleLocator

from rodflow.config.declarations import ALONG_RUNS, FigureEntry, with_flow
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    count_words,
    counted,
    describe_run,
    draw_processes,
    loss_difference,
    mark_end,
    mark_steps,
    onset,
    own_loss,
    share_steps,
    sharpness,
    show_on_log_scale,
    tracking_error,
    write_beside,
)
from rodflow.figures.core.style import (
    THIN,
    Drawing,
    Numbers,
    error_words,
    key,
    lines_of,
    model_label,
    note,
    process_style,
    styled,
    times_words,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=ALONG_RUNS,
    order=8,
    runs=with_flow("central"),
    caption=r"""
*Claim* (this project's): all models agree with the run up to the threshold. Beyond it the stable flow leaves,
and those that model the oscillation stay, at very different cost.

Every continuous-time model of the run, on the model ``{part}``: the stable flow, the central flow of Cohen et
al. (arXiv 2410.24206) with and without its curvature term :math:`\frac12 \nabla^3 L : \Sigma`, the edge flow of
Marion (arXiv 2606.18080, gradient descent only), the rod flow of Regis and Chewi (arXiv 2605.06821) as an ODE
and in unit steps, and their covariance closure (arXiv 2602.01480). One row an optimizer, against the optimizer
step: full-batch loss of the run, the relative difference of each flow's loss from it, preconditioned sharpness
over the stability threshold (shown up to 2.1; line at 1), and tracking error, the distance of a flow's centre
from the midpoint of the iterates over the distance travelled since :math:`t_0`; all dimensionless. The loss has
the oscillation averaged out: of the iterates with the weights 1/4, 1/2, 1/4; of a flow with a rod the mean over
the rod's two ends; of the central flow its prediction :math:`L + \langle H, \Sigma \rangle / 2`; of the stable
flow the loss itself. Dotted: :math:`t_0`, where the flows start; dashed: where the discrete run reaches its
threshold; a cross ends the curve of a process that diverged. On the right, a line for each flow: geometric mean
and last value of the tracking error; by how many steps it reaches the threshold later than the discrete run
(negative: earlier; "never": not at all); the mean number of gradients :math:`\nabla L`, of Hessian-vector
products :math:`Hv` and of third derivatives along two directions :math:`\nabla^3 L` that it takes in a unit of
time, which stands for one step of the optimizer ("–": none are counted); and the wall time of that unit over
that of a step of the discrete run, both measured in this experiment, where other jobs may have run beside them.

Read from ``comparison.nc`` and the trajectories; ``models_compared_{part}.csv`` has every number drawn or
written.
""",
)


_HIGHEST = 2.1  # of sharpness over threshold that is shown

_WIDTH = 11.6  # inches
_PANEL, _LINE = 1.05, 0.145  # inches: height of a row, and of a line of the table beside it

_QUANTITIES: dict[str, tuple[str, Callable[[StoredRun, str], xr.DataArray]]] = {
    "loss": ("loss of the run", own_loss),
    "loss_difference": ("|loss / run's loss \N{MINUS SIGN} 1|", loss_difference),
    "sharpness_over_threshold": ("sharpness / threshold", sharpness),
    "tracking_error": ("tracking error", tracking_error),
}
"""By name in the table: title with the unit, and the values of a process at its snapshots."""


@dataclass(frozen=True)
class _Column:
    """A number of each flow, to the right of a row.

    Attributes:
        right: edge of its words, inches beside the panels.
        heading: above it, with the unit.
        of: the number of a flow of a run; None where it has none.
        words: how it is written.
    """

    right: float
    heading: str
    of: Callable[[StoredRun, str], float | None]
    words: Callable[[float], str]


def compared(run: StoredRun, flow: str, *, name: str) -> float:
    """A number that the comparison stores of a flow.

    Args:
        run, flow: the stored run, and which of its flows.
        name: of the number in the comparison.
    """
    return float(run.comparison[name].sel(process=flow))


def onset_error(run: StoredRun, flow: str) -> float | None:
    """By how many steps a flow reaches the threshold after the run; NaN if never, None if the run does not.

    Args:
        run, flow: the stored run, and which of its flows.
    """
    reached = onset(run)
    return onset(run, flow) - reached if np.isfinite(reached) else None


def step_time(run: StoredRun, flow: str) -> float | None:
    """The wall time of a unit of time of a flow over that of a step of the run; None if it was not measured.

    Args:
        run, flow: the stored run, and which of its flows.
    """
    own, of_run = (
        float(run.series(process).attrs.get("step_time_s", np.nan)) for process in (flow, DISCRETE)
    )
    return own / of_run if np.isfinite(own / of_run) else None


def _steps_later(value: float) -> str:
    if not np.isfinite(value):
        return "never"
    return f"{value:+.0f}".replace("-", "\u2212") if value else "0"


_ERRORS = {
    "error_mean": _Column(1.22, "mean", partial(compared, name="error_mean"), error_words),
    "error_last": _Column(1.65, "last", partial(compared, name="error_last"), error_words),
    "onset_error": _Column(2.05, "[steps]", onset_error, _steps_later),
}
_COSTS = {
    "gradients": _Column(2.43, "$\\nabla L$", partial(counted, name="gradients"), count_words),
    "hessian_products": _Column(
        2.79, "$Hv$", partial(counted, name="hessian_products"), count_words
    ),
    "third_derivatives": _Column(
        3.15, "$\\nabla^3 L$", partial(counted, name="third_derivatives"), count_words
    ),
    "step_time_over_discrete": _Column(3.6, "/ run's", step_time, times_words),
}
_GROUPS = {
    "error_last": "tracking error",
    "onset_error": "onset\nerror",
    "third_derivatives": "per unit of time",
    "step_time_over_discrete": "step\ntime",
}
"""Headings above those of the columns, by the last column that each is above."""


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row a run, one column a quantity, and the numbers of each flow."""
    numbers = Numbers()
    several = {name: len({getattr(run, name) for run in runs}) > 1 for name in ("model", "seed")}
    with styled():
        tall = [max(_PANEL, _LINE * len(_told(run))) for run in runs]
        figure, rows = rows_of_panels(tall, len(_QUANTITIES), width=_WIDTH)
        for line, run in zip(rows, runs, strict=True):
            for axes, (name, (title, of)) in zip(line, _QUANTITIES.items(), strict=True):
                _panel(axes, run, name, of, numbers)
                if line is rows[0]:
                    axes.set_title(title, pad=12)
            mark_steps(line, run, named=line is rows[0])
            which = {"model": model_label(run.model), "seed": f"seed {run.seed}"}
            describe_run(line[0], run, *(words for name, words in which.items() if several[name]))
            _write_numbers(line[-1], run, numbers)
        _write_headings(rows[0][-1])
        rows[-1][1].set_xlabel("optimizer step")
        share_steps(rows)
        drawn = lines_of(dict.fromkeys(process for run in runs for process in run.processes))
        key(figure, drawn)
        fit(figure, [row[0] for row in rows], tall)
    table = numbers.table()
    shows = medians(table, "error_last", "the last tracking error")
    return Drawing(figure, table, shows)


def _told(run: StoredRun) -> list[str]:
    """The processes that have a line of the table: flows, and the run itself if it did not complete."""
    return [p for p in run.processes if p != DISCRETE or run.status(p) != COMPLETED]


def _panel(
    axes: Axes,
    run: StoredRun,
    name: str,
    of: Callable[[StoredRun, str], xr.DataArray],
    numbers: Numbers,
) -> None:
    """Draw one quantity of a run, and enter it in the table. What diverges leaves through the top."""
    settled, lost = [np.ones(0)], []
    for process, steps, heights in draw_processes(axes, run, name, of, numbers):
        if run.status(process) == COMPLETED:
            settled.append(heights)
        elif heights.size:
            settled.append(heights[heights <= 10 * heights[0]])
            lost.append((process, steps[-1], heights[-1]))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    shown = np.concatenate(settled)
    if name == "sharpness_over_threshold":
        axes.set_ylim(0, min(_HIGHEST, max(1.3, 1.05 * shown.max(initial=0))))
        axes.yaxis.set_major_locator(MultipleLocator(0.5))
        axes.axhline(1, **THIN)
    else:
        show_on_log_scale(axes, shown)
    for process, step, height in lost:
        mark_end(axes, process, step, height)


def _write_headings(axes: Axes) -> None:
    look: Look = {"va": "baseline", "linespacing": 1.0}
    for name, column in (_ERRORS | _COSTS).items():
        write_beside(axes, column.heading, column.right, 4, **look)
        if name in _GROUPS:
            write_beside(axes, _GROUPS[name], column.right, 14, fontweight="bold", **look)


def _write_numbers(axes: Axes, run: StoredRun, numbers: Numbers) -> None:
    """The errors and costs of each flow, a line each, to the right of a row."""
    for line, process in enumerate(_told(run)):
        style, down = process_style(process), -8 - 72 * _LINE * line
        name_at: Look = {"shift": (8, down), "fontweight": "bold"}
        note(axes, style.short, (1, 1), color=style.text_color, **name_at)
        columns = _ERRORS | _COSTS
        if run.status(process) != COMPLETED:
            columns = _COSTS
            words = run.status(process).split(":")[0]
            write_beside(axes, words, _ERRORS["onset_error"].right, down, color=style.text_color)
        for name, column in columns.items() if process != DISCRETE else ():
            value = column.of(run, process)
            if value is not None:
                numbers.add(run, process, name, value)
            written = "\u2013" if value is None else column.words(value)
            write_beside(axes, written, column.right, down)
