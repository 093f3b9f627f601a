"""How well the flows follow an optimizer as its hyperparameters change.

The first run is the base. One column a hyperparameter, with the base and the runs that differ from
it in that one alone; below, maps of two hyperparameters at once where runs differ in both.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rodflow.config.declarations import ALONG_RUNS, FigureEntry
from rodflow.figures.core.findings import medians, share_within
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import TOLERANCE, mark_threshold
from rodflow.figures.core.panels import empty_figure, fit, page
from rodflow.figures.core.style import (
    BAND,
    FAINT,
    Drawing,
    Numbers,
    ProcessStyle,
    hyperparameters,
    key,
    model_label,
    note,
    optimizer_label,
    process_marker,
    process_style,
    styled,
)
from rodflow.figures.rod_flow.hyperparameter_maps import draw_maps
from rodflow.figures.rod_flow.hyperparameter_points import (
    STABLE,
    TITLES,
    Point,
    cells_of,
    comparable,
    gain,
    rod_flows,
    varied_in,
)
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="sweep",
    needs=ALONG_RUNS,
    order=15,
    caption=r"""
*Claim*: the sharpness stays in the band for all hyperparameters, and the rod flow is nearer than the stable
flow by a factor of ten or more; where it is not, the model is at its limits.

How good the models are as the hyperparameters of one optimizer change: one column for each of them, in which
the grey stripe marks the base and the other runs differ from it in that one alone; the learning rate is on a
logarithmic axis, decays are logarithmic in :math:`1 - \beta`. First row: the tracking error of the flows, that
is the distance of a flow's centre from the midpoint of the iterates over the distance travelled since
:math:`t_0`, at the last step (filled) and as geometric mean over the run (open). Second row: the preconditioned
sharpness over the stability threshold in the last quarter of the run; dots are the time average of the discrete
run, bars go from its lowest to its highest value, squares are the average of the rod flow, and the numbers at
the upper edge that of the stable flow where it lies far above (otherwise a triangle). The band is ±10%. The
threshold itself depends on the momentum: :math:`\eta S = 2(1+\beta_1)/(1-\beta_1)` for Adam and its scalar
variant, and is written below each value. Third row: the first step after :math:`t_0` at which the sharpness
reaches the threshold, of the discrete run and as predicted by the flows. All but the step are dimensionless.
Where runs differ from the base in two hyperparameters, maps below the columns show the last error of the rod
flow, the stable flow's error over it, and the sharpness of the discrete run. A process that diverged has no
mark, and neither has what was compared with it; words in their place say so, as where the threshold was not
reached.

Numbers come from the ``comparison.nc`` and the sharpness stage of each run; ``hyperparameters_{part}.csv`` has
all of them, each named after what its run changes.
""",
)


_AVERAGE = "the time average of the run is within 10% of the threshold"
_DECAYS = ("momentum", "b1", "b2")
_ROWS = ("tracking error", "sharpness / threshold", "onset [optimizer step]")
_HIGHEST = 1.4  # of the stable flow's sharpness over threshold that has a mark, beyond a number

_ERRORS = {"error_last": True, "error_mean": False}  # which of them has filled marks

_TALL, _MAP = (1.15, 1.15, 1.15), 1.0  # inches
_MAPS = 3  # side by side


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """Columns of single hyperparameters, and maps of pairs; runs of another optimizer are left out.

    Args:
        runs: the base, then those with other hyperparameters of the same model and optimizer.
    """
    points = comparable(runs)
    flows = [
        process
        for process in runs[0].processes
        if process != DISCRETE and all(process in point.run.processes for point in points)
    ]
    keys = varied_in(points, 1) or ["learning_rate"]
    pairs = [*combinations(varied_in(points, 2), 2)]
    maps = [(pair, cells) for pair in pairs if (cells := cells_of(points, pair))]
    numbers = Numbers()
    for point in points:
        _enter(point, flows, numbers)
    tall = [*_TALL, *[_MAP] * len(maps)]
    with styled():
        figure, columns, below = _figure(tall, len(keys))
        for key, column in zip(keys, columns, strict=True):
            _draw_column(column, key, points, flows)
        _share_heights(columns)
        for row, (pair, cells) in zip(below, maps, strict=True):
            draw_maps(row, pair, cells, flows)
        _head(figure, points, flows)
        fit(figure, [*columns[0], *(row[0] for row in below)], tall)
    table, limits = numbers.table(), (1 - TOLERANCE, 1 + TOLERANCE)
    errors = "the stable flow's last tracking error over that of the flow"
    found = [
        share_within(table[table["process"] == DISCRETE], "late_mean", *limits, _AVERAGE),
        medians(table, "error_last_stable_over_flow", errors),
    ]
    return Drawing(figure, table, " ".join(filter(None, found)))


def _figure(tall: Sequence[float], count: int) -> tuple[Figure, list[list[Axes]], list[list[Axes]]]:
    """An empty figure, its columns of single hyperparameters, and the rows of maps below."""
    wide = max(count, _MAPS)
    figure = empty_figure(page(wide), tall)
    grid = figure.add_gridspec(len(tall), wide, height_ratios=tall)
    columns = [
        [figure.add_subplot(grid[row, column]) for row in range(len(_TALL))]
        for column in range(count)
    ]
    rows = range(len(_TALL), len(tall))
    return figure, columns, [[figure.add_subplot(grid[r, c]) for c in range(_MAPS)] for r in rows]


def _enter(point: Point, flows: Sequence[str], numbers: Numbers) -> None:
    """Every number of a run, in the table, under its name."""

    def add(process: str, quantity: str, value: float) -> None:
        if np.isfinite(value):
            numbers.add(point.run, process, f"{quantity}[{point.name}]", value)

    add(DISCRETE, "threshold", point.run.threshold)
    for process in (DISCRETE, *flows):
        for quantity in (*_ERRORS, "late_mean", "onset"):
            add(process, quantity, point.number(quantity, process))
    for quantity in ("late_lowest", "late_highest"):
        add(DISCRETE, quantity, point.number(quantity, DISCRETE))
    for flow in rod_flows(flows):
        add(flow, "error_last_stable_over_flow", gain(point, flow))


def _place(key: str, value: float) -> float:
    """Where a value stands on its axis: logarithmic, of a decay in 1 - b."""
    return float(-np.log10(1 - value) if key in _DECAYS else np.log10(value))


def _draw_column(
    column: Sequence[Axes], key: str, points: Sequence[Point], flows: Sequence[str]
) -> None:
    """Errors, sharpness and onset against one hyperparameter."""
    alone = sorted(
        (point for point in points if {*point.changed} <= {key}), key=lambda point: point.value(key)
    )
    values = dict.fromkeys(point.value(key) for point in alone)
    places = [_place(key, value) for value in values]
    room = 0.18 * (np.ptp(places) or 1)
    for axes in column:
        axes.set_xlim(min(places) - room, max(places) + room)
        axes.axvline(_place(key, points[0].value(key)), color=BAND, linewidth=9, zorder=0)
        axes.set_xticks(places, labels=[])
    errors, sharpness, onset = column
    _draw_errors(errors, key, alone, flows)
    _draw_sharpness(sharpness, key, alone, flows)
    _draw_onset(onset, key, alone, flows)
    errors.set_title(TITLES.get(key, key), pad=12)
    where = ("data", "axes fraction")
    base = _place(key, points[0].value(key)), 1.0
    note(errors, "base", base, coordinates=where, shift=(0, 2), ha="center", **_SMALL)
    limits = {point.value(key): f"{point.run.threshold:.3g}" for point in alone}
    onset.set_xticks(places, labels=[f"{value:g}\n{limits[value]}" for value in values])
    _state_failures(errors, key, alone, flows)


def _draw_errors(axes: Axes, key: str, points: Sequence[Point], flows: Sequence[str]) -> None:
    axes.set_yscale("log")
    for flow in flows:
        for name, filled in _ERRORS.items():
            _plot(axes, key, points, flow, name, filled=filled)


def _draw_sharpness(axes: Axes, key: str, points: Sequence[Point], flows: Sequence[str]) -> None:
    mark_threshold(axes, linewidth=0.6, linestyle="-")
    style = process_style(DISCRETE)
    for point in points:
        ends = [point.number(f"late_{end}", DISCRETE) for end in ("lowest", "highest")]
        x = [_place(key, point.value(key))] * 2
        axes.plot(x, ends, color=style.color, linewidth=3, zorder=2, label="range")
    for process in (DISCRETE, *rod_flows(flows)):
        _plot(axes, key, points, process, "late_mean", filled=process == DISCRETE)
    if STABLE not in flows:
        return
    far = [point for point in points if point.number("late_mean", STABLE) > _HIGHEST]
    near = [point for point in points if point not in far]
    if near:
        _plot(axes, key, near, STABLE, "late_mean", filled=False)
    for point in far:
        text = f"{point.number('late_mean', STABLE):.2g} \u2191"
        place, where = (_place(key, point.value(key)), 1.0), ("data", "axes fraction")
        color = process_style(STABLE).text_color
        font = _SMALL | {"color": color, "ha": "center", "va": "top"}
        note(axes, text, place, coordinates=where, shift=(0, -1), **font)


def _draw_onset(axes: Axes, key: str, points: Sequence[Point], flows: Sequence[str]) -> None:
    for process in (DISCRETE, *flows):
        _plot(axes, key, points, process, "onset", filled=process == DISCRETE)
    for point in points:
        missing = [
            (process_style(process), "threshold\nnot reached")
            for process in (DISCRETE, *flows)
            if point.run.status(process) == COMPLETED
            and not np.isfinite(point.run.comparison["onset"].sel(process=process))
        ]
        _say(axes, _place(key, point.value(key)), missing)


def _plot(
    axes: Axes, key: str, points: Sequence[Point], process: str, quantity: str, *, filled: bool
) -> None:
    """Marks of all runs, and a line through those of the first seed of each value."""
    style = process_style(process)
    marked = [(point.value(key), point.number(quantity, process)) for point in points]
    x = [_place(key, value) for value, _ in marked]
    first = {value: number for value, number in reversed(marked)}
    path = sorted((_place(key, value), number) for value, number in first.items())
    color = style.text_color
    axes.plot(
        *zip(*path, strict=True), label="_path", color=color, linewidth=0.6, alpha=0.6, zorder=2.5
    )
    axes.plot(
        x,
        [number for _, number in marked],
        linestyle="none",
        marker=process_marker(process),
        markersize=4 if filled else 4.5,
        color=color,
        markerfacecolor=color if filled else "none",
        markeredgewidth=0.9,
        label=f"{process} {quantity}",
        zorder=3,
    )


def _state_failures(axes: Axes, key: str, points: Sequence[Point], flows: Sequence[str]) -> None:
    """In words, at their place, which processes did not complete."""
    for point in points:
        failed = [
            (style, f"{style.short} {status.split(':')[0]}".replace(" at ", "\nat "))
            for process in (DISCRETE, *flows)
            if (status := point.run.status(process)) != COMPLETED
            for style in [process_style(process)]
        ]
        _say(axes, _place(key, point.value(key)), failed)


def _say(axes: Axes, place: float, words: Sequence[tuple[ProcessStyle, str]]) -> None:
    """Upright words side by side at a value of the hyperparameter."""
    for index, (style, text) in enumerate(words):
        note(
            axes,
            text,
            (place, 0),
            coordinates=("data", "axes fraction"),
            shift=(16 * (index - (len(words) - 1) / 2), 3),
            rotation=90,
            room=False,
            ha="center",
            va="bottom",
            fontsize=6,
            color=style.text_color,
        )


def _share_heights(columns: Sequence[Sequence[Axes]]) -> None:
    """One vertical axis a row, written at its left end."""
    rows = [*zip(*columns, strict=True)]
    errors, sharpness, onset = (_range(row) for row in rows)
    low, high = min(sharpness[0], 1 - TOLERANCE), max(sharpness[1], 1 + TOLERANCE)
    limits = [
        (errors[0] / 1.6, errors[1] * 1.6),
        (low - 0.05 * (high - low), high + 0.25 * (high - low)),
        (0, 1.15 * onset[1]),
    ]
    for row, limit, title in zip(rows, limits, _ROWS, strict=True):
        for axes in row:
            axes.set_ylim(limit)
            axes.tick_params(labelleft=axes is row[0])
        row[0].set_ylabel(title)


def _range(row: Sequence[Axes]) -> tuple[float, float]:
    """The lowest and the highest value of the marks in these panels."""
    marks = [
        line for axes in row for line in axes.lines if not str(line.get_label()).startswith("_")
    ]
    values = np.concatenate([np.ones(0), *(np.asarray(line.get_ydata(), float) for line in marks)])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.5, 2.0)


def _head(figure: Figure, points: Sequence[Point], flows: Sequence[str]) -> None:
    """Whose figure it is and what the marks are, once, above the panels."""
    base = points[0].run
    own = "base: " + ", ".join(hyperparameters(base))
    if beyond := sum(len(point.changed) > 2 for point in points):
        many = "run differs" if beyond == 1 else "runs differ"
        own += f"; {beyond} {many} in three or more: see the table"
    title = f"{optimizer_label(base.optimizer)}, {model_label(base.model)}\n{own}"
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=process_marker(process),
            markersize=4,
            color=process_style(process).text_color,
            label=process_style(process).label,
        )
        for process in (DISCRETE, *flows)
    ]
    open_mark: Look = {"markerfacecolor": "none", "markeredgewidth": 0.9, "color": FAINT}
    handles.append(
        Line2D(
            [], [], linestyle="none", marker="o", label="open, first row: mean error", **open_mark
        )
    )
    key(figure, handles, title=title)
    note(
        figure.axes[2],
        "threshold\nof $\\eta S$",
        (0, 0),
        shift=(-6, -9),
        ha="right",
        va="top",
        **_SMALL,
    )


_SMALL: Look = {"color": FAINT}
