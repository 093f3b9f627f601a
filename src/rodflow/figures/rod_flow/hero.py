"""One optimizer at one glance, readable at the width of a README: loss, sharpness and tracking error.

Adam on the first model, unless the config trains that with other optimizers only: then the first of these. A row a run.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from rodflow.config.declarations import ALONG_RUNS, FigureEntry, of_optimizers
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import NO_THRESHOLD, in_gain
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    describe_run,
    draw_processes,
    loss,
    mark_end,
    mark_steps,
    show_on_log_scale,
    state_failures,
    tracking_error,
)
from rodflow.figures.core.style import (
    DASHED,
    REFERENCE,
    WHITE,
    Drawing,
    Numbers,
    dataset_label,
    hyperparameters,
    key,
    lines_of,
    model_label,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=ALONG_RUNS,
    order=28,
    runs=lambda runs: (
        of_optimizers("adam")([run for run in runs if run.model == runs[0].model]) or runs
    )[:1],
    caption=r"""
*Claim* (Regis and Chewi, arXiv 2605.06821): the sharpness of the run rises to the threshold of linear theory and
stays there; the rod flow stays with the run, as an ODE and in unit steps, and the stable flow,
:math:`dz/dt = F(z) - z`, leaves both.

Adam on the first model, or the first optimizer of a config without Adam. *Left*: the loss, averaged over the
oscillation: of the run with the weights 1/4, 1/2, 1/4, of a rod flow over the two ends of the rod. *Middle*: the
sharpness, that is the largest eigenvalue of the preconditioned Hessian, and dashed the threshold, which for Adam with
:math:`\beta_1 = 0.9` is :math:`38/\eta`. *Right*: the tracking error, the distance of a flow's centre from the
midpoint of the iterates over the distance travelled since :math:`t_0`. Vertical marks stand at :math:`t_0`, where the
flows start from the run (dotted), and at the onset, where the run first reaches the threshold (dashed). A cross ends
the curve of a process that diverged.

Loss is read from the trajectories (train and flow stages), the eigenvalues from ``sharpness/``, the rest from
``comparison.nc``; ``hero.csv`` has every point drawn.
""",
)

_PROCESSES = (DISCRETE, "stable", "rod", "rod_unit_step")
_HIGHEST, _TICKS = 1.9, (0, 0.5, 1, 1.5)  # of sharpness over threshold

# A README shows 880 pixels: in a figure of 6.6 inches letters of 7.5 points are 14 pixels high there.
_WIDTH, _PANEL = 6.6, 1.45  # inches
_LETTERS: Look = {"fontsize": 7.5}

Curves = list[tuple[str, np.ndarray, np.ndarray]]
"""Process, steps and values of each."""


def eigenvalue(run: StoredRun, process: str) -> xr.DataArray:
    """The largest eigenvalue of the preconditioned Hessian along a process, [snapshot].

    Args:
        run, process: the stored run, and which of its processes.
    """
    return run.eigenvalues(process)["eigenvalue"].isel(eigenvalue_rank=0)


_QUANTITIES: dict[str, Callable[[StoredRun, str], xr.DataArray]] = {
    "loss": loss,
    "sharpness": eigenvalue,
    "tracking_error": tracking_error,
}


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Three panels a run."""
    numbers = Numbers()
    with styled():
        tall = [_PANEL] * len(runs)
        figure, rows = rows_of_panels(tall, len(_QUANTITIES), width=_WIDTH)
        for line, run in zip(rows, runs, strict=True):
            for axes, (name, of) in zip(line, _QUANTITIES.items(), strict=True):
                curves = draw_processes(axes, run, name, of, numbers, _PROCESSES)
                if name == "sharpness":
                    _show_threshold(axes, run, curves, numbers)
                else:
                    show_on_log_scale(axes, _settled(run, curves))
                _mark_ends(axes, run, curves)
                axes.set_title(name.replace("_", " "), pad=14)
                axes.set_xlabel("optimizer step", **_LETTERS)
                axes.tick_params(labelsize=_LETTERS["fontsize"])
            mark_steps(line, run, named=True)
            state_failures(line[0], [run], without=[*{*run.processes} - {*_PROCESSES}])
            if len(runs) > 1:
                describe_run(line[0], run, _problem(run))
        shown = {process for run in runs for process in run.processes}
        handles = lines_of(process for process in _PROCESSES if process in shown)
        key(figure, handles, title=_name(runs[0]) if len(runs) == 1 else "")
        fit(figure, [row[0] for row in rows], tall)
    table = numbers.table()
    shows = medians(table, "tracking_error", "the last tracking error")
    return Drawing(figure, table, shows)


def _problem(run: StoredRun) -> str:
    """Model and data set, in words."""
    return f"{model_label(run.model)} on {dataset_label(run.settings['dataset']['name'])}"


def _name(run: StoredRun) -> str:
    """What the figure is of, where that is one run."""
    return f"{optimizer_label(run.optimizer)}: {', '.join([_problem(run), *hyperparameters(run)])}"


def _settled(run: StoredRun, curves: Curves) -> np.ndarray:
    """The values that an axis should show: of a diverging curve those not yet far away."""
    values = [
        heights if run.status(process) == COMPLETED else heights[heights <= 10 * heights[:1]]
        for process, _, heights in curves
    ]
    return np.concatenate([np.ones(0), *values])


def _mark_ends(axes: Axes, run: StoredRun, curves: Curves) -> None:
    """A cross where the curve of a process that diverged ends."""
    for process, steps, heights in curves:
        if steps.size and run.status(process) != COMPLETED:
            mark_end(axes, process, steps[-1], heights[-1])


def _show_threshold(axes: Axes, run: StoredRun, curves: Curves, numbers: Numbers) -> None:
    """The threshold as a dashed line with its formula, and how far up the curves that leave through the top end."""
    limit = float(run.eigenvalues(DISCRETE).attrs["threshold"])
    if not np.isfinite(limit):
        note(axes, NO_THRESHOLD, (0, 0), shift=(3, 3), room=False, **_LETTERS)
        return
    axes.set_ylim(0, top := _HIGHEST * limit)
    axes.axhline(limit, **REFERENCE, linestyle=DASHED)
    numbers.add(run, DISCRETE, "threshold", limit)
    unit = "" if in_gain(run) else "/η"
    axes.set_yticks(
        [part * limit for part in _TICKS],
        ["0" if part == 0 else f"{part * run.threshold:.4g}{unit}" for part in _TICKS],
    )
    leaving = [(process, y[-1]) for process, _, y in curves if y.size and y[-1] > top]
    for line, (process, last) in enumerate(leaving):
        style = process_style(process)
        text = f"{style.short} ends at {last / limit * run.threshold:.3g}{unit} ↑"
        look: Look = {"color": style.text_color, "ha": "right", "bbox": WHITE, "room": False}
        note(axes, text, (1, 0), shift=(-1, 3 + 9 * line), **look, **_LETTERS)
