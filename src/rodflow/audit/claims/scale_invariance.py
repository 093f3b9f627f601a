"""Kernels whose scale the loss does not depend on: Gould and Tanaka 2024."""

import numpy as np
import xarray as xr

from rodflow.analysis import scale_invariance
from rodflow.audit.claims.claim import TARGET, Bound, Claim, Measured, NotApplicable, at_most
from rodflow.audit.claims.measures import demand, optimizer_in
from rodflow.audit.numbers import digits
from rodflow.store.results import DISCRETE, StoredRun

LEAST = 1e-3
"""Sum of squared steps over ||W_0||^2 from which on single precision resolves the growth to a thousandth."""


def _series(run: StoredRun) -> xr.Dataset:
    demand(run, DISCRETE)
    series = run.series(DISCRETE)
    if not scale_invariance.has_kernels(series):
        raise NotApplicable("no kernel is scale invariant")
    return series


def alignment(run: StoredRun) -> Measured:
    """The largest cosine of a kernel and its gradient, over all steps and kernels."""
    cosines = abs(_series(run)["alignment"].astype(np.float64))
    worst = cosines.max("step")
    name = str(worst.idxmax("kernel").item())
    step = int(cosines.sel(kernel=name).idxmax("step"))
    return Measured(float(worst.max()), f"{name} at step {step}")


def _excess(run: StoredRun, factor: float) -> Measured:
    """|growth / (factor x sum of squared steps) - 1| at the end, of the kernel where it is largest."""
    series = _series(run)
    growth = scale_invariance.growth(series).isel(step=-1)
    expected = factor * scale_invariance.squared_steps(series).isel(step=-1)
    before = series["squared_norm"].isel(step=0).astype(np.float64)
    if float((expected / before).min()) < LEAST:
        raise NotApplicable("the norm is too constant for single precision")
    ratio = growth / expected
    note = ", ".join(
        f"{name} {digits(value)} times"
        for name, value in zip(ratio["kernel"].values, ratio.values, strict=True)
    )
    return Measured(float(np.abs(ratio - 1).max()), note)


def excess(run: StoredRun) -> Measured:
    """Relative difference of the growth of ||W||^2 from the sum of squared steps."""
    return _excess(run, 1.0)


def excess_over_momentum(run: StoredRun) -> Measured:
    """The same from (1 + b) / (1 - b) times the sum of squared steps."""
    return _excess(run, scale_invariance.momentum_factor(run.settings["optimizer"]))


def last_rate(run: StoredRun) -> Measured:
    """The effective learning rate at the end over that at the start, of the kernel where it is largest."""
    rate = scale_invariance.relative_rate(_series(run), run.settings["optimizer"]).isel(step=-1)
    note = ", ".join(
        f"{name} {digits(value)}"
        for name, value in zip(rate["kernel"].values, rate.values, strict=True)
    )
    return Measured(float(rate.max()), note)


_2024 = "Gould and Tanaka 2024 (arXiv 2411.05746)"
_FIGURE = "scale_invariance"
_FILES = ("comparison.nc", "discrete.nc")
_EXCESS = "growth of ||W||^2 over the sum of squared steps, less 1, of the kernel where it is farthest from 0"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="scale-invariance-orthogonal",
        figure=_FIGURE,
        source=_2024,
        statement=(
            "Where the loss does not depend on the scale of a kernel W, the gradient is orthogonal to W: their cosine "
            "is at most 1e-4 at every step, which leaves room for single precision."
        ),
        quantity="largest cosine of a kernel and its gradient",
        measure=alignment,
        allowed=at_most(1e-4),
        files=_FILES,
    ),
    Claim(
        id="scale-invariance-growth-gd",
        figure=_FIGURE,
        source=_2024,
        statement=(
            "Under gradient descent ||W||^2 therefore grows by the squared length of each step and nothing else: from "
            "start to end by their sum, within 1% of it."
        ),
        quantity=_EXCESS,
        measure=excess,
        allowed=at_most(0.01),
        about=optimizer_in("gd"),
        files=_FILES,
    ),
    Claim(
        id="scale-invariance-growth-adam",
        figure=_FIGURE,
        source=_2024,
        statement=(
            "Under Adam the part of the steps along W is small, so that ||W||^2 still grows by the sum of their "
            "squared lengths, within 20% of it."
        ),
        quantity=_EXCESS,
        measure=excess,
        allowed=at_most(0.2),
        about=optimizer_in("adam"),
        files=_FILES,
    ),
    Claim(
        id="scale-invariance-growth-momentum",
        figure=_FIGURE,
        source=TARGET,
        statement=(
            "Momentum b alone makes ||W||^2 grow by (1 + b) / (1 - b) times the sum of squared steps, within 1%: old "
            "gradients in the moving average are not orthogonal to the present W."
        ),
        quantity="growth of ||W||^2 over (1 + b) / (1 - b) times the sum of squared steps, less 1, as above",
        measure=excess_over_momentum,
        allowed=at_most(0.01),
        about=optimizer_in("heavy_ball"),
        files=_FILES,
    ),
    Claim(
        id="scale-invariance-rate",
        figure=_FIGURE,
        source=_2024,
        statement=(
            "The growing norm is a second normalisation: the effective learning rate of the direction W / ||W|| is "
            "lower at the end than at the start, for every kernel."
        ),
        quantity="effective learning rate at the end over that at the start, of the kernel where it is largest",
        measure=last_rate,
        allowed=Bound(high=1, strict=True),
        files=_FILES,
    ),
)
