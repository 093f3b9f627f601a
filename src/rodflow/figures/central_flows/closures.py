"""Two closures of the same dynamics: the lifted rod flow, and the one that keeps a covariance.

One row a run that has both; beside it when each reaches the threshold, how far off it is, and how many
gradients and Hessian-vector products a unit of time takes.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from rodflow.config.declarations import FigureEntry, with_flow
from rodflow.errors import RodflowError
from rodflow.figures.core.findings import medians
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    at_snapshots,
    count_words,
    counted,
    describe_run,
    mark_steps,
    sharpness,
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
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=("comparison", "trajectories"),
    order=7,
    runs=with_flow("closure"),
    caption=r"""
*Claim* (this project's): up to the threshold both models agree with the run. Beyond it the rod of the rod flow
lengthens with that of the run and the sharpness turns back, while the closure's rod does not lengthen, or late, and
its sharpness goes on rising.

Two continuous-time models that both keep a rod, for the runs that have both. The rod flow, as an ODE and in
unit steps, lifts the optimizer's map to the centre and a signed half-extent. The covariance closure of Regis
and Chewi (arXiv 2602.01480) keeps :math:`\Sigma`, the covariance of half the difference of consecutive
iterates, and reads the rod off its leading eigenvector. Below the threshold that is half the drift of a step,
which is what it measures and no error; the lifted rod's length is the oscillation alone. Against the optimizer
step: preconditioned sharpness over the stability threshold, the distance of the centre from the midpoint of the
iterates over the distance travelled since :math:`t_0`, and the length of the rod; all dimensionless. Dotted:
:math:`t_0`, where the flows start; dashed: where the discrete run reaches its threshold. On the right: the step
at which the sharpness first reaches the threshold, geometric mean and last value of the tracking error, and the
gradients (:math:`\nabla L`) and Hessian-vector products (:math:`Hv`) that a unit of time takes.

Read from ``comparison.nc`` and the trajectories; ``closures.csv`` has every number drawn.
""",
)


CLOSURE = "closure"
_PROCESSES = (DISCRETE, "rod", "rod_unit_step", CLOSURE)

_HIGHEST = 2.1  # of sharpness over threshold that is shown

_PANEL, _WIDTH = 0.95, 8.2  # inches
_COLUMNS = {
    "onset": (0.8, "onset\n"),
    "error_mean": (1.22, "mean\nerror"),
    "error_last": (1.64, "last\nerror"),
    "gradients": (1.95, "$\\nabla L$\n"),
    "hessian_products": (2.22, "$Hv$\n"),
}
"""Of the numbers on the right, by name in the table: right edge, inches beside the panels, and heading."""


class ClosuresError(RodflowError, ValueError):
    """There is no run to compare closures on; the message is one line and says what to do."""


def rod_length(run: StoredRun, process: str) -> xr.DataArray:
    """The length of the rod of a process at its snapshots; of a flow that never started there are none.

    Args:
        run, process: the stored run, and which of its processes.
    """
    series = run.series(process)
    if "rod_length" not in series:
        return xr.DataArray(np.zeros(0), {"snapshot": np.zeros(0, int)}, ["snapshot"])
    return at_snapshots(series["rod_length"], series)


_QUANTITIES: dict[str, tuple[str, Callable[[StoredRun, str], xr.DataArray]]] = {
    "sharpness_over_threshold": ("sharpness / threshold", sharpness),
    "tracking_error": ("tracking error", tracking_error),
    "rod_length": ("rod length $\\|X_w\\|$", rod_length),
}
"""By name in the table: title with the unit, and the values of a process at its snapshots."""


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row a run, one column a quantity, and the numbers of each flow.

    Args:
        runs: those without a covariance closure are left out.

    Raises:
        ClosuresError: none of the runs has one.
    """
    shown = [run for run in runs if CLOSURE in run.processes]
    if not shown:
        raise ClosuresError(
            "no run has the covariance closure to compare; add closure to its flows in the config"
        )
    numbers = Numbers()
    with styled():
        tall = [_PANEL] * len(shown)
        figure, rows = rows_of_panels(tall, len(_QUANTITIES), width=_WIDTH)
        for row, (line, run) in enumerate(zip(rows, shown, strict=True)):
            for axes, (name, (title, of)) in zip(line, _QUANTITIES.items(), strict=True):
                _panel(axes, run, name, of, numbers)
                if row == 0:
                    axes.set_title(title, pad=12)
            mark_steps(line, run, named=row == 0)
            describe_run(line[0], run, f"{model_label(run.model)}, seed {run.seed}")
            _write_numbers(line[-1], run, numbers, headed=row == 0)
        rows[-1][1].set_xlabel("optimizer step")
        compared = {process for run in shown for process in _compared(run)}
        key(figure, lines_of(sorted(compared, key=_PROCESSES.index)))
        fit(figure, [row[0] for row in rows], tall)
    table = numbers.table()
    shows = medians(table, "error_last", "the last tracking error")
    return Drawing(figure, table, shows)


def _compared(run: StoredRun) -> list[str]:
    return [process for process in _PROCESSES if process in run.processes]


def _panel(
    axes: Axes,
    run: StoredRun,
    name: str,
    of: Callable[[StoredRun, str], xr.DataArray],
    numbers: Numbers,
) -> None:
    """Draw one quantity of a run, and enter it in the table."""
    start, drawn = run.settings["start"], [np.ones(0)]
    for process in _compared(run):
        values = of(run, process)
        if name == "rod_length":  # before the flows start there is nothing to compare
            values = values.sel(snapshot=slice(start, None))
        values = values.where(np.isfinite(values), drop=True)
        steps, heights = values["snapshot"].values, values.values.astype(float)
        axes.plot(steps, heights, label=process, **process_style(process).line)
        numbers.add(run, process, name, heights, steps)
        drawn.append(heights if run.status(process) == COMPLETED else heights[:-3])
    axes.set_xlim(0, run.settings["steps"])
    axes.xaxis.set_major_locator(MaxNLocator(3))
    shown = np.concatenate(drawn)
    if name == "sharpness_over_threshold":
        axes.set_ylim(0, np.clip(1.05 * shown.max(initial=0), 1.3, _HIGHEST))
        axes.yaxis.set_major_locator(MultipleLocator(0.5))
        axes.axhline(1, **THIN)
        return
    axes.set_yscale("log")
    shown = shown[shown > 0] if (shown > 0).any() else np.ones(1)
    axes.set_ylim(shown.min() / 1.5, shown.max() * 1.5)
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _write_numbers(axes: Axes, run: StoredRun, numbers: Numbers, *, headed: bool) -> None:
    """Onset, mean and last error, and what each process evaluates, to the right of a row."""
    if headed:
        for right, heading in _COLUMNS.values():
            write_beside(axes, heading, right, 2, fontweight="bold", va="bottom", linespacing=1.0)
    for line, process in enumerate(_compared(run)):
        style, down = process_style(process), -8.0 - 11 * line
        note(axes, style.short, (1, 1), shift=(8, down), color=style.text_color)
        if run.status(process) != COMPLETED:
            words = run.status(process).split(":")[0]
            write_beside(axes, words, _COLUMNS["hessian_products"][0], down, color=style.text_color)
            continue
        row = run.comparison.sel(process=process)
        found = {name: float(row[name]) for name in ("onset", "error_mean", "error_last")}
        for name in ("gradients", "hessian_products"):
            if (count := counted(run, process, name=name)) is not None:
                found[name] = count
        for name, value in found.items():
            if process == DISCRETE and name.startswith("error"):
                continue
            numbers.add(run, process, name, value)
            write_beside(axes, _WORDS[name](value), _COLUMNS[name][0], down, color=style.text_color)


def _step(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "never"


_WORDS: dict[str, Callable[[float], str]] = {
    "onset": _step,
    "error_mean": error_words,
    "error_last": error_words,
    "gradients": count_words,
    "hessian_products": count_words,
}
