"""How much closer than the stable flow the rod flows stay to the discrete run, in outputs and in weights."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from rodflow.analysis import edge
from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.forest import Forest, Line, forest
from rodflow.figures.core.rows import onset, tracking_error
from rodflow.figures.core.style import (
    FAINT,
    REFERENCE,
    Drawing,
    Numbers,
    process_marker,
    process_style,
    styled,
    two_digits,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

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

_BASELINE = "stable"
_FILLED = "outputs"
_MARKS = {"outputs": "filled: by outputs", "weights": "open: by weights"}
_APART = 0.62  # inches between columns of text


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One line an optimizer and model: error of the stable flow over that of each other flow."""
    flows = [
        *dict.fromkeys(p for run in runs for p in run.processes if p not in (DISCRETE, _BASELINE))
    ]
    numbers = Numbers()
    with styled():
        chart = forest(runs)
        chart.axes.set_xscale("log")
        chart.axes.axvline(1, **REFERENCE)
        for line in chart.lines:
            _draw_line(chart, line, flows, numbers)
        chart.axes.set_xlabel("median error of the stable flow / of the flow marked")
        for index, flow in enumerate(flows):
            style = process_style(flow)
            chart.write_head(_offset(index), style.short, color=style.color, fontweight="bold")
        if flows:
            chart.write_head(_offset(len(flows) - 1), "by outputs", color=FAINT, line=1)
        chart.key(flows, _MARKS["outputs"], _MARKS["weights"])
        chart.fit()
    table = numbers.table()
    what = "the stable flow's error over that of the flow, by outputs"
    return Drawing(chart.figure, table, medians(table, "outputs_stable_over_flow", what))


def _offset(column: int) -> float:
    """Right edge of a column of text, inches beside the panel."""
    return _APART * (column + 1.3)


def _silence(run: StoredRun, flow: str) -> str:
    """Why a run says nothing about a flow; "" if it does."""
    ended = {process: run.status(process) for process in (DISCRETE, _BASELINE, flow)}
    failed = [f"{process_style(p).label} {how}" for p, how in ended.items() if how != COMPLETED]
    if failed:
        return "; ".join(failed)
    if not run.has("outputs"):
        return "no outputs"
    status = str(run.outputs.attrs["status"])
    if status != COMPLETED:
        return status.split(":")[0]
    return "" if np.isfinite(onset(run)) else "threshold never reached"


def _error(run: StoredRun, process: str, where: str) -> xr.DataArray:
    """The error of a flow by outputs or by weights, [snapshot]."""
    if where == "outputs":
        return run.outputs["output_error"].sel(process=process)
    return tracking_error(run, process)


def _draw_line(chart: Forest, line: Line, flows: Sequence[str], numbers: Numbers) -> None:
    silent: list[str] = []
    for column, flow in enumerate(flows):
        style = process_style(flow)
        shift = 0.12 - 0.24 * column / max(len(flows) - 1, 1)
        by_outputs = []
        for run, height in zip(line.runs, line.spread, strict=True):
            if not {flow, _BASELINE} <= {*run.processes}:
                continue
            if why := _silence(run, flow):
                silent.append(why)
                continue
            for where in _MARKS:
                both = (_error(run, process, where) for process in (_BASELINE, flow))
                above, below = (edge.errors(error, onset(run)).median for error in both)
                if not (below > 0 and np.isfinite(above / below)):
                    continue
                numbers.add(run, flow, f"{where}_stable_over_flow", above / below)
                chart.axes.plot(
                    above / below,
                    height + shift,
                    marker=process_marker(flow),
                    markersize=4.5,
                    linestyle="none",
                    color=style.color,
                    markerfacecolor=style.color if where == _FILLED else "white",
                    label=f"{flow} {where}",
                    zorder=3 if where == _FILLED else 2.9,
                )
                if where == _FILLED:
                    by_outputs.append(above / below)
        if by_outputs:
            text = two_digits(np.exp(np.mean(np.log(by_outputs))))
            chart.write(_offset(column), line.height, text, color=style.color)
    if silent:
        text = "; ".join(dict.fromkeys(silent))
        chart.write(-0.06, line.height, text, room=False, color="#595959")
