"""What the rod flow says of itself: Regis and Chewi 2026, and the same of this project's own integrators.

Every place is our reading. Windows are those of `rodflow.analysis.edge`, errors count from the onset on. The bounds
were set before any of these numbers was measured, and each has its reason beside it.
"""

import math

import numpy as np
import xarray as xr

from rodflow.analysis import edge
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    at_least,
    at_most,
)
from rodflow.audit.claims.measures import (
    NON_MOMENTUM,
    SHORTEST,
    demand,
    demand_rod,
    edge_of,
    equilibrium,
    failed,
    onset_of,
    optimizer_in,
    ratio,
)
from rodflow.audit.claims.rod_flow import REGIS_CHEWI, ROD_FLOWS
from rodflow.audit.numbers import digits
from rodflow.store.results import DISCRETE, StoredRun

SETTLED = Bound(0.9, 1.1)
"""As for the iterates (`threshold-held`): a flow that is to explain where they settle is held to the same."""

IN_SPAN = 1 - edge.NEAR
"""Of the squared rod. A mode that is 10% below the threshold shrinks by a fifth in each step of a method without
momentum, and by a twentieth at b = 0.9: there is no oscillation along it but what the others force. The convention of
10% leaves room for that."""

AGREE = edge.NEAR
"""Of the difference that the oscillation makes, which is the stable flow's distance: the convention of 10%. As a part
of the path's length it would be a bound that the stable flow passes, too."""


def settled(flow: str) -> Measure:
    """Time average, at the edge of stability, of sharpness over threshold along a flow; inf if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as `failed` and `edge_of`, or the flow has fewer than `SHORTEST` snapshots there.
    """

    def measure(run: StoredRun) -> Measured:
        failure = failed(run, flow)
        where = edge_of(run)
        if failure:
            return Measured(math.inf, failure)
        found = edge.spread(run.comparison["sharpness_over_threshold"].sel(process=flow), where)
        if found.size < SHORTEST:
            raise NotApplicable(
                f"at the edge for {found.size} snapshots, from step {where.first} on"
            )
        near = f"within 10% for {100 * found.near:.0f}% of the steps {where.first} to {where.last}"
        note = f"{near}; the run {digits(equilibrium(run).value)}"
        return Measured(found.mean, note, found.low, found.high)

    return measure


def in_span(process: str) -> Measure:
    """Part of the squared rod in the span of the leading eigenvectors, averaged over the edge of stability.

    In the coordinates P^(1/2) w, in which the eigenvectors are orthogonal. Only where the rod is open, and where the
    eigenvectors that were followed reach below 0.9 of the threshold: the rod may lie in every direction that is at the
    edge. 0 if the flow diverged.

    Args:
        process: "discrete" or a flow.

    Raises:
        NotApplicable: by the measure, as `failed`, `demand_rod` and `edge_of`, or there are fewer than `SHORTEST` such
            snapshots.
    """

    def measure(run: StoredRun) -> Measured:
        failure = "" if process == DISCRETE else failed(run, process)
        demand_rod(run)
        where = edge_of(run)
        if failure:
            return Measured(0.0, failure)
        rods = run.eigenvalues(process)
        lengths = run.series(process)["rod_length"].sel(step=slice(where.first, where.last))
        is_open = lengths["step"].values[lengths.values >= edge.CLOSED * lengths.values.max()]
        whole = rods["snapshot"].values[rods["span_reaches"].values < 1 - edge.NEAR]
        found = rods["rod_in_span"].sel(snapshot=np.intersect1d(is_open, whole)).values
        if found.size < SHORTEST:
            raise NotApplicable(
                f"{found.size} snapshots, of {SHORTEST} that are needed, at which no direction near the threshold may "
                "have been left out"
            )
        low, high = np.quantile(found, (0.1, 0.9))
        note = f"{found.size} snapshots of the steps {where.first} to {where.last}"
        return Measured(float(found.mean()), note, float(low), float(high))

    return measure


def apart(flow: str) -> Measure:
    """Distance of a rod flow's centre from the central flow over that of the stable flow from it; inf if it diverged.

    Both are medians from the onset of the threshold on.
    """

    def measure(run: StoredRun) -> Measured:
        failure = failed(run, flow) or failed(run, "central")
        demand(run, "stable")
        onset = onset_of(run)
        if failure:
            return Measured(math.inf, failure)
        own, stable = (_from_central(run, name, onset) for name in (flow, "stable"))
        return Measured(ratio(own, stable), f"{flow} {digits(own)}, stable {digits(stable)}")

    return measure


def _from_central(run: StoredRun, flow: str, onset: float) -> float:
    here, there = xr.align(
        *(run.trajectory(name)["weights"] for name in (flow, "central")), exclude="parameter"
    )
    later = slice(onset, None)
    away = (here.sel(snapshot=later).astype(np.float64) - there.sel(snapshot=later)) ** 2
    if away.sizes["snapshot"] < SHORTEST:
        raise NotApplicable(f"{away.sizes['snapshot']} snapshots from the onset on")
    return float(np.median(away.sum("parameter") ** 0.5))


def _source(process: str) -> str:
    return REGIS_CHEWI if process == "rod" else TARGET


def _spans(process: str, stem: str, whose: str) -> Claim:
    return Claim(
        id=f"{stem}-in-leading-span",
        figure="rod_anatomy",
        source=_source(process),
        statement=(
            f"At the edge of stability the rod of the {whose} lies in the span of the leading eigenvectors of the "
            "preconditioned Hessian: at least 90% of its squared length does, in the time average over the open rods, "
            "where the eigenvectors that were followed reach below 90% of the threshold."
        ),
        quantity="part of the squared rod in the span of the leading eigenvectors, time average",
        measure=in_span(process),
        allowed=at_least(IN_SPAN),
        files=("comparison.nc", f"{process}.nc", f"sharpness/{process}.nc"),
        flow="" if process == DISCRETE else process,
        same_of=None if process == DISCRETE else in_span,
    )  # fmt: skip


def _of(flow: str) -> tuple[Claim, ...]:
    stem, name = ROD_FLOWS[flow]
    return (
        Claim(
            id=f"{stem}-settles",
            source=_source(flow),
            statement=(
                f"The sharpness of the {name} itself settles at the threshold: along its own centre the time average "
                "at the edge of stability is within 10% of it."
            ),
            quantity="time average of sharpness over threshold along the flow, from the opening of the run's rod on",
            measure=settled(flow),
            allowed=SETTLED,
            files=("comparison.nc", "discrete.nc"),
            flow=flow,
            same_of=settled,
        ),
        _spans(flow, stem, name),
        Claim(
            id=f"{stem}-agrees-with-central",
            figure="variances",
            source=_source(flow),
            statement=(
                f"The {name} and the central flow agree: from the onset of the threshold on its centre is at most a "
                "tenth as far from the central flow as the stable flow is."
            ),
            quantity=(
                f"distance of the {name} from the central flow over that of the stable flow from it, both medians "
                "from the onset of the threshold on"
            ),
            measure=apart(flow),
            allowed=at_most(AGREE),
            files=("comparison.nc", f"{flow}.nc", "central.nc", "stable.nc"),
            about=optimizer_in(*NON_MOMENTUM),
            flow=flow,
        ),
    )


CLAIMS: tuple[Claim, ...] = (
    *(claim for flow in ROD_FLOWS for claim in _of(flow)),
    _spans(DISCRETE, "iterates", "iterates"),
)
"""In the order of the report."""
