"""Which curvature stays at a threshold: the loss's own for gradient descent, the preconditioned one for the others.

One column an optimizer (and model, if there are several), seeds on top of each other: the sharpness of the Hessian,
that of the preconditioned Hessian over its threshold, and the preconditioner. How much the first and the last change
from the onset on is written there; a run that diverged or never reaches its threshold says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rodflow.analysis import equilibrium
from rodflow.config.declarations import ALONG_RUNS, FigureEntry, of_optimizers
from rodflow.figures.core.findings import medians
from rodflow.figures.core.held import NOT_AT_EDGE, held, held_at_edge
from rodflow.figures.core.keywords import Look
from rodflow.figures.core.marks import (
    NOT_REACHED,
    band_key,
    cross,
    curve,
    diverged,
    mark_threshold,
    never_reached,
    threshold_key,
)
from rodflow.figures.core.panels import columns_of_panels, fit, page
from rodflow.figures.core.preconditioner import preconditioner_spread
from rodflow.figures.core.rows import by_row, onset, show_on_log_scale
from rodflow.figures.core.rows import sharpness as over_threshold
from rodflow.figures.core.style import (
    DASHED,
    FAINT,
    INK,
    Drawing,
    Numbers,
    end_labels,
    hyperparameters,
    key,
    model_label,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.store.results import DISCRETE, StoredRun

FIGURE = FigureEntry(
    per="model",
    needs=ALONG_RUNS,
    order=12,
    runs=of_optimizers("gd", "rmsprop", "adam", "adamw", "adam_frozen"),
    caption=r"""
*Claim* (Cohen et al., arXiv 2207.14484): each optimizer is held at the threshold of the middle row. For
gradient descent, where :math:`P = 1`, that also pins the curvature of the loss; under RMSProp and Adam it does not,
because the preconditioner goes on changing, and the curvature of the loss may rise or fall (a factor away from 1). In
the experiments of the paper it rises. Once the preconditioner is frozen it is pinned too.

Which curvature an optimizer holds, on the model ``{part}``: gradient descent and adaptive methods, seeds on top of
each other, against the optimizer step; everything is dimensionless. *Top*: the sharpness of the loss itself, the
largest eigenvalue of its Hessian :math:`H`; for gradient descent the line is its threshold :math:`2/\eta`. The
thick dashes are the straight line of least squares through its logarithms, from the onset (thin vertical
dashes) to the end of the run, and the number is the factor by which that line grows. *Middle*: the largest
eigenvalue of :math:`P^{-1/2} H P^{-1/2}` over its threshold, with its time average at the edge, from the
opening of the rod, of frozen Adam from the freezing, to the end of the run; the band is ±10%. *Bottom*: the
preconditioner :math:`P`, one number a weight: geometric mean (line, with the
factor by which it grows, taken as above) and quartiles over the weights. Weights whose second moment is 0
throughout are left out, as the panel says. Of AdamW and frozen Adam :math:`P` is the inverse of the critical gain,
which holds the learning rate. With several seeds the lowest and the highest number are written. A
run that diverged (cross) or never reaches its threshold says so and has no factors; nor has one an average whose rod
is closed for most of that time, which is not at the edge.

Sharpness is read from ``sharpness/``, the preconditioner from the second moment in the trajectory, as is the
rod, onset and ratio from ``comparison.nc``; ``aeos_curvature_{part}.csv`` has every point drawn.
""",
)


_TITLES = (
    "sharpness of\nthe Hessian",
    "preconditioned\nsharpness /\nthreshold",
    "preconditioner\n$P$",
)
_QUARTILES = "#d9d9d9"
_SOLID: Look = {"linewidth": 0.6, "linestyle": "-"}  # the line of the threshold
_LOWEST_TOP, _HIGHEST_TOP = 1.5, 2.1  # of the axis of sharpness over threshold
_LINE = process_style(DISCRETE).text_color
_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}  # below words
_TALL = (1.15, 1.0, 1.15)  # inches
_DASHES = {"onset": DASHED, "trend": (0, (2, 1))}


@dataclass(frozen=True)
class _Curve:
    """What is drawn of one run in one panel, [point].

    Attributes:
        run: whose it is.
        values: of its points.
        reach: what the vertical axis should show.
    """

    run: StoredRun
    values: xr.DataArray
    reach: np.ndarray


def growth_after_onset(run: StoredRun, values: xr.DataArray) -> float:
    """By which factor positive values, [snapshot], grow from the onset to the end of the run, in the long run.

    NaN of a run that diverged or never reached its threshold.

    Args:
        run, values: the run, and a quantity along it, [snapshot].
    """
    since = onset(run)
    if diverged(run) or not np.isfinite(since):
        return float("nan")
    return equilibrium.growth(values.sel(snapshot=slice(since, None)))


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one column an optimizer (and model, if there are several), one row a quantity."""
    columns = by_row(runs)
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        figure, panels = columns_of_panels(_TALL, len(columns), width=page(len(columns), narrow=3))
        drawn = [
            [
                _draw_sharpness(column[0], members, numbers),
                _draw_ratio(column[1], members, numbers),
                _draw_preconditioner(column[2], members, numbers),
            ]
            for column, members in zip(panels, columns, strict=True)
        ]
        _share_heights(panels, drawn)
        for column, members, curves in zip(panels, columns, drawn, strict=True):
            for axes, own in zip(column, curves, strict=True):
                for one in own:
                    cross(axes, one.run, one.values, _LINE)
            _mark_onsets(column, members, numbers)
            _state_failures(column, members)
            _head(column[0], members[0], several=several)
        _key(figure)
        fit(figure, panels[0], _TALL)
        for column, members in zip(panels, columns, strict=True):
            _name_limit(column[0], members[0])
    table = numbers.table()
    shows = medians(
        table,
        "raw_sharpness_growth",
        "the factor by which the curvature changes after the onset",
        by="optimizer",
    )
    return Drawing(figure, table, shows)


def _draw_sharpness(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    """The sharpness of the Hessian, and its long-run change from the onset on."""
    curves, factors = [], []
    for run in runs:
        values = _positive(run.eigenvalues(DISCRETE)["raw_sharpness"])
        curves.append(_plot(axes, run, values, "raw_sharpness", numbers))
        factor = growth_after_onset(run, values)
        if np.isfinite(factor):
            numbers.add(run, DISCRETE, "raw_sharpness_growth", factor)
            _draw_trend(axes, run, values, factor, numbers)
            factors.append(factor)
    _write_growth(axes, factors)
    limit = _limit(runs[0])
    if np.isfinite(limit):
        axes.axhline(limit, color=INK, linewidth=0.6, zorder=2.5)
        numbers.add(runs[0], DISCRETE, "raw_sharpness_threshold", limit)
    return curves


def _draw_trend(
    axes: Axes, run: StoredRun, values: xr.DataArray, factor: float, numbers: Numbers
) -> None:
    """The straight line of least squares through the logarithms, from the onset to the end."""
    later = values.sel(snapshot=slice(onset(run), None))
    steps = later["snapshot"].values
    middle, ends = steps.mean(), steps[[0, -1]]
    share = (ends - middle) / np.ptp(steps)
    heights = np.exp(np.log(later.values.astype(np.float64)).mean()) * factor**share
    axes.plot(
        ends,
        heights,
        color=INK,
        linewidth=1.4,
        linestyle=_DASHES["trend"],
        zorder=3,
        label="trend",
    )
    numbers.add(run, DISCRETE, "raw_sharpness_trend", heights, ends)


def _draw_ratio(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    """The preconditioned sharpness over its threshold, and its mean at the edge."""
    mark_threshold(axes, zorder=2.5, **_SOLID)
    curves, means = [], []
    for run in runs:
        values = over_threshold(run, DISCRETE)
        curves.append(_plot(axes, run, values, "sharpness_over_threshold", numbers))
        if found := held_at_edge(run, run.settings["optimizer"].get("freeze", 0)):
            numbers.add(run, DISCRETE, found.name("mean"), found.ratio.mean)
            means.append(found.ratio.mean)
    if means:
        _write(axes, f"average at the edge: {_span(means)}", up=True)
    return curves


def _draw_preconditioner(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    """Geometric mean and quartiles of the preconditioner over the weights."""
    curves, factors, left_out, plain = [], [], 0.0, True
    for run in runs:
        spread = preconditioner_spread(run)
        spread = spread.where(np.isfinite(spread["upper_quartile"]), drop=True)
        steps = spread["snapshot"].values
        low, high = (spread[f"{name}_quartile"].values for name in ("lower", "upper"))
        axes.fill_between(
            steps, low, high, color=_QUARTILES, linewidth=0, zorder=1, label="quartiles"
        )
        values = spread["geometric_mean"]
        name = "preconditioner_geometric_mean"
        curves.append(_plot(axes, run, values, name, numbers, reach=np.concatenate([low, high])))
        for side, quartile in (("lower", low), ("upper", high)):
            numbers.add(run, DISCRETE, f"preconditioner_{side}_quartile", quartile, steps)
        factor = growth_after_onset(run, values)
        if np.isfinite(factor):
            numbers.add(run, DISCRETE, "preconditioner_growth", factor)
            factors.append(factor)
        if spread.attrs["left_out"]:
            numbers.add(run, DISCRETE, "preconditioner_left_out", spread.attrs["left_out"])
        left_out = max(left_out, spread.attrs["left_out"])
        plain &= bool((low == 1).all() and (high == 1).all())
    if plain:
        _write(axes, "none: $P = 1$", up=False)
    else:
        _write_growth(axes, factors)
    if left_out:
        text = f"without the {100 * left_out:.2g}% of the weights\nthat never get a gradient"
        shift = (-2, -12 if factors else -2)
        note(axes, text, (1, 1), shift=shift, ha="right", va="top", color=FAINT, room=False)
    return curves


def _plot(
    axes: Axes,
    run: StoredRun,
    values: xr.DataArray,
    quantity: str,
    numbers: Numbers,
    reach: np.ndarray | None = None,
) -> _Curve:
    """Draw a quantity of a run against the steps, and enter it in the table."""
    drawn = curve(axes, run, quantity, values, numbers, color=_LINE, linewidth=1.1, zorder=2)
    reach = drawn.values if reach is None else reach
    if diverged(run) and reach.size:  # what runs away leaves through the top
        reach = reach[reach <= 10 * reach[0]]
    return _Curve(run, drawn, reach)


def _positive(values: xr.DataArray) -> xr.DataArray:
    """Those values that a logarithmic axis can show."""
    return values.where(np.isfinite(values) & (values > 0), drop=True)


def _limit(run: StoredRun) -> float:
    """The threshold of the sharpness of the Hessian itself; NaN where there is a preconditioner, or no threshold."""
    if {"gain", "second_moment"} & {*run.trajectory(DISCRETE).variables} or not run.has_threshold:
        return float("nan")
    return float(np.asarray(run.eigenvalues(DISCRETE).attrs["threshold"]).item())


def _span(values: Sequence[float]) -> str:
    """One number, or of several seeds the lowest and the highest."""
    words = dict.fromkeys(f"{value:.2f}" for value in sorted(values))
    return " to ".join([*words][:: max(len(words) - 1, 1)])


def _write_growth(axes: Axes, factors: Sequence[float]) -> None:
    """By which factor a quantity grows from the onset on."""
    if factors:
        _write(axes, f"\u00d7 {_span(factors)} from the onset to the end", up=True)


def _write(axes: Axes, text: str, *, up: bool) -> None:
    """Words at the right end of a panel, at its upper or lower edge."""
    va, shift = ("top", (-2, -2)) if up else ("bottom", (-2, 3))
    note(axes, text, (1, up), shift=shift, ha="right", va=va, bbox=_BOX, room=False)


def _share_heights(
    panels: Sequence[Sequence[Axes]], drawn: Sequence[Sequence[Sequence[_Curve]]]
) -> None:
    """One vertical axis a row, written at its left end, and one horizontal axis a column."""
    for row, (title, line) in enumerate(zip(_TITLES, zip(*panels, strict=True), strict=True)):
        curves = chain.from_iterable(column[row] for column in drawn)
        values = np.concatenate([np.ones(0), *(one.reach for one in curves)])
        for axes in line:
            if row == 1:
                highest = 1.3 * values.max() if values.size else 0
                axes.set_ylim(0, np.clip(highest, _LOWEST_TOP, _HIGHEST_TOP))
            else:
                show_on_log_scale(axes, values)
                low, high = axes.get_ylim()
                axes.set_ylim(low, high * (high / low) ** 0.15)  # room for words
            axes.tick_params(labelleft=axes is line[0])
        line[0].set_ylabel(title)


def _name_limit(axes: Axes, run: StoredRun) -> None:
    """What the horizontal line among the sharpness of the Hessian is, beside it."""
    limit = _limit(run)
    if not np.isfinite(limit):
        return
    low, high = axes.get_ylim()
    arrow = " \u2191" if limit > high else " \u2193" if limit < low else ""
    text = f"${run.threshold:g}/\\eta$ = {limit:.3g}{arrow}"
    end_labels(axes, [(limit, text, INK)])


def _mark_onsets(column: Sequence[Axes], runs: Sequence[StoredRun], numbers: Numbers) -> None:
    """Where each run reaches its threshold, or in words that it does not."""
    last = max(run.settings["steps"] for run in runs)
    reached = {run: onset(run) for run in runs}
    for run, step in reached.items():
        if np.isfinite(step):
            numbers.add(run, DISCRETE, "onset", step)
            for axes in column:
                axes.axvline(step, color=FAINT, linewidth=0.7, linestyle=_DASHES["onset"], zorder=1)
    for axes in column:
        axes.set_xlim(0, last)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes.tick_params(labelbottom=axes is column[-1])
    column[-1].set_xlabel("optimizer step")
    steps = [step for step in reached.values() if np.isfinite(step)]
    if steps:
        where = ("data", "axes fraction")
        place = (min(steps), 1.0)
        note(column[0], "onset", place, coordinates=where, shift=(1, 2), color=FAINT, va="bottom")


def _state_failures(column: Sequence[Axes], runs: Sequence[StoredRun]) -> None:
    """In words which runs diverged, never reach their threshold, or are not at the edge."""
    words = []
    for run in runs:
        who = f"seed {run.seed}: " if len(runs) > 1 else ""
        if diverged(run):
            words.append(f"{who}{run.status(DISCRETE)}")
        elif never_reached(run):
            words.append(f"{who}{NOT_REACHED}")
        elif held(run) and not held_at_edge(run):
            words.append(f"{who}{NOT_AT_EDGE}")
    if words:
        text = "\n".join(words)
        look: Look = {"ha": "right", "va": "bottom", "color": _LINE, "bbox": _BOX}
        note(column[1], text, (1, 0), shift=(-3, 4), zorder=4, room=False, **look)


def _head(axes: Axes, run: StoredRun, *, several: bool) -> None:
    """Whose column it is."""
    name = optimizer_label(run.optimizer)
    if several:
        name += f", {model_label(run.model)}"
    axes.set_title(name, loc="left", pad=21, fontsize=8, fontweight="bold")
    note(axes, ", ".join(hyperparameters(run)), (0, 1), shift=(0, 11.5), room=False)


def _key(figure: Figure) -> None:
    """What lines and areas are, above the panels."""
    handles = [
        Line2D([], [], color=_LINE, linewidth=1.1, label="discrete run"),
        threshold_key(**_SOLID),
        band_key(linewidth=0),
        Line2D(
            [],
            [],
            color=INK,
            linewidth=1.4,
            linestyle=_DASHES["trend"],
            label="trend from the onset on",
        ),
        Patch(color=_QUARTILES, linewidth=0, label="quartiles of $P$"),
    ]
    key(figure, handles)
