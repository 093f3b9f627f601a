"""Which curvature the thresholds are about: the largest eigenvalue, or that along the oscillation.

Both are averaged over the same snapshots, those at which the rod of the discrete run is open
(`rodflow.analysis.open_rod`), and judged by the same bound of 5%. Bound and window were fixed before any run was
looked at.
"""

import math
from typing import cast

import numpy as np
import xarray as xr

from rodflow.analysis.open_rod import FEWEST, held, snapshots_open
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    at_least,
    at_most,
    share,
)
from rodflow.audit.claims.measures import (
    demand,
    demand_rod,
    demand_threshold,
    onset_time,
)
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.results import DISCRETE, StoredRun

WITHIN = Bound(0.95, 1.05)
"""Values over the threshold that count as being there."""

_FIGURE = "along_rod"
_FILES = ("comparison.nc", "discrete.nc")
_WINDOW = "while the rod is open (from when it is half its longest, where it exceeds a tenth of it)"


def _of_full_batches(settings: Settings) -> str:
    return "" if settings["batch_size"] is None else "is about full-batch runs"


def _at_snapshots(run: StoredRun) -> np.ndarray:
    demand(run, DISCRETE)
    demand_rod(run)
    start = artifact.settings(run.comparison)["start"]
    at = run.comparison["snapshot"].values
    return snapshots_open(run.series(DISCRETE)["rod_length"], at, start)


def while_open(name: str) -> Measure:
    """Time average of a quantity over its threshold while the rod of the discrete run is open.

    Args:
        name: "sharpness", "secant" or "quotient".

    Raises:
        NotApplicable: by the measure, of a run that ended early, never reaches a linear threshold or has no rod, or
            whose rod is open at fewer than `FEWEST` snapshots.
    """

    def measure(run: StoredRun) -> Measured:
        demand_threshold(run)
        if math.isinf((time := onset_time(run)).value):
            raise NotApplicable(time.note)
        values = run.comparison[f"{name}_over_threshold"].sel(process=DISCRETE)
        found = held(values, _at_snapshots(run))
        if math.isnan(found.mean):
            raise NotApplicable(f"open at {found.size} snapshots, of {FEWEST} that are needed")
        words = f"10 to 90%: {found.low:.3g} to {found.high:.3g}, {found.size} snapshots"
        return Measured(found.mean, words)

    return measure


def multiplier_while_open(run: StoredRun) -> Measured:
    """Geometric mean of the multiplier while the rod of the discrete run is open.

    Raises:
        NotApplicable: the run ended early or has no rod, or its rod is open at fewer than `FEWEST` snapshots.
    """
    logarithm = cast(xr.DataArray, np.log(run.comparison["multiplier"].sel(process=DISCRETE)))
    found = held(logarithm, _at_snapshots(run))
    if math.isnan(found.mean):
        raise NotApplicable(f"open at {found.size} snapshots, of {FEWEST} that are needed")
    low, mean, high = np.exp([found.low, found.mean, found.high])
    return Measured(float(mean), f"10 to 90%: {low:.3g} to {high:.3g}, {found.size} snapshots")


def nearer(run: StoredRun) -> Measured:
    """Distance of the secant from the threshold over that of the largest eigenvalue, both averaged."""
    secant, largest = (while_open(name)(run).value for name in ("secant", "sharpness"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.float64(abs(secant - 1)) / np.float64(abs(largest - 1)))
    return Measured(ratio, f"secant {secant:.3g}, largest eigenvalue {largest:.3g}")


_QUANTITIES = {
    "secant": "preconditioned secant along the rod",
    "quotient": "preconditioned Rayleigh quotient of the rod",
    "sharpness": "largest eigenvalue of the preconditioned Hessian",
}

CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            id=f"{name}-while-open",
            source=TARGET,
            figure=_FIGURE,
            statement=f"The {what} settles at the threshold: {_WINDOW} its time average is within 5% of it.",
            quantity=f"time average of the {what} over the threshold",
            measure=while_open(name),
            allowed=WITHIN,
            files=_FILES,
            about=_of_full_batches,
        )
        for name, what in _QUANTITIES.items()
    ),
    Claim(
        id="curvature-along-rod-nearer",
        source=TARGET,
        figure=_FIGURE,
        statement=(
            "The thresholds are about the curvature along the oscillation: in at least 80% of the runs the secant "
            f"along the rod is nearer to the threshold than the largest eigenvalue, both averaged {_WINDOW}."
        ),
        quantity="distance of the secant from the threshold over that of the largest eigenvalue",
        measure=nearer,
        allowed=at_least(0.8),
        files=_FILES,
        overall=share(at_most(1)),
        about=_of_full_batches,
    ),
    Claim(
        id="multiplier-while-open",
        source=TARGET,
        figure=_FIGURE,
        statement=(
            "An oscillation that persists neither grows nor shrinks, with a linear threshold or without one: "
            f"{_WINDOW} the multiplier of the rod averages to 1 within 5%."
        ),
        quantity="geometric mean of the multiplier",
        measure=multiplier_while_open,
        allowed=WITHIN,
        files=_FILES,
        about=_of_full_batches,
    ),
)
"""In the order of the report."""
