"""Central flow: Cohen et al. 2024, and this project's own targets."""

import math

import numpy as np

from rodflow.audit.claims.claim import (
    TARGET,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    above,
    at_most,
)
from rodflow.audit.claims.measures import (
    DIGITS_GD,
    DIGITS_RMSPROP,
    LOSS_ERROR,
    MEDIAN_ERROR,
    NON_MOMENTUM,
    all_steps,
    compared,
    demand,
    edge_error,
    edge_of,
    failed,
    loss_error,
    optimizer_in,
    over,
    stable_over,
)
from rodflow.audit.numbers import digits
from rodflow.figures.core.preconditioner import preconditioner
from rodflow.figures.core.variances import held_variances, variances
from rodflow.store import artifact
from rodflow.store.results import DISCRETE, StoredRun

FLOW = "central"
WITHOUT = "central_unregularised"


def rising(flow: str) -> Measure:
    """On which fraction of the steps the loss along a flow rises, by more than the rounding of float32.

    inf if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as `failed`, or the loss of the iterates never rises.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        fractions = []
        for process in (flow, DISCRETE):
            loss = run.series(process)["loss"].sel(step=all_steps(run)).values.astype(float)
            rises = np.diff(loss) > np.finfo(np.float32).eps * loss[:-1]
            fractions.append(float(np.mean(rises)))
        if fractions[1] == 0:
            raise NotApplicable("the loss of the iterates never rises")
        return Measured(fractions[0], f"that of the iterates on {digits(fractions[1])} of them")

    return measure


def acceleration(run: StoredRun) -> Measured:
    """Effective step size at the end of the central flow over that of the flow without curvature term.

    The harmonic mean over the weights of eta / P: an ordinary mean would be that of weights without a gradient.
    """
    for flow in (FLOW, WITHOUT):
        demand(run, flow)
    optimizer = artifact.settings(run.comparison)["optimizer"]
    ends = [preconditioner(run.trajectory(flow), optimizer)[-1].mean() for flow in (FLOW, WITHOUT)]
    steps = [optimizer["learning_rate"] / float(end) for end in ends]
    note = f"{digits(steps[0])} with the curvature term, {digits(steps[1])} without"
    return Measured(steps[0] / steps[1], note)


def departure(run: StoredRun) -> Measured:
    """Largest distance of sharpness over threshold from 1 at the flow's centre, where its oscillation is not zero.

    From the second such snapshot after the onset of the flow on; inf if the flow diverged.

    Raises:
        NotApplicable: as `failed`, or there are fewer than two such snapshots.
    """
    if failure := failed(run, FLOW):
        return Measured(math.inf, failure)
    ratio = run.comparison["sharpness_over_threshold"].sel(process=FLOW).dropna("snapshot")
    onset = compared(run, "onset", FLOW)
    width = (
        run.series(FLOW)["oscillation"].rename(step="snapshot").reindex(snapshot=ratio["snapshot"])
    )
    engaged = ratio[(ratio["snapshot"] > onset) & (width > 0)]
    if engaged.size < 2:
        raise NotApplicable("the central flow is not at its threshold")
    steps = engaged["snapshot"].values
    return Measured(
        float(abs(engaged[1:] - 1).max()),
        f"{engaged.size - 1} snapshots from step {steps[1]} to {steps[-1]}",
    )


def cost(run: StoredRun) -> Measured:
    """Wall time of a step of the central flow over that of the discrete run."""
    demand(run, DISCRETE, FLOW)
    times = [float(run.series(process).attrs["step_time_s"]) for process in (FLOW, DISCRETE)]
    return Measured(
        times[0] / times[1], f"{digits(1e3 * times[0])} ms over {digits(1e3 * times[1])} ms"
    )


def variance_error(flow: str) -> Measure:
    """By which factor the variances that a flow predicts are off, the largest over directions; inf if it diverged.

    Time averages at the edge of stability are compared, along those directions in which the run has at least a tenth of
    its largest.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as `failed` and `edge_of`, or nothing oscillates.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        where = edge_of(run)
        of_run, of_flow = (variances(run, process) for process in (DISCRETE, flow))
        if of_run is None or of_flow is None:
            raise NotApplicable("nothing oscillates")
        own, predicted = (held_variances(run, values) for values in (of_run, of_flow))
        kept = own >= 0.1 * own[0]
        with np.errstate(divide="ignore"):
            off = float(np.exp(np.abs(np.log(predicted[kept] / own[kept])).max()))
        pairs = zip(own[kept], predicted[kept], strict=True)
        words = "; ".join(f"run {digits(a)}, {flow} {digits(b)}" for a, b in pairs)
        return Measured(off, f"{words}, steps {where.first} to {where.last}")

    return measure


_VARIANCE = (
    "factor between the time averages at the edge of stability, the larger over the smaller; the largest over "
    "directions"
)


def _predicts_variance(name: str, source: str, who: str, flow: str) -> Claim:
    """That a flow predicts with which variances the iterates oscillate."""
    return Claim(
        id=name,
        figure="variances",
        source=source,
        statement=(
            f"At the edge of stability {who} predicts the variance of the oscillation along each of its directions: "
            "the time average within a factor 1.25, where a direction has at least a tenth of the largest."
        ),
        quantity=_VARIANCE,
        measure=variance_error(flow),
        allowed=at_most(1.25),
        files=("comparison.nc", "discrete.nc", f"{flow}.nc"),
        about=optimizer_in(*NON_MOMENTUM),
        flow=flow,
        same_of=variance_error,
    )


COHEN = "Cohen et al. 2024 (arXiv 2410.24206)"
_ABSTRACT = "abstract"
_OF_GD: tuple[tuple[str, str, str, Measure, float], ...] = (
    ("pinned", "the sharpness stays within 0.1% of 2/eta while its oscillation lasts",
     "largest distance of sharpness over threshold from 1", departure, 1e-3),
    ("cost", "a step takes at most 60 times that of gradient descent",
     "wall time of a step over the discrete run's", cost, 60),
)  # fmt: skip

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="central-tracks",
        source=COHEN,
        place=_ABSTRACT,
        statement=(
            "The central flow predicts the time-averaged trajectory where the stable flow does not: from the onset of "
            "the threshold on its median tracking error is smaller."
        ),
        quantity=over("stable flow", "central flow"),
        measure=stable_over(FLOW),
        allowed=above(1),
        about=optimizer_in(*NON_MOMENTUM),
        flow=FLOW,
        same_of=stable_over,
    ),
    Claim(
        id="central-loss",
        source=COHEN,
        statement=(
            "At the edge of stability the central flow predicts the time-averaged loss, L + <H, Sigma> / 2, of the "
            "iterates within 10%."
        ),
        quantity=LOSS_ERROR,
        measure=loss_error(FLOW),
        allowed=at_most(0.1),
        files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
        about=optimizer_in(*NON_MOMENTUM),
        flow=FLOW,
        same_of=loss_error,
    ),
    _predicts_variance("central-variance", COHEN, "the central flow", FLOW),
    _predicts_variance(
        "rod-unit-step-variance", TARGET, "the rod flow (unit step)", "rod_unit_step"
    ),
    Claim(
        id="central-loss-falls",
        source=COHEN,
        statement=(
            "The loss falls along the central flow even where that of the iterates rises: it "
            "rises on at most 1% of the steps."
        ),
        quantity="fraction of steps on which the loss along the central flow rises",
        measure=rising(FLOW),
        allowed=at_most(0.01),
        files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
        about=optimizer_in(*NON_MOMENTUM),
        flow=FLOW,
        same_of=rising,
    ),
    Claim(
        id="central-acceleration",
        source=COHEN,
        place=_ABSTRACT,
        statement=(
            "Acceleration via regularisation: the curvature term takes the flow to regions where "
            "the preconditioner allows larger steps. The effective step size ends higher with it "
            "than without."
        ),
        quantity="last effective step size with the curvature term over that without",
        measure=acceleration,
        allowed=above(1),
        files=("comparison.nc", f"{FLOW}.nc", f"{WITHOUT}.nc"),
        about=optimizer_in(*NON_MOMENTUM[1:]),
        flow=FLOW,
    ),
    *(
        Claim(
            id=f"digits-central-{optimizer}-error",
            source=TARGET,
            statement=(
                f"On the digits MLP with {optimizer} the tracking error of the central flow is at most {limit:g}, "
                "in the median from the onset of the threshold on."
            ),
            quantity=MEDIAN_ERROR,
            measure=edge_error(FLOW),
            allowed=at_most(limit),
            about=about,
            flow=FLOW,
            same_of=edge_error,
        )
        for optimizer, about, limit in (("gd", DIGITS_GD, 1.1e-2), ("rmsprop", DIGITS_RMSPROP, 0.1))
    ),
    *(
        Claim(
            id=f"digits-central-gd-{name}",
            source=TARGET,
            statement=f"On the digits MLP with gd the central flow is exact and cheap: {words}.",
            quantity=quantity,
            measure=measure,
            allowed=at_most(limit),
            files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
            about=DIGITS_GD,
            flow=FLOW,
        )
        for name, words, quantity, measure, limit in _OF_GD
    ),
)
"""In the order of the report."""
