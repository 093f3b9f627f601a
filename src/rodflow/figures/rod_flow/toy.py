"""Toy potentials: where an oscillation grows, on which two-cycle it settles, and how it gets there."""

from collections.abc import Iterable
from itertools import chain

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator

from rodflow.config.declarations import FigureEntry, no_run
from rodflow.figures.core.panels import fit, rows_of_panels
from rodflow.figures.core.style import (
    DASHED,
    DOTTED,
    FAINT,
    INK,
    REFERENCE,
    SMALL,
    THIN,
    Drawing,
    Numbers,
    key,
    lines_of,
    note,
    optimizer_label,
    process_style,
    styled,
)
from rodflow.store.results import DISCRETE

FIGURE = FigureEntry(
    per="experiment",
    needs=("toy",),
    order=6,
    runs=no_run,
    caption=r"""
*Claim*: every rate changes its sign exactly at the threshold, 2 and :math:`2(1+\beta)/(1-\beta) = 6`, and
touches that of the discrete run there. Away from it the models differ: the rod flow agrees to second order in
the distance, the covariance closure to first. In the quartic the amplitude is 0 up to :math:`\eta S = 2`, and
:math:`X^2 = S/Q - 2/(\eta Q)` beyond, for the iterates and for every rod.

What the flows do where everything can be worked out by hand, in one dimension. (a, b) The rate :math:`\log
|X_{t+1}|/|X_t|` at which an oscillation grows or dies out in the parabola :math:`L = (S/2) w^2`, against
learning rate times sharpness, for gradient descent and for heavy ball with :math:`\beta = 0.5`. (c) The
amplitude on which gradient descent settles in the quartic :math:`L = (S/2) w^2 - (Q/4) w^4`, measured by
iterating. (d) Gradient descent in the quartic at :math:`\eta S = 2.2`, iterate by iterate, and both ends of the
rods that start at :math:`t_0 = 3`: the iterates jump from one end of the rod to the other.

Everything is dimensionless, :math:`S = Q = 1`, computed in double precision and without noise by the toy stage
(``toy.nc``); ``toy.csv`` has every number drawn.
""",
)


_TALL = (1.46, 1.46)  # inches

THEORY = "theory"
"""The process in the table whose numbers are a formula's."""


def draw(data: xr.Dataset) -> Drawing:
    """Two growth rates, the amplitudes, and a trajectory.

    Args:
        data: see `rodflow.stages.toy.toy_dataset`.
    """
    table = _Table()
    with styled():
        figure, rows = rows_of_panels(_TALL, 2)
        panels = [*chain(*rows)]
        for axes, optimizer in zip(panels[:2], data["optimizer"].values, strict=True):
            _growth(axes, data.sel(optimizer=optimizer), table)
        _amplitude(panels[2], data, table)
        _trajectory(panels[3], data, table)
        for letter, axes in zip("abcd", panels, strict=True):
            note(axes, letter, (0, 1), shift=(-26, 6), fontsize=9, fontweight="bold")
        key(figure, lines_of(data["process"].values))
        fit(figure, [row[0] for row in rows], _TALL)
    return Drawing(figure, table.table())


class _Table:
    """What is drawn, with the columns of `Numbers`; of no run, so the model is "toy" and the seed 0."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []

    def add(
        self,
        optimizer: str,
        process: str,
        quantities: str | list[str],
        values: np.ndarray,
        steps: Iterable[int] | None = None,
    ) -> None:
        """Enter values, each at a step or with a quantity of its own."""
        part = pd.DataFrame({"value": np.asarray(values, np.float64)})
        whose = {"model": "toy", "optimizer": optimizer, "seed": 0, "process": process}
        part = part.assign(**whose, quantity=quantities, unit="1")
        part["step"] = pd.array([pd.NA] * len(part) if steps is None else [*steps], dtype="Int64")
        self._parts.append(part[list(Numbers.COLUMNS)])

    def table(self) -> pd.DataFrame:
        return pd.concat(self._parts, ignore_index=True)


def _at(quantity: str, eta_sharpness: np.ndarray) -> list[str]:
    """Names of the same quantity at several eta S."""
    return [f"{quantity} at eta S = {value:.6g}" for value in eta_sharpness]


def _growth(axes: Axes, data: xr.Dataset, table: _Table) -> None:
    optimizer, threshold = str(data["optimizer"].item()), float(data["threshold"])
    at = data["over_threshold"].values * threshold
    for process in data["process"].values:
        rates = data["growth_rate"].sel(process=process).values
        axes.plot(at, rates, label=process, **process_style(process).line)
        table.add(optimizer, process, _at("growth_rate", at), rates)
    axes.axhline(0, **THIN)
    axes.axvline(threshold, linestyle=DASHED, **REFERENCE)
    table.add(optimizer, THEORY, "threshold", np.array([threshold]))
    note(axes, f"threshold {threshold:g}", (threshold, 0), coordinates=_BELOW, shift=(3, 3))
    axes.set_xlim(at[0], at[-1])
    axes.set_xlabel("learning rate × sharpness $\\eta S$")
    axes.set_ylabel("growth rate [1 / step]")
    momentum = "" if optimizer == "gd" else ", $\\beta$ = 0.5"
    axes.set_title(f"parabola, {optimizer_label(optimizer)}{momentum}", pad=5)


_BELOW = ("data", "axes fraction")


def _amplitude(axes: Axes, data: xr.Dataset, table: _Table) -> None:
    at = data["eta_sharpness"].values
    theory = data["predicted_amplitude"].values
    axes.plot(at, theory, linestyle=DASHED, label=_FORMULA, **REFERENCE | {"zorder": 1.9})
    table.add("gd", THEORY, _at("amplitude", at), theory)
    for process, (marker, size) in zip(data["process"].values, _MARKERS, strict=False):
        values = data["amplitude"].sel(process=process).values
        style = process_style(process)
        axes.plot(
            at,
            values,
            linestyle="none",
            marker=marker,
            markersize=size,
            markerfacecolor=style.color if process == DISCRETE else "none",
            markeredgecolor=style.color,
            markeredgewidth=0.8,
            zorder=style.line["zorder"],
            label=style.label,
            clip_on=False,
        )
        table.add("gd", process, _at("amplitude", at), values)
    axes.set_xlim(np.floor(10 * at[0]) / 10, np.ceil(10 * at[-1]) / 10)
    axes.set_ylim(0, 1.05 * float(np.nanmax([theory.max(), data["amplitude"].max()])))
    axes.set_xlabel("learning rate × sharpness $\\eta S$")
    axes.set_ylabel("amplitude $X$")
    axes.set_title("quartic: where the oscillation settles", pad=5)
    axes.legend(
        loc="upper left", frameon=False, fontsize=SMALL, handlelength=1.6, labelspacing=0.35
    )


_FORMULA = "$X^2 = S/Q - 2/(\\eta Q)$ where that is positive"
_MARKERS = (("o", 7.0), ("s", 4.4), ("D", 2.4), ("+", 4.0))
"""Of the processes in order, each to be seen on top of those before."""


def _trajectory(axes: Axes, data: xr.Dataset, table: _Table) -> None:
    steps, iterates = data["step"].values, data["iterate"].values
    for process in data["process"].values:
        if process == DISCRETE:
            continue
        here = data.sel(process=process).dropna("step", how="any", subset=["centre", "half_extent"])
        for name, sign in {"upper_end": 1, "lower_end": -1}.items():
            ends = (here["centre"] + sign * here["half_extent"]).values
            axes.plot(here["step"], ends, label=f"{process} {name}", **process_style(process).line)
            table.add("gd", process, name, ends, here["step"].values)
    axes.plot(steps, iterates, color="#d9d9d9", linewidth=0.5, zorder=1, label="jumps")
    style = process_style(DISCRETE)
    axes.plot(
        steps,
        iterates,
        linestyle="none",
        marker="o",
        markersize=4.2,
        markerfacecolor=style.color,
        markeredgecolor=INK,
        markeredgewidth=0.4,
        zorder=2.05,
        label="iterate",
    )
    table.add("gd", DISCRETE, "iterate", iterates, steps)
    start = int(data.attrs["start"])
    axes.axvline(start, **THIN, linestyle=DOTTED)
    note(axes, "$t_0$", (start, 1), coordinates=_BELOW, shift=(2, -8), color=FAINT)
    axes.set_xlim(-1, steps[-1] + 1)
    axes.xaxis.set_major_locator(MultipleLocator(10))
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("weight $w$")
    eta_sharpness = data.attrs["learning_rate"] * data.attrs["sharpness"]
    axes.set_title(f"quartic: iterates and rod ends, $\\eta S$ = {eta_sharpness:g}", pad=5)
