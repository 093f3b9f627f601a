"""How much closer than the stable flow the rod flows stay to the discrete run."""

from collections.abc import Callable, Sequence

from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.ratios import BASELINE, Measure, draw_ratios
from rodflow.figures.core.style import Drawing, Numbers, styled
from rodflow.store.results import StoredRun

FIGURE = FigureEntry(
    per="experiment",
    needs=("comparison",),
    order=3,
    caption=r"""
*Claim* (Regis and Chewi, arXiv 2605.06821): every mark lies to the right of the line at 1, where both flows
would be equally good.

How many times closer to the discrete run a rod flow stays than the stable flow: the tracking error of the
stable flow divided by that of the rod flow, as an ODE (diamonds) and in unit steps (squares). Filled marks, and
the numbers on the right, are at the last step; open marks divide the geometric means over the run. The ratio is
dimensionless. A run in which one of the processes diverged has no mark but says so.

Errors come from ``comparison.nc``; ``tracking_summary.csv`` has every number drawn.
""",
)


def _ratio(name: str) -> Callable[[StoredRun, str], float]:
    """Of a number of ``comparison.nc``, that of the stable flow over that of a flow."""

    def of(run: StoredRun, flow: str) -> float:
        errors = run.comparison[name]
        return float(errors.sel(process=BASELINE) / errors.sel(process=flow))

    return of


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One line an optimizer and model: error of the stable flow over that of each other flow."""
    numbers = Numbers()
    with styled():
        figure = draw_ratios(
            runs,
            numbers,
            Measure("error_last", "filled: at the last step", _ratio("error_last")),
            Measure("error_mean", "open: geometric mean over the run", _ratio("error_mean")),
            heading="at the last step",
            label="tracking error of the stable flow / of the flow marked",
        )
    table = numbers.table()
    what = "the stable flow's last tracking error over that of the flow"
    return Drawing(figure, table, medians(table, "error_last_stable_over_flow", what))
