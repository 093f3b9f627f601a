"""How much closer than the stable flow the rod flows stay to the discrete run, in outputs and in weights."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from rodflow.analysis import edge
from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.ratios import BASELINE, Measure, draw_ratios, unfinished
from rodflow.figures.core.rows import onset, tracking_error
from rodflow.figures.core.style import Drawing, Numbers, styled
from rodflow.store.results import COMPLETED, StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=("comparison", "outputs"),
    order=30,
    caption=r"""
*Claim* (this project's): in function space, too, every filled mark lies to the right of the line at 1, where
both flows would be equally good.

How many times closer to the discrete run a flow stays than the stable flow, by the outputs of the network on the
training data (filled marks, and the numbers on the right) and by its weights (open marks). The error is the
distance of the flow from the midpoint of the iterates over the distance travelled since :math:`t_0`, its median
from the onset of the threshold on; the ratio is dimensionless. Between squared distances there are twice as many
orders of magnitude. A run without outputs, or of which a process diverged, says so.

Errors come from ``outputs.nc`` and ``comparison.nc``; ``function_space.csv`` has every number drawn.
""",
)


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One line an optimizer and model: error of the stable flow over that of each other flow."""
    numbers = Numbers()
    with styled():
        figure = draw_ratios(
            runs,
            numbers,
            Measure("outputs", "filled: by outputs", _ratio(_output_error)),
            Measure("weights", "open: by weights", _ratio(tracking_error)),
            heading="by outputs",
            label="median error of the stable flow / of the flow marked",
            silent=_silent,
        )
    table = numbers.table()
    what = "the stable flow's error over that of the flow, by outputs"
    return Drawing(figure, table, medians(table, "outputs_stable_over_flow", what))


def _silent(run: StoredRun, flow: str) -> list[str]:
    """Why a run says nothing about a flow; [] if it does."""
    if failed := unfinished(run, flow):
        return failed
    if not run.has("outputs"):
        return ["no outputs"]
    status = str(run.outputs.attrs["status"])
    if status != COMPLETED:
        return [status.split(":")[0]]
    return [] if np.isfinite(onset(run)) else ["threshold never reached"]


def _output_error(run: StoredRun, process: str) -> xr.DataArray:
    """The error of a flow by outputs, [snapshot]."""
    return run.outputs["output_error"].sel(process=process)


def _ratio(error: Callable[[StoredRun, str], xr.DataArray]) -> Callable[[StoredRun, str], float]:
    """The median error of the stable flow from the onset on, over that of a flow; NaN where that is none."""

    def of(run: StoredRun, flow: str) -> float:
        both = (edge.errors(error(run, process), onset(run)).median for process in (BASELINE, flow))
        above, below = both
        return above / below if below > 0 else float("nan")

    return of
