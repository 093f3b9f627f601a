"""How much closer than the stable flow the rod flows stay to the discrete run."""

from collections.abc import Sequence

import numpy as np

from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.forest import Forest, Line, forest
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


_BASELINE = "stable"
_FILLED = "error_last"
_MARKS = {
    "error_last": "filled: at the last step",
    "error_mean": "open: geometric mean over the run",
}
_APART = 0.62  # inches between columns of text


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """One line an optimizer and model: error of the stable flow over that of each other flow."""
    flows = dict.fromkeys(
        process for run in runs for process in run.processes if process not in (DISCRETE, _BASELINE)
    )
    numbers = Numbers()
    with styled():
        chart = forest(runs)
        axes = chart.axes
        axes.set_xscale("log")
        axes.axvline(1, **REFERENCE)
        for line in chart.lines:
            _draw_line(chart, line, list(flows), numbers)
        axes.set_xlabel("tracking error of the stable flow / of the flow marked")
        for index, flow in enumerate(flows):
            style = process_style(flow)
            chart.write_head(_offset(index), style.short, color=style.color, fontweight="bold")
        if flows:
            heading = "at the last step"
            chart.write_head(_offset(len(flows) - 1), heading, color=FAINT, line=1)
        chart.key(list(flows), _MARKS["error_last"], _MARKS["error_mean"])
        chart.fit()
    table = numbers.table()
    return Drawing(
        chart.figure,
        table,
        medians(
            table,
            "error_last_stable_over_flow",
            "the stable flow's last tracking error over that of the flow",
        ),
    )


def _offset(column: int) -> float:
    """Right edge of a column of text, inches beside the panel."""
    return _APART * (column + 1.3)


def _draw_line(chart: Forest, line: Line, flows: Sequence[str], numbers: Numbers) -> None:
    failures: list[str] = []
    for column, flow in enumerate(flows):
        style = process_style(flow)
        shift = 0.12 - 0.24 * column / max(len(flows) - 1, 1)
        last = []
        for run, height in zip(line.runs, line.spread, strict=True):
            if not {flow, _BASELINE} <= {*run.processes}:
                continue
            ended = {process: run.status(process) for process in (DISCRETE, _BASELINE, flow)}
            if failed := {k: status for k, status in ended.items() if status != COMPLETED}:
                # Errors of a flow that ended early belong to other steps.
                failures += [f"{process_style(k).label} {status}" for k, status in failed.items()]
                continue
            for name in _MARKS:
                errors = run.comparison[name]
                ratio = float(errors.sel(process=_BASELINE) / errors.sel(process=flow))
                if not np.isfinite(ratio):
                    continue
                numbers.add(run, flow, f"{name}_stable_over_flow", ratio)
                chart.axes.plot(
                    ratio,
                    height + shift,
                    marker=process_marker(flow),
                    markersize=4.5,
                    linestyle="none",
                    color=style.color,
                    markerfacecolor=style.color if name == _FILLED else "white",
                    label=f"{flow} {name}",
                    zorder=3 if name == _FILLED else 2.9,
                )
                if name == _FILLED:
                    last.append(ratio)
        if last:
            text = two_digits(np.exp(np.mean(np.log(last))))
            chart.write(_offset(column), line.height, text, color=style.color)
    if failures:
        text = "; ".join(dict.fromkeys(failures))
        chart.write(-0.06, line.height, text, room=False, color="#595959")
