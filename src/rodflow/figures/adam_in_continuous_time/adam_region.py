"""For which decays updates of Adam are bounded: the plane, given gradients, growth rates, and training."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, LogLocator, NullLocator

from rodflow.config.declarations import FigureEntry, no_run
from rodflow.figures.core.keywords import Dashes, Look
from rodflow.figures.core.panels import PAGE, empty_figure, fit
from rodflow.figures.core.style import (
    DASHED,
    FAINT,
    INK,
    PALETTE,
    SMALL,
    Drawing,
    Numbers,
    OfNoRun,
    note,
    styled,
)

FIGURE = FigureEntry(
    per="experiment",
    needs=("adam_region",),
    order=13,
    runs=no_run,
    caption=r"""
*Claim* (Gould and Tanaka 2024): no gradients exceed the bound of panel (b), which levels off inside the region,
grows like :math:`\sqrt t` on its boundary and exponentially outside; there the growth rate of panel (c) is
:math:`\log(q)/2` a step in discrete and :math:`-C/2` in continuous time, within 2%, and the two differ where
the second moment forgets within a few steps.

For which decays b and c of its two moments updates of Adam are bounded (Gould and Tanaka 2024). (a) The plane
of the decays: :math:`C(b, c) = 2(1-b)/b - (1-c)/c`, positive where :math:`|m|/\sqrt{v}` is bounded for all time
and all gradients in continuous time; the discrete optimizer has this exactly where :math:`q = b^2/c < 1`. The
two curves meet where the decays are slow. Dots: the points of the other panels, at b = 0.9. (b) The bound of
the update :math:`u = \hat m/\sqrt{\hat v}`, with bias correction, over time; the update with the gradients
:math:`g_s = (c/b)^s`, which attain it at every step; and the largest update of many sequences of independent
normal gradients. Constant gradients give :math:`|u| = 1`. (c) The growth rate of :math:`|m|/\sqrt{v}` with the
worst gradients, measured from the recursion and from the differential equations, and predicted, 0 inside. (d)
Full-batch training of a tanh MLP with one hidden layer of 32 units on 300 images of the experiment, squared
error, in double precision and from the same three initial weights at every point: the largest update of any
weight at any step, recomputed from consecutive weights, with its bound over the same steps, and the median loss
of the last 20 steps.

Everything is dimensionless and of no stored run (``adam_region.nc``); ``adam_region.csv`` has every number
drawn.
""",
)


_TALL = (0.9, 0.9, 0.9, 0.9)  # inches
_PANELS = """
PPPPPBSSSSSS
PPPPPBSSSSSS
RRRRRRTTTTTT
RRRRRRLLLLLL
"""
"""The plane with its bar and the sizes; rates, and the updates above the losses of training."""

_THEORY: Look = {"color": INK, "linewidth": 0.8, "zorder": 1.9}
_DASHES, _DOTS = DASHED, (0, (1, 1.5))
_INSIDE, _ON, _OUTSIDE = PALETTE["blue"], PALETTE["green"], PALETTE["vermilion"]
_SHOWN = (0.99, 0.81, 0.7)
"""Values of c whose updates are drawn: inside, on the boundary in discrete time, outside."""

_CUT = 1e4
"""Where the panel of updates ends."""

THEORY = "theory"
"""The process in the table whose numbers are a formula's."""

GIVEN = OfNoRun("given gradients", "adam")
TRAINED = OfNoRun("mlp", "adam")


def draw(data: xr.Dataset) -> Drawing:
    """The plane of the decays, updates of given gradients, their growth rates, and training.

    Args:
        data: see `rodflow.stages.adam_region.adam_region`.
    """
    numbers = Numbers()
    with styled():
        figure = empty_figure(PAGE, _TALL)
        axes = figure.subplot_mosaic(_PANELS)
        plane, bar, sizes, rates, largest, losses = (axes[name] for name in "PBSRTL")
        _plane(plane, bar, data, numbers)
        _sizes(sizes, data, numbers)
        _rates(rates, data, numbers)
        _training(largest, losses, data, numbers)
        for letter, panel in zip("abcd", (plane, sizes, rates, largest), strict=True):
            note(panel, letter, (0, 1), shift=(-28, 6), fontsize=9, fontweight="bold")
        fit(figure, [sizes, largest, losses], [2 * _TALL[0], *_TALL[2:]])
    return Drawing(figure, numbers.table())


def _colour(data: xr.Dataset) -> str:
    """Of a point of the path."""
    if abs(float(data["quotient"]) - 1) < 1e-9:
        return _ON
    return _INSIDE if float(data["quotient"]) < 1 else _OUTSIDE


def _at(quantity: str, data: xr.Dataset) -> list[str]:
    """Names of the same quantity at the points of the path."""
    return [f"{quantity} at c = {c:g}" for c in np.atleast_1d(data["path_b2"].values)]


def _plane(axes: Axes, bar: Axes, data: xr.Dataset, numbers: Numbers) -> None:
    b, c = data["b1"].values, data["b2"].values
    values = data["plane_condition"].transpose("b2", "b1").values
    shading = axes.pcolormesh(
        1 - b,
        1 - c,
        values,
        cmap="RdBu",
        norm=SymLogNorm(0.01, vmin=-8, vmax=8),
        shading="gouraud",
        rasterized=True,
    )
    for at, shown in {"C = 0": b / (2 - b), "c = b^2": b**2}.items():
        dashes = "-" if at == "C = 0" else _DASHES
        label = "$C = 0$" if at == "C = 0" else "$c = b^2$"
        axes.plot(1 - b, 1 - shown, label=label, **_THEORY, linestyle=dashes)
        places = [f"1 - c where {at}, b = {value:.6g}" for value in b]
        numbers.add(GIVEN, THEORY, places, 1 - shown)
    path = 1 - data["path_b2"].values
    axes.plot(
        1 - data["path_b1"].values,
        path,
        color=INK,
        linewidth=0.6,
        marker="o",
        markersize=3,
        markerfacecolor="white",
        markeredgewidth=0.6,
        label="path",
    )
    numbers.add(GIVEN, "path", _at("1 - c", data), path)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim((1 - b).max(), (1 - b).min())
    axes.set_ylim((1 - c).max(), (1 - c).min())
    for axis, name in ((axes.xaxis, "$b$ of the first"), (axes.yaxis, "$c$ of the second")):
        ticks = [0.5, 0.9, 0.99, 0.999]
        axis.set_major_locator(FixedLocator([1 - tick for tick in ticks]))
        axis.set_major_formatter(FixedFormatter([f"{tick:g}" for tick in ticks]))
        axis.set_minor_locator(NullLocator())
        axis.set_label_text(f"decay {name} moment")
    axes.set_title("where updates are bounded", pad=5)
    note(axes, "bounded", (0.36, 0.6), fontsize=7)
    note(axes, "can grow", (0.64, 0.25), fontsize=7)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0.34, 1),
        frameon=False,
        fontsize=SMALL,
        handlelength=2,
        labelspacing=0.3,
    )
    figure = axes.get_figure(root=True)
    assert figure is not None
    scale = figure.colorbar(shading, cax=bar)
    scale.set_ticks([-1, -0.1, -0.01, 0, 0.01, 0.1, 1], labels="−1 −0.1 −0.01 0 0.01 0.1 1".split())
    scale.ax.minorticks_off()
    scale.outline.set_visible(False)
    bar.set_ylabel("$C(b, c)$", labelpad=1)


def _sizes(axes: Axes, data: xr.Dataset, numbers: Numbers) -> None:
    steps = data["step"].values
    picked = np.unique(np.geomspace(1, steps[-1], 400).round().astype(int))
    few = np.unique(np.geomspace(1, steps[-1], 16).round().astype(int))
    for c in _SHOWN:
        here = _point(data, c)
        colour = _colour(here)
        bound = (here["bound"] * here["correction"]).sel(step=picked)
        updates = here["update"] * here["correction"]
        bound = bound.where(bound < 10 * _CUT, drop=True)
        (name,) = _at("bound", here)
        axes.plot(bound["step"], bound, label=name, color=colour, linewidth=1, zorder=2.1)
        numbers.add(GIVEN, THEORY, name, bound.values, bound["step"].values)
        worst = updates.sel(gradients="worst", step=few)
        worst = worst.where(worst < _CUT, drop=True)
        (name,) = _at("update", here)
        axes.plot(
            worst["step"],
            worst,
            label=name,
            linestyle="none",
            marker="o",
            markersize=3.2,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=0.8,
            zorder=2.2,
        )
        numbers.add(GIVEN, "worst", name, worst.values, worst["step"].values)
        chance = updates.sel(gradients="random", step=picked)
        axes.plot(chance["step"], chance, label=f"random {name}", color=colour, **_THIN)
        numbers.add(GIVEN, "random", name, chance.values, chance["step"].values)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, steps[-1])
    axes.set_ylim(0.3, _CUT)
    axes.set_xlabel("optimizer step $t$")
    axes.set_ylabel("largest update $|u_t|$")
    axes.set_title("given gradients: largest update over time", pad=5)
    handles = [
        Line2D([], [], color=INK, linewidth=1, label="bound"),
        _marker("gradients that attain it"),
        Line2D([], [], color=INK, label=f"largest of {data.attrs['sequences']} random", **_THIN),
    ]
    axes.legend(handles=handles, loc="upper left", frameon=False, fontsize=SMALL, labelspacing=0.3)
    for c, (place, up), words in zip(_SHOWN, _PLACES, _WORDS, strict=True):
        here = _point(data, c)
        text = f"{words}, $c$ = {c:g}"
        at: tuple[float, float]
        how: Look
        if up:
            end = float((here["bound"] * here["correction"])[-1])
            at, how = (1.0, end), {"coordinates": ("axes fraction", "data"), "shift": (-2, up)}
        else:
            at, how = place, {}
        note(axes, text, at, color=_colour(here), ha="right", **how)


def _point(data: xr.Dataset, c: float) -> xr.Dataset:
    """The point of the path with this decay c."""
    return data.isel(point=int(np.argmin(np.abs(data["path_b2"].values - c))))


_THIN: Look = {"linewidth": 0.7, "linestyle": _DOTS, "zorder": 2.0}
_WORDS = ("inside", "boundary", "outside")
_PLACES = (((1, 1), -9), ((1, 1), 6), ((0.97, 0.75), 0))
"""Where their names are: in the axes, or this many points above the end of the curve."""


def _marker(label: str) -> Line2D:
    return Line2D(
        [],
        [],
        linestyle="none",
        marker="o",
        markersize=3.2,
        markerfacecolor="white",
        markeredgecolor=INK,
        markeredgewidth=0.8,
        label=label,
    )


_TIMES = {
    "discrete": ("$\\log(q)/2$ with $q = b^2/c$", "discrete time", _DASHES, PALETTE["blue"]),
    "continuous": ("$-C/2$", "continuous time", "-", PALETTE["orange"]),
}


def _rates(axes: Axes, data: xr.Dataset, numbers: Numbers) -> None:
    c = data["path_b2"].values
    fine = np.unique(np.concatenate([np.linspace(c.min(), c.max(), 251), c]))
    b = float(data["path_b1"][0])
    predicted = {
        "discrete": np.log(b**2 / fine) / 2,
        "continuous": (1 - fine) / fine / 2 - (1 - b) / b,
    }
    for time, (formula, words, dashes, colour) in _TIMES.items():
        rate = np.maximum(predicted[time], 0)
        axes.plot(
            fine, rate, label=formula, color=colour, linewidth=1, linestyle=dashes, zorder=1.9
        )
        numbers.add(GIVEN, THEORY, [f"{time} growth rate at c = {x:.6g}" for x in fine], rate)
        measured = data["growth_rate"].sel(time=time).values
        axes.plot(
            c,
            measured,
            label=f"measured, {words}",
            linestyle="none",
            marker="o" if time == "discrete" else "s",
            markersize=5.2 if time == "discrete" else 2.8,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=0.9,
            zorder=2.2,
        )
        numbers.add(GIVEN, time, _at("growth rate", data), measured)
    for place, words, side in (
        (b**2, "$c = b^2$", "left"),
        (b / (2 - b), "$C = 0$", "right"),
    ):
        _boundary(axes, place, _DASHES if side == "left" else "-", 0.6)
        shift = (3, 2) if side == "left" else (-3, 2)
        note(
            axes,
            words,
            (place, 0.3),
            coordinates=_BELOW,
            shift=shift,
            ha=side,
            color="#595959",
        )
    axes.set_xlim(1.01, c.min() - 0.01)
    axes.set_ylim(-0.02, None)
    axes.set_xlabel("decay $c$ of the second moment")
    axes.set_ylabel("growth rate of $|u_t|$ [1 / step]")
    axes.set_title(f"growth with the worst gradients, $b$ = {b:g}", pad=5)
    axes.legend(
        loc="upper left", frameon=False, fontsize=SMALL, handlelength=2.4, labelspacing=0.35
    )


_BELOW = ("data", "axes fraction")


def _boundary(axes: Axes, c: float, dashes: Dashes, top: float) -> None:
    axes.axvline(c, ymax=top, color=FAINT, linewidth=0.7, linestyle=dashes, zorder=1)


def _training(largest: Axes, losses: Axes, data: xr.Dataset, numbers: Numbers) -> None:
    c = data["path_b2"].values
    order = np.argsort(c)
    last = data["training_step"].values[-1]
    tops = data["training_update"].max("training_step")
    ends = data["training_loss"].isel(training_step=slice(-20, None)).median("training_step")
    bound = (data["bound"] * data["correction"]).sel(step=slice(1, last)).max("step")
    shown = bound.values[order]
    largest.plot(c[order], shown, label="bound", color=INK, linewidth=0.8, linestyle=_DASHES)
    numbers.add(TRAINED, THEORY, [_at("bound", data)[k] for k in order], shown)
    for axes, values, quantity in ((largest, tops, "largest update"), (losses, ends, "final loss")):
        middle = values.median("seed").values[order]
        axes.plot(c[order], middle, label="median", color=PALETTE["blue"], linewidth=1)
        numbers.add(TRAINED, "median", [_at(quantity, data)[k] for k in order], middle)
        for seed in values["seed"].values:
            own = values.sel(seed=seed).values
            axes.plot(
                c,
                own,
                label=f"seed {seed}",
                linestyle="none",
                marker="o",
                markersize=2.8,
                markerfacecolor=PALETTE["blue"],
                markeredgewidth=0,
                alpha=0.7,
            )
            numbers.add(OfNoRun("mlp", "adam", int(seed)), "discrete", _at(quantity, data), own)
        b = float(data["path_b1"][0])
        for place, dashes in ((b**2, _DASHES), (b / (2 - b), "-")):
            _boundary(axes, place, dashes, 0.5 if axes is largest else 1)
        axes.set_xlim(1.01, c.min() - 0.01)
        axes.yaxis.set_label_coords(-0.105, 0.5)
    largest.set_yscale("log")
    largest.set_ylim(0.3, 100 * float(np.nanmax(tops)))
    losses.set_ylim(0, None)
    largest.yaxis.set_major_locator(LogLocator(100))
    largest.tick_params(labelbottom=False)
    largest.set_ylabel("max $|u|$")
    losses.set_ylabel("final loss")
    losses.set_xlabel("decay $c$ of the second moment")
    handles = [
        Line2D([], [], color=INK, linewidth=0.8, linestyle=_DASHES, label="bound"),
        Line2D(
            [],
            [],
            color=PALETTE["blue"],
            linewidth=1,
            marker="o",
            markersize=2.8,
            label=f"Adam, {data.sizes['seed']} seeds",
        ),
    ]
    largest.legend(handles=handles, loc="upper left", frameon=False, fontsize=SMALL)
    rate = data.attrs["learning_rate"]
    largest.set_title(f"training, $\\eta$ = {rate:g}, {last} steps of Adam", pad=5)
