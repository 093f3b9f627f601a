"""Gradient descent and gradient flow: close until the sharpness reaches the threshold, apart from then on.

One column a step size (and model and criterion), against time η (t - t0), seeds on top of each other.
The stable flow of gradient descent is gradient flow, with η as its unit of time.
Source: Cohen et al. 2021 (arXiv 2103.00065).
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from rodflow.config.declarations import ALONG_RUNS, FigureEntry, with_flow
from rodflow.errors import RodflowError
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import NOT_REACHED
from rodflow.figures.core.panels import columns_of_panels, fit, page
from rodflow.figures.core.rows import (
    loss,
    mark_end,
    onset,
    sharpness,
    show_on_log_scale,
    tracking_error,
)
from rodflow.figures.core.style import (
    BAND,
    DASHED,
    FAINT,
    THIN,
    Drawing,
    Numbers,
    error_words,
    key,
    note,
    note_lines,
    process_style,
    styled,
)
from rodflow.figures.core.sweeps import (
    by_problem,
    problem_label,
    step_size,
    sweep_name,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweeps",
    needs=ALONG_RUNS,
    order=17,
    runs=with_flow("stable"),
    caption=r"""
*Claim* (Cohen et al., arXiv 2103.00065): before the onset the two are one curve; after it they part, not at
once but when the oscillation has grown from its small beginning, and from then on gradient descent stays at the
threshold while the sharpness of the flow rises beyond it. The larger the step size, the earlier they part and
the farther they go.

Gradient descent (grey) and gradient flow (dashed) that starts from it at step :math:`t_0`, one column a step
size :math:`\eta`, against time :math:`\eta (t - t_0)`; everything is dimensionless. *Top*: the distance between
the flow and the midpoint of the iterates, divided by the distance that the midpoint has travelled since
:math:`t_0`; the numbers are its value at the onset (the first snapshot from there on) and at the end, geometric
means over the seeds. *Middle*: the sharpness divided by the threshold :math:`2/\eta`. *Bottom*: the loss, that
of gradient descent averaged over neighbouring steps. Shaded is the time before the onset (vertical dashes),
when the sharpness of gradient descent first reaches the threshold. The relative distance falls at first because
little has been travelled. A cross ends the curve of a process that diverged.

All of it comes from ``comparison.nc`` and, for the losses, the trajectories; ``eos_flow_comparison.csv`` has
every point drawn and the :math:`t_0` of each run.
""",
)


_OPTIMIZER, _FLOW = "gd", "stable"
_NAMES = {DISCRETE: "gradient descent", _FLOW: "gradient flow"}
_TITLES = ("relative distance", "sharpness / threshold", "loss")
_HIGHEST = 2.5  # of sharpness over threshold that is shown
_ROOM = 0.25  # for words below the distances, in heights of the axis

_TALL = (1.35, 1.2, 1.2)  # inches


class FlowError(RodflowError, ValueError):
    """There is no run to compare with gradient flow; the message is one line and says what to do."""


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A column for each step size: distance from gradient flow, sharpness of both, and losses of both.

    Args:
        runs: of any optimizer; those of gradient descent that have the stable flow are drawn.

    Raises:
        FlowError: there is none.
    """
    shown = [run for run in runs if run.optimizer == _OPTIMIZER and _FLOW in run.processes]
    if not shown:
        raise FlowError(
            "no run of gradient descent has its stable flow; add stable to its flows in the config"
        )
    columns = _columns(shown)
    several = len(by_problem(shown)) > 1
    numbers = Numbers()
    with styled():
        figure, grid = columns_of_panels(_TALL, len(columns), width=page(len(columns), narrow=1.45))
        for own, column in zip(columns, grid, strict=True):
            for run in own:
                _draw_run(column, run, sweep_name(run, shown), numbers)
            title = f"$\\eta$ = {step_size(own[0]):g}"
            if several:
                title = problem_label(own[0]).replace(", ", ",\n") + f"\n{title}"
            column[0].set_title(title, pad=13)
        _set_limits(grid, columns)
        for own, column in zip(columns, grid, strict=True):
            _mark_onsets(column, own)
            _mark_ends(column, own)
            _write_numbers(column, own)
        _key(figure, "" if several else problem_label(shown[0]))
        fit(figure, grid[0], _TALL)
    table = numbers.table()
    shows = medians(table, "error_last", "the last tracking error")
    return Drawing(figure, table, shows)


def _columns(shown: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each model, criterion and step size, one a seed."""
    columns: list[list[StoredRun]] = []
    for group in by_problem(shown):
        sizes: dict[float, list[StoredRun]] = {}
        for run in group:
            sizes.setdefault(step_size(run), []).append(run)
        columns += sizes.values()
    return columns


def _time(run: StoredRun, steps: np.ndarray | float) -> np.ndarray:
    """Time of gradient flow since it started from the run."""
    return step_size(run) * (np.asarray(steps, np.float64) - run.settings["start"])


def _draw_run(column: Sequence[Axes], run: StoredRun, name: str, numbers: Numbers) -> None:
    """Everything that is drawn of a run, entered in the table with what its times are made from."""

    def plot(axes: Axes, process: str, quantity: str, values: xr.DataArray) -> None:
        values = values.where(np.isfinite(values), drop=True)
        values = values.sel(snapshot=slice(run.settings["start"], None))
        steps, heights = values["snapshot"].values, values.values.astype(float)
        axes.plot(_time(run, steps), heights, label=process, **process_style(process).line)
        numbers.add(run, process, f"{quantity}[{name}]", heights, steps)

    distance, ratio, losses = column
    numbers.add(run, DISCRETE, f"start[{name}]", run.settings["start"])
    plot(distance, _FLOW, "tracking_error", tracking_error(run, _FLOW))
    for process in (DISCRETE, _FLOW):
        plot(ratio, process, "sharpness_over_threshold", sharpness(run, process))
        began = run.series(process).sizes["step"] > 0
        none = sharpness(run, process).isel(snapshot=slice(0, 0))
        plot(losses, process, "loss", loss(run, process) if began else none)
    if np.isfinite(reached := onset(run)):
        numbers.add(run, DISCRETE, f"onset[{name}]", reached)
    for quantity, value in _errors(run).items():
        numbers.add(run, _FLOW, f"{quantity}[{name}]", value)


def _errors(run: StoredRun) -> dict[str, float]:
    """The distance from gradient flow at the onset, and at the end; nothing of what there is not."""
    error = tracking_error(run, _FLOW).dropna("snapshot")
    found = {}
    if (
        np.isfinite(reached := onset(run))
        and (later := error.sel(snapshot=slice(reached, None))).size
    ):
        found["error_onset"] = float(later[0])
    if error.size:
        found["error_last"] = float(error[-1])
    return found


def _set_limits(grid: Sequence[Sequence[Axes]], columns: Sequence[Sequence[StoredRun]]) -> None:
    """The same axes in a row, of time from the start to the end of the plan; runaways leave through the top."""
    for row, title in enumerate(_TITLES):
        panels = [column[row] for column in grid]
        settled = [_settled(axes, own, row) for axes, own in zip(panels, columns, strict=True)]
        values = np.concatenate([np.ones(0), *settled])
        for axes in panels:
            if row == 1:
                highest = 1.05 * max(1.3, values.max(initial=0))
                axes.set_ylim(0, min(highest, _HIGHEST))
                axes.yaxis.set_major_locator(MultipleLocator(0.5))
                axes.axhline(1, **THIN)
            else:
                show_on_log_scale(axes, values)
                if row == 0:
                    low, high = axes.get_ylim()
                    axes.set_ylim(low * (low / high) ** _ROOM, high)
            axes.tick_params(labelleft=axes is panels[0], labelbottom=row == len(_TITLES) - 1)
        panels[0].set_ylabel(title)
    for own, column in zip(columns, grid, strict=True):
        end = max(float(_time(run, run.settings["steps"])) for run in own)
        for axes in column:
            axes.set_xlim(0, end)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        column[-1].set_xlabel("time $\\eta\\,(t-t_0)$")


def _settled(axes: Axes, own: Sequence[StoredRun], row: int) -> np.ndarray:
    """What is drawn in a panel, but for what a diverged run does far from where it began."""
    diverged = any(run.status(process) != COMPLETED for run in own for process in (DISCRETE, _FLOW))
    values = [np.asarray(line.get_ydata(), float) for line in axes.lines]
    if diverged and row != 1:
        values = [each[each <= 10 * each[0]] for each in values if each.size]
    return np.concatenate([np.ones(0), *values])


def _onsets(own: Sequence[StoredRun]) -> list[float]:
    """The times at which the runs of a column reach the threshold, of those that do."""
    return [float(_time(run, onset(run))) for run in own if np.isfinite(onset(run))]


def _mark_onsets(column: Sequence[Axes], own: Sequence[StoredRun]) -> None:
    """Where gradient descent reaches the threshold, and the time before that as an area."""
    times = _onsets(own)
    for axes in column:
        if times:
            axes.axvspan(0, min(times), color=BAND, linewidth=0, zorder=0)
        for time in times:
            look: Look = {
                "color": FAINT,
                "linewidth": 0.7,
                "linestyle": DASHED,
                "zorder": 1,
            }
            axes.axvline(time, label="onset", **look)
    if times:
        where = ("data", "axes fraction")
        words = "onset" if min(times) > 0 else "onset at the start"
        late = min(times) > 0.8 * column[0].get_xlim()[1]
        side, shift = ("right", 1) if late else ("left", -1)
        place = (min(times), 1.0)
        note(
            column[0], words, place, coordinates=where, shift=(shift, 2), ha=side,
            color=FAINT
        )  # fmt: skip


def _mark_ends(column: Sequence[Axes], own: Sequence[StoredRun]) -> None:
    """A cross where a curve ends because its process diverged."""
    for axes in column:
        for process in _NAMES:
            curves = [line for line in axes.lines if line.get_label() == process]
            for run, curve in zip(own, curves, strict=False):
                time, values = np.asarray(curve.get_xdata()), np.asarray(curve.get_ydata())
                if run.status(process) != COMPLETED and values.size:
                    mark_end(axes, process, float(time[-1]), float(values[-1]))


def _write_numbers(column: Sequence[Axes], own: Sequence[StoredRun]) -> None:
    """Distances at the onset and at the end, geometric means over the seeds; in words what did not happen."""
    found = [_errors(run) for run in own]
    color = process_style(_FLOW).text_color
    texts = []
    for quantity, words in (("error_last", "at the end"), ("error_onset", "at the onset")):
        values = [errors[quantity] for errors in found if errors.get(quantity, 0) > 0]
        if values:
            mean = float(np.exp(np.mean(np.log(values))))
            texts.append((f"{error_words(mean)} {words}", color))
    times = _onsets(own)
    if not times:
        texts.append((NOT_REACHED, FAINT))
    left = max(times, default=0.0) > 0.5 * column[0].get_xlim()[1]  # not across its line
    at, away, side = (0, 3, "left") if left else (1, -2, "right")
    for line, (text, shade) in reversed([*enumerate(texts)]):
        shift = (away, 3 + 8 * line)
        note(column[0], text, (at, 0), shift=shift, ha=side, color=shade, room=False)
    failed = dict.fromkeys(
        (_NAMES[process], status.split(":")[0], process_style(process).text_color)
        for run in own
        for process in (DISCRETE, _FLOW)
        if (status := run.status(process)) != COMPLETED
    )
    note_lines(column[2], [(w, shade) for name, end, shade in failed for w in (end, name)])


def _key(figure: Figure, problem: str) -> None:
    """What the lines are, and what is trained if that is the same in all columns."""
    handles = [
        Line2D([], [], **{**process_style(process).line, "label": name})
        for process, name in _NAMES.items()
    ]
    key(figure, handles, title=problem)
