"""What Cohen et al. 2021 say besides gradient descent at one size: config/cohen2021.yaml.

The rules were written before the runs.
"""

import math
from collections.abc import Callable, Mapping

from rodflow.audit.claims.claim import Bound, Claim, Measured, NotApplicable
from rodflow.audit.claims.edge_of_stability import late
from rodflow.audit.claims.measures import HELD, compared, demand, equilibrium
from rodflow.audit.numbers import digits
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FIGURE = "cohen2021"
TAYLOR = "taylor"

AROUND = 100
"""Steps before a drop in which a run must have been at its threshold, and after it in which it must be below."""


def full_batch(*optimizers: str, dropped: bool = False) -> Callable[[Settings], str]:
    """Full-batch runs of these optimizers, with a learning rate that drops or one that does not change."""
    reason = f"is about full-batch {', '.join(optimizers)}" + " whose rate drops" * dropped

    def about(settings: Settings) -> str:
        chosen, rate = settings["optimizer"], settings["optimizer"].get("learning_rate")
        drops = isinstance(rate, Mapping) and rate["schedule"] == "drop"
        whole = settings["batch_size"] is None
        fits = chosen["name"] in optimizers and whole and drops == dropped
        return "" if fits else reason

    return about


def minibatches(settings: Settings) -> str:
    """Runs on minibatches."""
    return "" if settings["batch_size"] is not None else "is about minibatches"


def after_drop(run: StoredRun) -> Measured:
    """Mean sharpness over the new threshold in the last quarter, of a run that the drop took below it.

    Raises:
        NotApplicable: it ended early, was not within 10% of its threshold before the drop, or not below 0.8 of it
            after.
    """
    demand(run, DISCRETE)
    rate = artifact.settings(run.comparison)["optimizer"]["learning_rate"]
    ratio = run.comparison["sharpness_over_threshold"].sel(process=DISCRETE).dropna("snapshot")
    at = rate["at"]
    before = float(ratio.sel(snapshot=slice(at - AROUND, at - 1)).mean())
    below = float(ratio.sel(snapshot=slice(at + 1, at + AROUND)).min())
    if not abs(before - 1) <= 0.1:
        raise NotApplicable(f"at {digits(before)} of its threshold before the drop")
    if below > 0.8:
        raise NotApplicable(f"at {digits(below)} of its threshold after the drop")
    end = compared(run, "late_mean", DISCRETE)
    return Measured(end, f"{digits(before)} before the drop at step {at}, {digits(below)} after it")


def taylor_loss(run: StoredRun) -> Measured:
    """Modulus of the Taylor model's last loss over the run's, of models that start at the edge; inf if it diverged.

    A quadratic has no least value where a curvature is negative, so a model that leaves may have a loss below zero.

    Raises:
        NotApplicable: the run ended early, has no Taylor model, or is below its threshold where that starts.
    """
    demand(run, DISCRETE)
    if TAYLOR not in run.processes:
        raise NotApplicable("the experiment has no Taylor model")
    start = artifact.settings(run.comparison)["start"]
    ratio = run.comparison["sharpness_over_threshold"].sel(process=DISCRETE, snapshot=start)
    if (there := float(ratio)) < 1:
        raise NotApplicable(f"it starts at {digits(there)} of the threshold, at step {start}")
    if (status := run.status(TAYLOR)) != COMPLETED:
        return Measured(math.inf, status)
    losses = [float(run.series(process)["loss"][-1]) for process in (TAYLOR, DISCRETE)]
    return Measured(abs(losses[0]) / losses[1], f"{digits(losses[0])} and {digits(losses[1])}")


_2021 = "Cohen et al. 2021 (arXiv 2103.00065)"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="eos-momentum-held",
        figure=FIGURE,
        source=_2021,
        statement=(
            "With heavy-ball and with Nesterov momentum the sharpness settles at the threshold of that method: at the "
            "edge of stability its time average is within 10% of it."
        ),
        quantity=HELD,
        measure=equilibrium,
        allowed=Bound(0.9, 1.1),
        about=full_batch("heavy_ball", "nesterov"),
    ),
    Claim(
        id="eos-sizes-held",
        figure=FIGURE,
        source=_2021,
        statement=(
            "Whatever the width, the depth, the number of images and the criterion, gradient descent at the edge of "
            "stability holds 2/eta: the time average is within 10% of it."
        ),
        quantity=HELD,
        measure=equilibrium,
        allowed=Bound(0.9, 1.1),
        about=full_batch("gd"),
    ),
    Claim(
        id="eos-drop-rises",
        figure=FIGURE,
        source=_2021,
        statement=(
            "Where the learning rate drops at the edge of stability, the sharpness rises again, to the new threshold: "
            "in the last quarter it is within 10% of it."
        ),
        quantity="mean sharpness over the new threshold in the last quarter",
        measure=after_drop,
        allowed=Bound(0.9, 1.1),
        about=full_batch("sgd", dropped=True),
    ),
    Claim(
        id="eos-taylor-diverges",
        figure=FIGURE,
        source=_2021,
        statement=(
            "Started at the edge of stability, gradient descent on the quadratic Taylor model diverges where it does "
            "not on the loss: the modulus of the model's last loss is at least ten times the run's."
        ),
        quantity="modulus of the Taylor model's last loss over the last loss of the run",
        measure=taylor_loss,
        allowed=Bound(low=10, infinite=True),
        files=("comparison.nc", "discrete.nc", f"{TAYLOR}.nc"),
        about=full_batch("gd"),
    ),
    Claim(
        id="eos-sgd-below",
        figure=FIGURE,
        source=_2021,
        statement="On minibatches the full-batch sharpness does not come to 2/eta: it stays below 0.95 of it.",
        quantity="time average of sharpness over threshold in the last quarter",
        measure=late,
        allowed=Bound(high=0.95, strict=True),
        about=minibatches,
    ),
)
"""In the order of the report."""
