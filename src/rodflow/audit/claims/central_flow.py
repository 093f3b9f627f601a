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
    failed,
    loss_error,
    optimizer_in,
    over,
    stable_over,
)
from rodflow.audit.numbers import digits
from rodflow.figures.core.preconditioner import preconditioner
from rodflow.store import artifact
from rodflow.store.results import DISCRETE, StoredRun

FLOW = "central"
WITHOUT = "central_unregularised"


def rising(flow: str) -> Measure:
    """On which fraction of the steps the loss along a flow rises, by more than the rounding of float32."""

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

    From the second snapshot after the onset on; inf if the flow diverged.
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


_COHEN = "Cohen et al. 2024 (arXiv 2410.24206)"
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
        source=_COHEN,
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
        source=_COHEN,
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
    Claim(
        id="central-loss-falls",
        source=_COHEN,
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
        source=_COHEN,
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
