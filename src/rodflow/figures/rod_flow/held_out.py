"""What every process of a run makes of images that it is not trained on, one row a run."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from rodflow.config.declarations import FigureEntry, tested
from rodflow.figures.core.findings import medians
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import (
    describe_run,
    draw_processes,
    loss,
    mark_steps,
    share_steps,
    show_on_log_scale,
    state_failures,
)
from rodflow.figures.core.style import Drawing, Numbers, key, lines_of, model_label, styled
from rodflow.store.results import COMPLETED, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=("comparison", "trajectories"),
    order=25,
    runs=tested,
    caption="""
*Claim* (this project's): a flow that stays near the iterates ends with their test loss and accuracy, and one
that leaves them at the edge of stability need not.

Every process of the model ``{part}`` on images that nothing is trained on. One row an optimizer, against the
optimizer step: full-batch training loss with its oscillation averaged out; loss on the test set; and the share of
the test set that is classified right. Test loss and accuracy are those of the optimizer's own weights, and of a
flow those at its centre. Dotted: where the flows start; dashed: where the run reaches its threshold.

Read from ``comparison.nc`` and the trajectories; ``held_out_{part}.csv`` has every point drawn.
""",
)

_PANEL = 1.1  # inches


def _of_test(name: str) -> Callable[[StoredRun, str], xr.DataArray]:
    """What was measured on the test set along a process; nothing of a run without one."""

    def of(run: StoredRun, process: str) -> xr.DataArray:
        if name in run.comparison:
            return run.comparison[name].sel(process=process)
        return loss(run, process).isel(snapshot=slice(0))

    return of


_QUANTITIES: dict[str, tuple[str, Callable[[StoredRun, str], xr.DataArray]]] = {
    "loss": ("training loss", loss),
    "test_loss": ("test loss", _of_test("test_loss")),
    "test_accuracy": ("test accuracy", _of_test("test_accuracy")),
}
"""By name in the table: title, and the values of a process at its snapshots."""


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One row a run, one column a quantity, one line a process."""
    numbers = Numbers()
    tall, several = [_PANEL] * len(runs), len({run.model for run in runs}) > 1
    with styled():
        figure, rows = rows_of_panels(tall, len(_QUANTITIES))
        for line, run in zip(rows, runs, strict=True):
            for axes, (name, (title, of)) in zip(line, _QUANTITIES.items(), strict=True):
                curves = draw_processes(axes, run, name, of, numbers)
                settled = [
                    values for process, _, values in curves if run.status(process) == COMPLETED
                ]
                if name != "test_accuracy":
                    show_on_log_scale(axes, np.concatenate([np.ones(0), *settled]))
                if line is rows[0]:
                    axes.set_title(title, pad=12)
            mark_steps(line, run, named=line is rows[0])
            describe_run(line[0], run, *([model_label(run.model)] if several else []))
            state_failures(line[0], [run])
        rows[-1][1].set_xlabel("optimizer step")
        share_steps(rows)
        key(figure, lines_of(dict.fromkeys(p for run in runs for p in run.processes)))
        fit(figure, [row[0] for row in rows], tall)
    table = numbers.table()
    shows = medians(table, "test_loss", "the last test loss")
    return Drawing(figure, table, shows)
