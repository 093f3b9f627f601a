"""A chart of how many times closer than the stable flow other flows stay to the run.

Filled marks are by one measure, open ones by another, and the filled ones stand as numbers beside them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from rodflow.figures.core.forest import Forest, Line, forest
from rodflow.figures.core.style import (
    FAINT,
    REFERENCE,
    Numbers,
    process_marker,
    process_style,
    two_digits,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

BASELINE = "stable"

_APART = 0.62  # inches between columns of text


class Measure(NamedTuple):
    """A measure of distance from the run.

    Attributes:
        name: in the table, as "NAME_stable_over_flow".
        words: in the key.
        ratio: of a run, that of the stable flow over that of a flow; no mark where it is not finite.
    """

    name: str
    words: str
    ratio: Callable[[StoredRun, str], float]


def unfinished(run: StoredRun, flow: str) -> list[str]:
    """Which of the run, the stable flow and a flow did not complete, in words: their errors belong to other steps.

    Args:
        run, flow: the stored run, and which of its flows.
    """
    ended = {process: run.status(process) for process in (DISCRETE, BASELINE, flow)}
    return [f"{process_style(p).label} {how}" for p, how in ended.items() if how != COMPLETED]


def draw_ratios(
    runs: Sequence[StoredRun],
    numbers: Numbers,
    filled: Measure,
    empty: Measure,
    *,
    heading: str,
    label: str,
    silent: Callable[[StoredRun, str], list[str]] = unfinished,
) -> Figure:
    """One line an optimizer and model, one mark a flow and measure.

    Args:
        runs: with the stable flow, or they have no mark.
        numbers: the table.
        filled: what the filled marks and the numbers are.
        empty: what the open marks are.
        heading: above the numbers.
        label: of the axis.
        silent: why a run says nothing about a flow; [] if it does.
    """
    flows = [
        *dict.fromkeys(p for run in runs for p in run.processes if p not in (DISCRETE, BASELINE))
    ]
    chart = forest(runs)
    chart.axes.set_xscale("log")
    chart.axes.axvline(1, **REFERENCE)
    for line in chart.lines:
        _draw_line(chart, line, flows, numbers, (filled, empty), silent)
    chart.axes.set_xlabel(label)
    for column, flow in enumerate(flows):
        style = process_style(flow)
        chart.write_head(_offset(column), style.short, color=style.color, fontweight="bold")
    if flows:
        chart.write_head(_offset(len(flows) - 1), heading, color=FAINT, line=1)
    chart.key(flows, filled.words, empty.words)
    chart.fit()
    return chart.figure


def _offset(column: int) -> float:
    """Right edge of a column of text, inches beside the panel."""
    return _APART * (column + 1.3)


def _draw_line(
    chart: Forest,
    line: Line,
    flows: Sequence[str],
    numbers: Numbers,
    measures: tuple[Measure, Measure],
    silent: Callable[[StoredRun, str], list[str]],
) -> None:
    reasons: list[str] = []
    for column, flow in enumerate(flows):
        color = process_style(flow).color
        shift = 0.12 - 0.24 * column / max(len(flows) - 1, 1)
        written = []
        for run, height in zip(line.runs, line.spread, strict=True):
            if not {flow, BASELINE} <= {*run.processes}:
                continue
            if why := silent(run, flow):
                reasons += why
                continue
            for measure, filled in zip(measures, (True, False), strict=True):
                ratio = measure.ratio(run, flow)
                if not np.isfinite(ratio):
                    continue
                numbers.add(run, flow, f"{measure.name}_stable_over_flow", ratio)
                chart.axes.plot(
                    ratio,
                    height + shift,
                    marker=process_marker(flow),
                    markersize=4.5,
                    linestyle="none",
                    color=color,
                    markerfacecolor=color if filled else "white",
                    label=f"{flow} {measure.name}",
                    zorder=3 if filled else 2.9,
                )
                if filled:
                    written.append(ratio)
        if written:
            text = two_digits(np.exp(np.mean(np.log(written))))
            chart.write(_offset(column), line.height, text, color=color)
    if reasons:
        text = "; ".join(dict.fromkeys(reasons))
        chart.write(-0.06, line.height, text, room=False, color="#595959")
