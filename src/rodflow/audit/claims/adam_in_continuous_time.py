"""Adam in continuous time: Gould and Tanaka 2024. Claims about adam_region.nc, see `rodflow.stages.adam_region`."""

import numpy as np
import xarray as xr

from rodflow.audit.claims.claim import Bound, Claim, Measured, NotApplicable, at_most
from rodflow.audit.numbers import digits

ROUNDING = 1e-6
"""By how much a ratio of double-precision numbers that is at most 1 may seem to be above."""


def over_bound(data: xr.Dataset) -> Measured:
    """The largest update of all gradients, those of training included, over its bound."""
    at = data["bound"].sel(step=data.attrs["climbed_steps"])
    corrected = data["bound"] * data["correction"]
    there = corrected.sel(step=data["training_step"])
    ratios = {
        "given": data["update"] / data["bound"],
        "climbed": data["climbed"] / at,
        "by eigenvalue": data["eigenvalue"] / at,
        "training": data["training_update"] / there,
    }
    # NaN says that training has diverged, but of all others that something went wrong.
    largest = {name: float(ratio.max(skipna=name == "training")) for name, ratio in ratios.items()}
    note = ", ".join(f"{name} {value:.7f}" for name, value in largest.items())
    return Measured(float(np.max([*largest.values()])), note)


def over_limit(data: xr.Dataset) -> Measured:
    """The largest update inside the region over its bound for all time, with and without bias correction.

    Raises:
        NotApplicable: no point of the path is inside.
    """
    inside = data.isel(point=np.flatnonzero((data["condition"] > 0) & (data["quotient"] < 1)))
    if not inside.sizes["point"]:
        raise NotApplicable("no point of the path is inside")
    plain = inside["update"].max(["gradients", "step"], skipna=False)
    corrected = (inside["update"] * inside["correction"]).max(["gradients", "step"])
    trained = inside["training_update"].max(["seed", "training_step"])
    worst = np.max([plain, corrected, trained], axis=0)
    note = f"{inside.sizes['point']} points, the largest update {digits(worst.max())}"
    return Measured(float(np.max(worst / inside["limit"].values)), note)


def rate_error(data: xr.Dataset) -> Measured:
    """The largest relative error of the predicted growth rate outside the region, in discrete and continuous time.

    Raises:
        NotApplicable: no point of the path is outside.
    """
    outside = data["predicted_rate"].where(data["predicted_rate"] > ROUNDING)
    if not bool(outside.notnull().any()):
        raise NotApplicable("no point of the path is outside")
    errors = abs(data["growth_rate"] / outside - 1)
    errors = errors.where(errors.notnull() | outside.isnull(), np.inf)
    words = [f"{digits(float(errors.sel(time=t).max()))} in {t} time" for t in data["time"].values]
    return Measured(float(errors.max()), ", ".join(words))


_2024 = "Gould and Tanaka 2024 (arXiv 2411.05746)"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="adam-bound-never-exceeded",
        source=_2024,
        place="section 2",
        statement=(
            "No gradients make an update of Adam larger than the bound at the step, neither constant, random or "
            "those of training, nor such as are chosen to make it large."
        ),
        quantity="largest update over its bound",
        measure=over_bound,
        allowed=at_most(1 + ROUNDING),
        figure="adam_region",
        artifact="adam_region",
        files=("adam_region.nc",),
    ),
    Claim(
        id="adam-bounded-inside",
        source=_2024,
        place="section 2",
        statement="Inside the region, C(b, c) > 0 and b^2 < c, updates are bounded for all time.",
        quantity="largest update at a point inside over the bound for all time",
        measure=over_limit,
        allowed=at_most(1 + ROUNDING),
        figure="adam_region",
        artifact="adam_region",
        files=("adam_region.nc",),
    ),
    Claim(
        id="adam-grows-outside",
        source=_2024,
        place="section 2",
        statement=(
            "Outside the region the largest possible update grows exponentially, at the rate |C|/2 in continuous "
            "time and log(b^2/c)/2 a step in discrete time, within 2%."
        ),
        quantity="largest relative error of the predicted growth rate at a point outside",
        measure=rate_error,
        allowed=Bound(0, 0.02),
        figure="adam_region",
        artifact="adam_region",
        files=("adam_region.nc",),
    ),
)
