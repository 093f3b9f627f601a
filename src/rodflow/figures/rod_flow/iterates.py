"""Single iterates predicted one by one, phase included, by a rod flow restarted at the edge.

One row an optimizer and model: the first and the last steps along the leading eigenvector, and the
iterate error ||Z + (-1)^t X - w_t|| / ||X_w|| over time. Runs without stored iterates say so.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from rodflow.config.declarations import FigureEntry
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.rows import describe_run, write_left
from rodflow.figures.core.style import (
    DASHED,
    FAINT,
    INK,
    REFERENCE,
    Drawing,
    Numbers,
    key,
    model_label,
    note,
    process_style,
    styled,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=("comparison", "trajectories", "iterates"),
    order=9,
    caption=r"""
*Claim* (after Regis and Chewi, arXiv 2605.06821): the flow predicts not only an average but the iterates, phase
included, to a few per cent of the rod, for as long as the rod stays long. Where a rod shrinks to nothing, the
error is divided by next to nothing and the next rod grows from what rounding left, so that phase and timing may
be lost.

Single iterates on the model ``{part}`` and their prediction :math:`Z + (-1)^t X` by the rod flow in unit steps,
which was started once more from three consecutive iterates at the step named on the left, where the sharpness
is the given fraction of the threshold and the rod is measured instead of seeded by noise. *Left* and *middle*:
the position along the leading eigenvector at the restart, :math:`v \cdot P^{1/2} (w - w_{\text{restart}})`,
step by step in the first and in the last 40 steps; dots are the optimizer's own iterates, the thin line joins
the predicted ones. "In phase" counts the steps at which both swing to the same side of the line through their
neighbours, among those at which the iterates swing by at least 1/10000 of their largest swing after the
restart. *Right*: the iterate error :math:`\|Z + (-1)^t X - w_t\| / \|X_w\|` (broad line), which is 1 for the
centre alone (dots), the rod length over that at the restart (thin), and the line at 5%; above the panel for how
many steps from the restart on the error stays below it without a break. Everything is dimensionless. A run that
never reached its threshold, or is below nine tenths of it at a restart that the config names, says so.

All numbers are read from ``iterates.nc`` (replay stage); ``iterates_{part}.csv`` has every point drawn.
""",
)


WINDOW = 40
"""How many steps are shown one by one."""

TOLERANCE = 0.05
"""The iterate error up to which an iterate counts as predicted."""

OSCILLATES = 1e-4
"""An iterate oscillates from this fraction of the largest oscillation after the restart on."""

_FLOW = "rod_unit_step"
_GREY = "#595959"

_PANEL, _EMPTY = 0.9, 0.35  # inches: the height of a row, and of one without iterates


def stored_iterates(run: StoredRun) -> xr.Dataset | None:
    """The iterates of a run step by step; None if it has none."""
    return run.iterates if run.has("iterates") else None


def oscillation(values: np.ndarray) -> np.ndarray:
    """How far each value but the first and last is from the line through its neighbours, halved, [step - 2].

    (2 y_t - y_{t-1} - y_{t+1}) / 4, the half-extent with its sign: docs/theory.md, section 3.
    """
    return (2 * values[1:-1] - values[:-2] - values[2:]) / 4


def steps_in_phase(actual: np.ndarray, predicted: np.ndarray, least: float) -> tuple[int, int]:
    """At how many steps the two oscillate to the same side, and how many were compared.

    Compared are those at which the actual oscillation is at least `least`: where it has died out,
    what remains is the curvature of the path.

    Args:
        actual, predicted: values at the same consecutive steps, [step].
        least: a half-extent, in the unit of the values.
    """
    swing = oscillation(actual)
    compared = np.abs(swing) >= least
    same = swing * oscillation(predicted) > 0
    return int((same & compared).sum()), int(compared.sum())


def steps_predicted(error: np.ndarray) -> int:
    """How many steps pass before the iterate error is first above the tolerance, or is not finite."""
    above = np.flatnonzero(~(error <= TOLERANCE))
    return int(above[0]) if above.size else error.size


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one row an optimizer (and model, if there are several), seeds in rows of their own."""
    numbers = Numbers()
    several = len({run.model for run in runs}) > 1
    seeds = len({run.seed for run in runs}) > 1
    with styled():
        tall = [_PANEL if _has_steps(run) else _EMPTY for run in runs]
        figure, rows = rows_of_panels(tall, 3)
        for row, (line, run) in enumerate(zip(rows, runs, strict=True)):
            which = [model_label(run.model)] * several + [f"seed {run.seed}"] * seeds
            describe_run(line[0], run, *which)
            _draw_row(line, run, numbers)
            if row == 0:
                _name_columns(line)
        for axes in rows[-1]:
            axes.set_xlabel("optimizer step")
        _key(figure)
        fit(figure, [row[0] for row in rows], tall)
    table = numbers.table()
    shows = medians(table, "steps_predicted", "the number of steps predicted within 5%")
    return Drawing(figure, table, shows)


def _has_steps(run: StoredRun) -> bool:
    data = stored_iterates(run)
    return data is not None and data.sizes["step"] > 0


def _name_columns(line: Sequence[Axes]) -> None:
    along = "along the eigenvector,\n"
    titles = (f"{along}first {WINDOW} steps", f"{along}last {WINDOW} steps", "iterate error")
    for axes, title in zip(line, titles, strict=True):
        axes.set_title(title, pad=24)


def _draw_row(line: Sequence[Axes], run: StoredRun, numbers: Numbers) -> None:
    """One run, or why there is nothing to be seen of it."""
    data = stored_iterates(run)
    failures = []
    if run.status(DISCRETE) != COMPLETED:
        failures.append(f"{process_style(DISCRETE).label} {run.status(DISCRETE)}")
    if data is None:
        failures.append("no iterates stored")
    elif data.attrs["status"] != COMPLETED:
        failures.append(data.attrs["status"])
    if data is None or not data.sizes["step"]:
        for axes in line:
            axes.patch.set_visible(False)  # the words go on over the next panel
            for spine in axes.spines.values():
                spine.set_visible(False)
            axes.set_xticks([])
            axes.set_yticks([])
        text = "; ".join(failures)
        note(line[0], text, (0, 1), va="top", color=_GREY, room=False)
        return
    first = data.isel(step=slice(None, WINDOW))
    last = data.isel(step=slice(-WINDOW, None))
    least = OSCILLATES * np.max(np.abs(oscillation(data["actual"].values)), initial=0)
    for name, axes, window in (("first", line[0], first), ("last", line[1], last)):
        _draw_window(axes, run, window, name, least, numbers)
    _draw_error(line[2], run, data, numbers)
    ratio = float(data.attrs["sharpness_over_threshold"])
    numbers.add(run, DISCRETE, "sharpness_over_threshold", ratio, [int(data.attrs["restart"])])
    text = f"from step {int(data.attrs['restart'])},\nat {ratio:.2f} of threshold"
    write_left(line[0], text, at=0, va="bottom", color=_GREY)
    if failures:
        color = process_style(_FLOW).text_color
        note(line[2], "; ".join(failures), (0, 0), shift=(3, 3), color=color, room=False)


def _draw_window(
    axes: Axes, run: StoredRun, window: xr.Dataset, name: str, least: float, numbers: Numbers
) -> None:
    """Actual and predicted iterates one by one, and at how many steps their phases agree."""
    steps = window["step"].values
    for process, quantity, look in _LOOKS:
        values = window[quantity].values.astype(float)
        axes.plot(steps, values, label=f"{process} {quantity}", **look)
        numbers.add(run, process, f"{quantity}_{name}", values, steps)
    axes.margins(x=0.02, y=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="y", scilimits=(-2, 3), useMathText=True)
    in_phase, compared = steps_in_phase(window["actual"].values, window["predicted"].values, least)
    for quantity, value in {"steps_in_phase": in_phase, "steps_compared": compared}.items():
        numbers.add(run, _FLOW, f"{quantity}_{name}", value)
    text = f"in phase: {in_phase} of {compared}, by chance {compared / 2:g}"
    text = text if compared else "no oscillation left"
    note(axes, text, (1, 1), shift=(0, 12), ha="right")  # above the power of ten


def _draw_error(axes: Axes, run: StoredRun, data: xr.Dataset, numbers: Numbers) -> None:
    """Iterate error and rod length over time, and for how long the error is small."""
    axes.set_yscale("log")
    length = data["rod_length"] / float(data["rod_length"][0])
    curves = {
        "iterate_error": (data["iterate_error"], process_style(_FLOW).line | {"linestyle": "-"}),
        "rod_length_over_first": (length, {"color": FAINT, "linewidth": 0.8}),
    }
    for quantity, (values, look) in curves.items():
        values = values.where(np.isfinite(values) & (values > 0), drop=True)
        axes.plot(values["step"], values, label=quantity, **look)
        numbers.add(run, _FLOW, quantity, values, values["step"].values)
    axes.axhline(TOLERANCE, linestyle=DASHED, **REFERENCE, label="5%")
    axes.axhline(1, label="centre alone", **_CHANCE)
    axes.set_xlim(int(data["step"][0]), run.settings["steps"])
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    count = steps_predicted(data["iterate_error"].values)
    numbers.add(run, _FLOW, "steps_predicted", count)
    text = f"within 5% for {count} of {data.sizes['step']} steps"
    note(axes, text, (1, 1), shift=(0, 4), ha="right")


_COLOR = process_style(_FLOW).color
_CHANCE: Look = {"color": INK, "linewidth": 0.7, "linestyle": (0, (1, 1.5)), "zorder": 1}
_LOOKS: tuple[tuple[str, str, Look], ...] = (
    (
        DISCRETE,
        "actual",
        {
            "linestyle": "none",
            "marker": "o",
            "markersize": 4.2,
            "markeredgewidth": 0,
            "color": process_style(DISCRETE).color,
            "zorder": 2,
        },
    ),
    (
        _FLOW,
        "predicted",
        {
            "linewidth": 0.7,
            "marker": "o",
            "markersize": 1.8,
            "markeredgewidth": 0,
            "color": _COLOR,
            "zorder": 2.3,
        },
    ),
)


def _key(figure: Figure) -> None:
    """What dots and lines are, above the panels."""
    labels = ("iterates", f"predicted by the {process_style(_FLOW).label}")
    handles = [
        Line2D([], [], label=label, **look)
        for label, (_, _, look) in zip(labels, _LOOKS, strict=True)
    ]
    errors = process_style(_FLOW).line | {"linestyle": "-"}
    handles += [
        Line2D([], [], label="iterate error", **errors),
        Line2D([], [], color=FAINT, linewidth=0.8, label="rod length / that at the restart"),
        Line2D([], [], color=INK, linewidth=0.8, linestyle=DASHED, label="5%"),
        Line2D([], [], label="error of the centre alone", **_CHANCE),
    ]
    key(figure, handles)
