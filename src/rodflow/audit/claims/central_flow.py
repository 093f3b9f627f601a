"""Central flow: Cohen et al. 2024, and this project's own targets."""

import math

import numpy as np

from rodflow.audit.claims.claim import Claim, Measure, Measured, NotApplicable, above, at_most
from rodflow.audit.claims.measures import (
    DIGITS_GD,
    DIGITS_RMSPROP,
    NON_MOMENTUM,
    demand,
    failed,
    late_steps,
    loss_error,
    optimizer_in,
    stable_over,
    tracking_error,
)
from rodflow.figures.core.preconditioner import preconditioner
from rodflow.store import artifact
from rodflow.store.results import DISCRETE, StoredRun

FLOW = "central"
WITHOUT = "central_unregularised"


def below_stable(run: StoredRun) -> Measured:
    """Last tracking error of the stable flow over that of the central flow, where there is something to tell apart."""
    if math.isnan(float(run.comparison["onset"].sel(process=DISCRETE))):
        raise NotApplicable("threshold never reached")
    return stable_over(FLOW)(run)


def rising(run: StoredRun) -> Measured:
    """On which fraction of the steps the loss along the central flow rises, by more than the rounding of float32."""
    if failure := failed(run, FLOW):
        return Measured(math.inf, failure)
    fractions = []
    for process in (FLOW, DISCRETE):
        loss = run.series(process)["loss"].sel(step=late_steps(run, since=0)).values.astype(float)
        fractions.append(float(np.mean(np.diff(loss) > np.finfo(np.float32).eps * loss[:-1])))
    if fractions[1] == 0:
        raise NotApplicable("the loss of the iterates never rises")
    return Measured(fractions[0], f"that of the iterates on {fractions[1]:.2g} of them")


def acceleration(run: StoredRun) -> Measured:
    """Effective step size at the end of the central flow over that of the flow without curvature term.

    The harmonic mean over the weights of eta / P: an ordinary mean would be that of weights without a gradient.
    """
    for flow in (FLOW, WITHOUT):
        demand(run, flow)
    optimizer = artifact.settings(run.comparison)["optimizer"]
    ends = [preconditioner(run.trajectory(flow), optimizer)[-1].mean() for flow in (FLOW, WITHOUT)]
    steps = [optimizer["learning_rate"] / float(end) for end in ends]
    note = f"{steps[0]:.3g} with the curvature term, {steps[1]:.3g} without"
    return Measured(steps[0] / steps[1], note)


def departure(run: StoredRun) -> Measured:
    """Largest distance of sharpness over threshold from 1 at the flow's centre, where its oscillation is not zero.

    From the second snapshot after the onset on; inf if the flow diverged.
    """
    if failure := failed(run, FLOW):
        return Measured(math.inf, failure)
    ratio = run.comparison["sharpness_over_threshold"].sel(process=FLOW).dropna("snapshot")
    onset = float(run.comparison["onset"].sel(process=FLOW))
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
    return Measured(times[0] / times[1], f"{1e3 * times[0]:.3g} ms over {1e3 * times[1]:.3g} ms")


_COHEN = "Cohen et al. 2024 (arXiv 2410.24206)"
_OF_GD: tuple[tuple[str, str, str, Measure, float], ...] = (
    ("mean", "its mean tracking error is at most 0.011", "geometric mean of the tracking error",
     tracking_error(FLOW, "mean"), 1.1e-2),
    ("pinned", "the sharpness stays within 0.1% of 2/eta while its oscillation lasts",
     "largest distance of sharpness over threshold from 1", departure, 1e-3),
    ("cost", "a step takes at most 60 times that of gradient descent",
     "wall time of a step over the discrete run's", cost, 60),
)  # fmt: skip

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="central-below-stable",
        source=_COHEN,
        statement=(
            "The central flow predicts the time-averaged trajectory where the stable flow does "
            "not: it ends nearer to the discrete run."
        ),
        quantity="last tracking error of the stable flow over that of the central flow",
        measure=below_stable,
        allowed=above(1),
        about=optimizer_in(*NON_MOMENTUM),
    ),
    Claim(
        id="central-loss",
        source=_COHEN,
        statement=(
            "The central flow predicts the time-averaged loss, L + <H, Sigma> / 2, of the iterates "
            "within 10%."
        ),
        quantity=(
            "geometric mean, in the last quarter, of the relative difference of losses averaged "
            "over pairs of consecutive steps"
        ),
        measure=loss_error(FLOW),
        allowed=at_most(0.1),
        files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
        about=optimizer_in(*NON_MOMENTUM),
    ),
    Claim(
        id="central-loss-falls",
        source=_COHEN,
        statement=(
            "The loss falls along the central flow even where that of the iterates rises: it "
            "rises on at most 1% of the steps."
        ),
        quantity="fraction of steps on which the loss along the central flow rises",
        measure=rising,
        allowed=at_most(0.01),
        files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
        about=optimizer_in(*NON_MOMENTUM),
    ),
    Claim(
        id="central-acceleration",
        source=_COHEN,
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
    ),
    *(
        Claim(
            id=f"digits-central-gd-{name}",
            source="target",
            statement=f"On the digits MLP with gd the central flow is exact and cheap: {words}.",
            quantity=quantity,
            measure=measure,
            allowed=at_most(limit),
            files=("comparison.nc", "discrete.nc", f"{FLOW}.nc"),
            about=DIGITS_GD,
        )
        for name, words, quantity, measure, limit in _OF_GD
    ),
    Claim(
        id="digits-central-rmsprop",
        source="target",
        statement="On the digits MLP with rmsprop the central flow ends within 10% of the distance travelled.",
        quantity="last tracking error",
        measure=tracking_error(FLOW, "last"),
        allowed=at_most(0.1),
        about=DIGITS_RMSPROP,
    ),
)
"""In the order of the report."""
