"""The averaged squared gradient and the second moment: what central flows predict of them (Cohen et al. 2024).

A central flow has E g^2 = g^2 + diag(H Sigma H), and its second moment follows that. Of E g^2 an artifact has the sum
over the weights only; weight by weight it is in the second moment, its moving average in the run and in the flow.
Every place is our reading. The bounds were set before any of these numbers was measured.
"""

import math

import numpy as np
import xarray as xr

from rodflow.analysis import edge
from rodflow.analysis.equilibrium import WINDOW, moving_average
from rodflow.audit.claims.central_flow import COHEN, FLOW
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    at_most,
)
from rodflow.audit.claims.measures import (
    NON_MOMENTUM,
    SHORTEST,
    edge_of,
    failed,
    optimizer_in,
)
from rodflow.audit.claims.rod_flow import ROD_FLOWS
from rodflow.audit.numbers import digits
from rodflow.store.results import DISCRETE, StoredRun

FACTOR = Bound(0.8, 1.25)
"""A factor of 1.25 either way, as for the variances (`central-variance`): at the edge the oscillation is most of the
squared gradient, and its part, tr H Sigma H, is a sum of variances. For the second moment the same factor says that it
lags little: a memory of m steps, b2 / (1 - b2), is 1 / (1 - m/T) times a squared gradient that falls e-fold in T steps,
so that at 1.25 this takes five memories."""

OFF = 0.25
"""What that factor is of a distance."""

_ADAPTIVE = NON_MOMENTUM[1:]
_AVERAGED = "averaged_squared_gradient"


def _inside(run: StoredRun, flow: str) -> tuple[str, edge.Window]:
    """How a flow failed, "" if it did not, and the window of the run."""
    failure = failed(run, flow)
    return failure, edge_of(run)


def _averaged(run: StoredRun, flow: str) -> xr.DataArray:
    series = run.series(flow)
    if _AVERAGED not in series:
        raise NotApplicable(f"the {flow} flow has no averaged squared gradient")
    return series[_AVERAGED].astype(np.float64)


def squared_gradient(flow: str) -> Measure:
    """Averaged squared gradient that a flow predicts over that of the iterates, time averages at the edge of stability.

    The quantiles are of the quotient of moving averages. inf if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as `failed` and `edge_of`, the flow has no averaged squared gradient, or the run
            is at the edge for no more steps than a moving average takes.
    """

    def measure(run: StoredRun) -> Measured:
        failure, where = _inside(run, flow)
        if failure:
            return Measured(math.inf, failure)
        steps = slice(where.first, where.last)
        predicted = _averaged(run, flow).sel(step=steps)
        true = (run.series(DISCRETE)["gradient_norm"].astype(np.float64) ** 2).sel(step=steps)
        if true.sizes["step"] <= WINDOW:
            raise NotApplicable(f"at the edge for {true.sizes['step']} steps")
        own, other = float(predicted.mean()), float(true.mean())
        moving = moving_average(predicted) / moving_average(true)
        low, high = (float(moving.quantile(share)) for share in (0.1, 0.9))
        note = f"{flow} {digits(own)}, run {digits(other)}, steps {where.first} to {where.last}"
        return Measured(own / other, note, low, high)

    return measure


def _moments(run: StoredRun, process: str, where: edge.Window) -> xr.DataArray:
    """Its second moment at the snapshots of a window, with a parameter even where one number is all weights'."""
    data = run.trajectory(process)
    if "second_moment" not in data:
        raise NotApplicable("the optimizer has no second moment")
    found = data["second_moment"].sel(snapshot=slice(where.first, where.last)).astype(np.float64)
    if found.sizes["snapshot"] < SHORTEST:
        raise NotApplicable(f"at the edge for {found.sizes['snapshot']} snapshots")
    return found if "parameter" in found.dims else found.expand_dims("parameter", -1)


def moment_error(flow: str) -> Measure:
    """Distance of a flow's second moment from the run's over the latter, summed over weights; time average at the edge.

    inf if the flow diverged.
    """

    def measure(run: StoredRun) -> Measured:
        failure, where = _inside(run, flow)
        if failure:
            return Measured(math.inf, failure)
        own, true = xr.align(
            *(_moments(run, name, where) for name in (flow, DISCRETE)), exclude="parameter"
        )
        off = abs(own - true).sum("parameter") / true.sum("parameter")
        low, high = np.quantile(off, (0.1, 0.9))
        sums = float((own.sum("parameter") / true.sum("parameter")).mean())
        return Measured(
            float(off.mean()),
            f"the sums are {digits(sums)} times the run's",
            float(low),
            float(high),
        )

    return measure


def stationary(run: StoredRun) -> Measured:
    """Second moment over averaged squared gradient along the central flow, both summed over weights.

    Geometric mean over the snapshots at the edge of stability; inf if the flow diverged.
    """
    failure, where = _inside(run, FLOW)
    if failure:
        return Measured(math.inf, failure)
    moment = _moments(run, FLOW, where).sum("parameter")
    driving = _averaged(run, FLOW).rename(step="snapshot")
    quotient = moment / driving.reindex(snapshot=moment["snapshot"])
    low, high = np.quantile(quotient, (0.1, 0.9))
    mean = float(np.exp(np.log(quotient).mean()))
    return Measured(mean, f"steps {where.first} to {where.last}", float(low), float(high))


def _moment_claim(flow: str, stem: str, name: str, source: str) -> Claim:
    return Claim(
        id=f"{stem}-second-moment",
        figure="variances",
        source=source,
        statement=(
            f"The second moment of the {name} is that of the run, weight by weight: at the edge of stability their "
            "distance, summed over the weights, is at most a quarter of it in the time average."
        ),
        quantity="sum over weights of the difference of second moments over that of the run's, time average",
        measure=moment_error(flow),
        allowed=at_most(OFF),
        files=("comparison.nc", "discrete.nc", f"{flow}.nc"),
        about=optimizer_in(*_ADAPTIVE),
        flow=flow,
        same_of=moment_error,
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="central-squared-gradient",
        source=COHEN,
        statement=(
            "At the edge of stability the central flow predicts the averaged squared gradient of the iterates, "
            "|g|^2 + tr H Sigma H: the time average within a factor 1.25."
        ),
        quantity="averaged squared gradient of the central flow over that of the iterates, both time averages",
        measure=squared_gradient(FLOW),
        allowed=FACTOR,
        files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
        about=optimizer_in(*NON_MOMENTUM),
        flow=FLOW,
        same_of=squared_gradient,
    ),
    _moment_claim(FLOW, FLOW, "central flow", COHEN),
    *(_moment_claim(flow, stem, name, TARGET) for flow, (stem, name) in ROD_FLOWS.items()),
    Claim(
        id="central-second-moment-stationary",
        figure="variances",
        source=COHEN,
        statement=(
            "At the edge of stability the second moment of the central flow is nearly stationary: summed over the "
            "weights it is the averaged squared gradient by which it is driven, within a factor 1.25."
        ),
        quantity="second moment over averaged squared gradient along the central flow, geometric mean",
        measure=stationary,
        allowed=FACTOR,
        files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
        about=optimizer_in(*_ADAPTIVE),
        flow=FLOW,
    ),
)
"""In the order of the report."""
