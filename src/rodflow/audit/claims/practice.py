"""Claims about optimizers of practice: Muon, AdamW on a language model, and learning rates that fall.

The errors are those that a first measurement of a map on the tree of parameters gave, and were fixed as bounds before
any of these experiments was run.
"""

import math
from collections.abc import Callable

from rodflow.audit.claims.claim import (
    TARGET,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    at_least,
    at_most,
)
from rodflow.audit.claims.measures import compared, demand, digits_mlp, failed, optimizer_in
from rodflow.audit.numbers import digits
from rodflow.config.values import Settings
from rodflow.store.results import DISCRETE, StoredRun

_FLOW = "rod_unit_step"
_DIGITS_MUON = digits_mlp(name="muon", learning_rate=0.005, beta=0.9, start=40, steps=400)


def _adamw_on_prose(settings: Settings) -> str:
    """Whether a run is of the setting that was measured first, or why not."""
    given = {"name": "adamw", "learning_rate": 0.003, "b2": 0.99}
    optimizer = settings["optimizer"]
    same = settings["dataset"]["name"] == "prose" and settings["model"]["kind"] == "transformer"
    same = same and all(optimizer.get(key) == value for key, value in given.items())
    return "" if same else "is about AdamW at 0.003 on the transformer of English prose"


def _rate_falls_to_zero(settings: Settings) -> str:
    rate = settings["optimizer"].get("learning_rate")
    if isinstance(rate, dict) and rate.get("end") == 0.0:
        return ""
    return "is about learning rates that end at 0"


def last_stable_over(flow: str) -> Measure:
    """Last tracking error of the stable flow over that of a flow, for runs without an onset; 0 if the flow diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(0.0, failure)
        demand(run, "stable")
        stable, own = (compared(run, "error_last", one) for one in ("stable", flow))
        return Measured(stable / own, f"stable {stable:.2g}, {flow} {own:.2g}")

    return measure


def last_error(flow: str) -> Measure:
    """Last tracking error of a flow; inf if it diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        demand(run, flow)
        return Measured(compared(run, "error_last", flow))

    return measure


def closing(flow: str) -> Measure:
    """Last length of the rod over its longest, of the discrete run or a flow, the larger; inf if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as `failed`, or a rod never has a length from t0 on.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(math.inf, failure)
        demand(run, DISCRETE, flow)
        found = {}
        for process in (DISCRETE, flow):
            rods = run.series(process)["rod_length"].sel(step=slice(run.settings["start"], None))
            if not (rods > 0).any():
                raise NotApplicable("no rod opens")
            found[process] = float(rods[-1] / rods.max())
        words = ", ".join(f"{process} {value:.2g}" for process, value in found.items())
        return Measured(max(found.values()), words)

    return measure


def _ends_within(
    distance: float, name: str, subject: str, about: Callable[[Settings], str]
) -> Claim:
    """The claim that a rod flow ends so near its run."""
    return Claim(
        id=name,
        source=TARGET,
        statement=f"{subject} ends within {digits(distance)} of the discrete run.",
        quantity="last tracking error of the rod flow (unit step)",
        measure=last_error(_FLOW),
        allowed=at_most(distance),
        about=about,
        flow=_FLOW,
        same_of=last_error,
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="muon-rod-unit-step",
        source=TARGET,
        statement=(
            "The rod flow (unit step) of Muon, which has no linear threshold, tracks where the stable flow does not: "
            "it ends at least 10 times nearer to the discrete run."
        ),
        quantity="last tracking error of the stable flow over that of the rod flow in unit steps",
        measure=last_stable_over(_FLOW),
        flow=_FLOW,
        allowed=at_least(10),
        about=optimizer_in("muon"),
    ),
    _ends_within(
        5e-3,
        "digits-rod-unit-step-muon-error",
        "On the digits MLP the rod flow (unit step) of Muon",
        _DIGITS_MUON,
    ),
    _ends_within(
        1.2e-2,
        "prose-rod-unit-step-adamw-error",
        "On a transformer of English prose the rod flow (unit step) of AdamW",
        _adamw_on_prose,
    ),
    Claim(
        id="falling-rate-closes-rod-unit-step",
        source=TARGET,
        statement=(
            "Where the learning rate falls to 0 the rod closes, in the discrete run and in the rod flow (unit step): "
            "at the end it is at most a tenth as long as at its longest."
        ),
        quantity="last length of the rod over its longest, the larger of the two",
        measure=closing(_FLOW),
        allowed=at_most(0.1),
        about=_rate_falls_to_zero,
        flow=_FLOW,
    ),
)
"""In the order of the report."""
