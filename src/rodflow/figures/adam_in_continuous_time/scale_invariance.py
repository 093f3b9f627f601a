"""Kernels followed by a norm: what their length does, and how it slows their direction down.

One column an optimizer (and model, if there are several), one colour a kernel, seeds on top of each other. Downwards:
the cosines of a kernel with its gradient and with its step, the growth of ||W||^2 beside the sum of squared steps, the
effective learning rate of the direction, and the loss. See `rodflow.analysis.scale_invariance`.
Source: Gould and Tanaka 2024 (arXiv 2411.05746).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from rodflow.analysis import scale_invariance
from rodflow.config.declarations import FigureEntry, normalised
from rodflow.figures.core.findings import medians
from rodflow.figures.core.keywords import Dashes, Look
from rodflow.figures.core.marks import cross, curve, diverged, ending
from rodflow.figures.core.panels import columns_of_panels, fit
from rodflow.figures.core.rows import by_row, show_on_log_scale
from rodflow.figures.core.style import (
    INK,
    PALETTE,
    Drawing,
    Numbers,
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
    needs=("comparison", "trajectories"),
    order=14,
    runs=normalised,
    caption=r"""
*Claim* (Gould and Tanaka, arXiv 2411.05746): the gradient is orthogonal to :math:`W`, so that the norm
collects the squared steps, and the direction is slowed down by the history of its own steps, a second
normalisation. For gradient descent the sum is the growth. Momentum keeps old gradients, which are not
orthogonal to the present :math:`W`: its growth is the sum times :math:`(1+\beta)/(1-\beta)`. A second moment
for each weight turns the step towards :math:`W` or away from it, and the sum says little then: what is left
between the broad line and the dashes is twice the sum of :math:`\langle W_t, W_{t+1} - W_t \rangle`.

Hidden kernels of the model ``{part}``, each followed by a layer norm, along the discrete run against the
optimizer step; one colour a kernel, everything dimensionless, at steps evenly spaced on the logarithmic axis.
The loss does not depend on the scale of such a kernel :math:`W`. *First row*: absolute cosine of :math:`W` with
the gradient :math:`g` that the step sees (dots), with its largest value over all steps, and with the step
:math:`W_{t+1} - W_t` (line; for gradient descent it shows how the weights are rounded). *Second row*: growth
:math:`\Vert W_t \Vert^2 - \Vert W_0 \Vert^2` of the squared norm as measured (broad), the sum of the squared
lengths of all steps before (dashes), and this sum times :math:`(1+\beta)/(1-\beta)` for optimizers with
momentum :math:`\beta` or :math:`\beta_1` (dots). The numbers are the growth over the sum at the end of the run.
*Third row*: the learning rate that the direction :math:`W / \Vert W \Vert` sees, :math:`\eta / \Vert W \Vert^2`
where steps are as long as gradients and :math:`\eta / \Vert W \Vert` where they have a length of their own,
over that at step 0, with the last value. *Fourth row*: full-batch loss. A growth that is not positive is not
drawn. A cross ends the curve of a run that diverged.

Everything is read from ``discrete.nc``; ``scale_invariance_{part}.csv`` has every point drawn.
""",
)


_TITLES = (
    "|cosine| of $W$ and\ngradient or step",
    "growth of\n$\\Vert W \\Vert^2$",
    "effective rate /\nthat at step 0",
    "loss",
)
_COLORS = [PALETTE[name] for name in "blue orange green purple brown pink".split()]
"""Of the kernels, from the first layer on."""

_GRADIENT, _STEP = ((0, (1, 1.1)), 1.0), ("-", 1.1)
_MEASURED, _SUM, _MOMENTUM = ("-", 2.6), ((0, (4, 1.6)), 1.0), ((0, (1, 1.1)), 1.3)
"""Dashes and width of lines."""
_PALE, _DARK = 0.4, 1.0
_LOWEST = 1e-11  # cosine that is shown
_POINTS = 120  # steps that are drawn, at most
_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}  # below words
_LOSS = process_style(DISCRETE).text_color

_TALL = (1.05, 1.25, 1.0, 0.8)  # inches


@dataclass(frozen=True)
class _Curve:
    """What is drawn of a run in one panel, in which colour, and whether the curve ends there."""

    run: StoredRun
    values: xr.DataArray
    color: str
    ends: bool


def draw(runs: Sequence[StoredRun]) -> Drawing:
    """A grid: one column an optimizer and model, one row a quantity."""
    columns = by_row(runs)
    several = len({run.model for run in runs}) > 1
    numbers = Numbers()
    with styled():
        figure, panels = columns_of_panels(_TALL, len(columns))
        rows: tuple[Callable[..., list[_Curve]], ...] = (
            _draw_cosines,
            _draw_growth,
            _draw_rate,
            _draw_loss,
        )
        drawn = [
            [row(axes, members, numbers) for row, axes in zip(rows, column, strict=True)]
            for column, members in zip(panels, columns, strict=True)
        ]
        _share_axes(panels, columns, drawn)
        for column, members, curves in zip(panels, columns, drawn, strict=True):
            for axes, own in zip(column, curves, strict=True):
                for one in filter(lambda one: one.ends, own):
                    cross(axes, one.run, one.values, one.color)
            _head(column, members, several=several)
        _key(figure, runs)
        fit(figure, panels[0], _TALL)
    table = numbers.table()
    shows = medians(
        table,
        "gradient_cosine_largest",
        "the largest cosine of gradient and weights",
        by="optimizer",
    )
    return Drawing(figure, table, shows)


def _steps(run: StoredRun) -> np.ndarray:
    """The steps that are drawn, from 1 on and evenly spaced on a logarithmic axis."""
    last = max(int(run.series(DISCRETE)["step"].max(initial=0)), 1)
    return np.unique(np.geomspace(1, last, _POINTS).round().astype(int))


def _drawn(run: StoredRun, values: xr.DataArray) -> xr.DataArray:
    """Of values at every step those that are drawn."""
    return values.sel(step=np.intersect1d(_steps(run), values["step"]))


def _positive(values: xr.DataArray) -> list[xr.DataArray]:
    """The pieces of a curve that a logarithmic axis can show, so that no line bridges what it cannot."""
    shown = np.flatnonzero((values > 0) & np.isfinite(values))
    breaks = np.flatnonzero(np.diff(shown) > 1) + 1
    return [values.isel(step=piece) for piece in np.split(shown, breaks) if piece.size]


def _along(
    axes: Axes,
    run: StoredRun,
    quantity: str,
    values: xr.DataArray,
    numbers: Numbers,
    look: tuple[Dashes, float],
    alpha: float = _DARK,
) -> list[_Curve]:
    """Draw a positive quantity of every kernel, given at all steps."""
    dashes, width = look
    found = []
    for place, name in enumerate(values["kernel"].values):
        color = _COLORS[place % len(_COLORS)]
        own = _drawn(run, values.isel(kernel=place, drop=True))
        style: Look = {"color": color, "linestyle": dashes, "linewidth": width, "alpha": alpha}
        style |= {"zorder": 2 if alpha < 1 else 3}
        for piece in (pieces := _positive(own)):
            drawn = curve(axes, run, f"{quantity} of {name}", piece, numbers, **style)
            found.append(_Curve(run, drawn, color, piece is pieces[-1]))
    return found


def _draw_cosines(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    """|cosine| of each kernel with its gradient and with its step; the largest of the first is written."""
    found, worst = [], 0.0
    for run in runs:
        series = run.series(DISCRETE)
        along = abs(series["alignment"].astype(np.float64))
        found += _along(axes, run, "gradient_cosine", along, numbers, _GRADIENT)
        step = abs(scale_invariance.step_cosine(series))
        found += _along(axes, run, "step_cosine", step, numbers, _STEP)
        if not diverged(run):
            numbers.add(run, DISCRETE, "gradient_cosine_largest", along.max())
            worst = max(worst, float(along.max()))
    if worst:
        mantissa, exponent = f"{worst:.1e}".split("e")
        text = f"max $|\\cos(W, g)| = {mantissa} \\cdot 10^{{{int(exponent)}}}$"
        note(axes, text, (1, 0), shift=(-2, 2), ha="right", va="bottom", bbox=_BOX, room=False)
    return found


def _draw_growth(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    """||W_t||^2 - ||W_0||^2, the sum of squared steps, and what momentum makes of it; their ratio is written."""
    found: list[_Curve] = []
    ratios: dict[str, list[float]] = {}
    for run in runs:
        series = run.series(DISCRETE)
        measured, expected = scale_invariance.growth(series), scale_invariance.squared_steps(series)
        found += _along(axes, run, "growth", measured, numbers, _MEASURED, _PALE)
        found += _along(axes, run, "squared_steps", expected, numbers, _SUM)
        factor = scale_invariance.momentum_factor(run.settings["optimizer"])
        if factor > 1:
            name = "squared_steps_with_momentum"
            found += _along(axes, run, name, factor * expected, numbers, _MOMENTUM)
        if not diverged(run) and series.sizes["step"]:
            for one in (measured / expected).isel(step=-1):
                name = str(one["kernel"].item())
                numbers.add(run, DISCRETE, f"growth_over_squared_steps of {name}", one)
                ratios.setdefault(name, []).append(float(one))
    _write_ratios(axes, [*ratios.values()], "growth / sum at the end:")
    return found


def _draw_rate(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    """The effective learning rate of the direction, relative to that at step 0; its last value is written."""
    found: list[_Curve] = []
    last: dict[str, list[float]] = {}
    for run in runs:
        options = run.settings["optimizer"]
        rate = scale_invariance.relative_rate(run.series(DISCRETE), options)
        found += _along(axes, run, "relative_rate", rate, numbers, ("-", 1.2))
        if not diverged(run) and rate.sizes["step"]:
            for one in rate.isel(step=-1):
                last.setdefault(str(one["kernel"].item()), []).append(float(one))
    by = "^2" if scale_invariance.power(runs[0].settings["optimizer"]) == 2 else ""
    _write_ratios(axes, [*last.values()], f"$\\eta / \\Vert W \\Vert{by}$, at the end:")
    return found


def _draw_loss(axes: Axes, runs: Sequence[StoredRun], numbers: Numbers) -> list[_Curve]:
    found = []
    for run in runs:
        for piece in (pieces := _positive(_drawn(run, run.series(DISCRETE)["loss"]))):
            look: Look = {"color": _LOSS, "linewidth": 1.1, "zorder": 2}
            drawn = curve(axes, run, "loss", piece, numbers, **look)
            found.append(_Curve(run, drawn, _LOSS, piece is pieces[-1]))
    return found


def _write_ratios(axes: Axes, values: Sequence[Sequence[float]], text: str) -> None:
    """At the lower right, words and below them a number a kernel in its colour, of several seeds lowest and highest."""
    if not values:
        return
    look: Look = {"ha": "right", "va": "bottom", "bbox": _BOX}
    for place, own in enumerate(values):
        ends = dict.fromkeys(f"{value:#.3g}".removesuffix(".") for value in (min(own), max(own)))
        color = _COLORS[place % len(_COLORS)]
        up = 2 + 8 * (len(values) - 1 - place)
        note(axes, " to ".join(ends), (1, 0), shift=(-2, up), color=color, room=False, **look)
    note(axes, text, (1, 0), shift=(-2, 2 + 8 * len(values)), room=False, **look)


def _share_axes(
    panels: Sequence[Sequence[Axes]],
    columns: Sequence[Sequence[StoredRun]],
    drawn: Sequence[Sequence[Sequence[_Curve]]],
) -> None:
    """One vertical axis a row, written at its left end, and one horizontal axis a column."""
    for row, title in enumerate(_TITLES):
        curves = [one for column in drawn for one in column[row]]
        calm = [one for one in curves if not diverged(one.run)] or curves
        values = np.concatenate([np.ones(0), *(one.values for one in calm)])
        for place, column in enumerate(panels):
            axes = column[row]
            if row == 2:
                top = 1.05 * max(1.0, float(values.max(initial=0.0)))
                axes.set_ylim(0, top)
                axes.locator_params(axis="y", nbins=4)
            elif row == 0:
                show_on_log_scale(axes, np.array([_LOWEST, 1.0]))
            else:
                show_on_log_scale(axes, values)
                if row == 1:  # room for words
                    low, high = axes.get_ylim()
                    axes.set_ylim(low / (high / low) ** 0.4, high)
            axes.tick_params(labelleft=place == 0, labelbottom=row == len(_TITLES) - 1)
            axes.set_xscale("log")
            axes.set_xlim(1, max(run.settings["steps"] for run in columns[place]))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        panels[0][row].set_ylabel(title)
    for column in panels:
        column[-1].set_xlabel("optimizer step")


def _head(column: Sequence[Axes], runs: Sequence[StoredRun], *, several: bool) -> None:
    """Whose column it is, and which of its runs diverged."""
    run = runs[0]
    name = optimizer_label(run.optimizer)
    if several:
        name += f", {model_label(run.model)}"
    column[0].set_title(name, loc="left", pad=13, fontsize=8, fontweight="bold")
    own = ", ".join(hyperparameters(run))
    note(column[0], own, (0, 1), shift=(0, 3.5), room=False)
    words = [
        f"seed {one.seed}: {ending(one)}" if len(runs) > 1 else ending(one)
        for one in runs
        if diverged(one)
    ]
    if words:
        text = "\n".join(words)
        note(column[-1], text, (1, 1), shift=(-2, -2), ha="right", va="top", room=False)


def _key(figure: Figure, runs: Sequence[StoredRun]) -> None:
    """Colours of the kernels, and what the lines are."""
    names = max((run.series(DISCRETE)["kernel"].values for run in runs), key=len)
    handles = [
        Line2D(
            [], [], color=_COLORS[k % len(_COLORS)], linewidth=2.6, label=f"kernel $W_{{{k + 1}}}$"
        )
        for k in range(len(names))
    ]
    for label, (dashes, width), color, alpha in (
        ("cosine, gradient", _GRADIENT, INK, _DARK),
        ("cosine, step", _STEP, INK, _DARK),
        ("growth", _MEASURED, INK, _PALE),
        ("sum of squared steps", _SUM, INK, _DARK),
        ("the sum $\\times (1+\\beta)/(1-\\beta)$", _MOMENTUM, INK, _DARK),
    ):
        look: Look = {
            "color": color,
            "linestyle": dashes,
            "linewidth": width,
            "alpha": alpha,
        }
        handles.append(Line2D([], [], label=label, **look))
    key(figure, handles)
