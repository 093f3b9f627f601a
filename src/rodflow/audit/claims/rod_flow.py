"""The rod flow: Regis and Chewi 2026, and this project's own targets.

Each integrator of the flow has claims of its own, and its name is in theirs. The ODE is the paper's; unit step and
macro step are this project's, and so are the claims about them.
"""

from rodflow.audit.claims.claim import (
    MEDIAN,
    TARGET,
    Bound,
    Claim,
    Measure,
    above,
    at_least,
    at_most,
    share,
)
from rodflow.audit.claims.measures import (
    ADAPTIVE,
    ADAPTIVE_MOMENTUM,
    DIGITS_ADAM,
    DIGITS_GD,
    DIGITS_RMSPROP,
    HELD,
    LATEST_ONSET,
    LOSS_ERROR,
    MEDIAN_ERROR,
    NON_ADAPTIVE,
    NON_MOMENTUM,
    digits_mlp,
    edge_error,
    equilibrium,
    error_ratio,
    iterate_error,
    loss_error,
    near_threshold,
    onset_error,
    onset_time,
    optimizer_in,
    oscillation_error,
    over,
    over_floor,
    stable_over,
)

ROD_FLOWS = {
    "rod": ("rod-ode", "rod flow (ODE)"),
    "rod_unit_step": ("rod-unit-step", "rod flow (unit step)"),
    "rod_macro": ("rod-macro-step", "rod flow (macro step)"),
}
"""The integrators of the rod flow: how claims are named, and the flow with its integrator in words."""

_COHEN_2021 = "Cohen et al. 2021 (arXiv 2103.00065)"
_COHEN_2022 = "Cohen et al. 2022 (arXiv 2207.14484)"
REGIS_CHEWI = "Regis and Chewi 2026 (arXiv 2605.06821)"
_PAPERS_OWN = {"rod": REGIS_CHEWI}


def _stable_over_largest(flow: str) -> Measure:
    return stable_over(flow, "largest")


_OF_EACH_RUN: tuple[Claim, ...] = (
    Claim(
        id="threshold-reached",
        source=TARGET,
        statement="Every run reaches its stability threshold before three quarters of its length.",
        quantity="step of onset over the run's length",
        measure=onset_time,
        allowed=at_most(LATEST_ONSET),
    ),
    *(
        Claim(
            id=f"threshold-held-{group}",
            source=paper,
            place=place,
            statement=(
                f"At the edge of stability the {sharpness} stays at the threshold of the linearised "
                f"optimizer: its time average is within 10% of it. The thresholds on learning rate x "
                f"sharpness are {thresholds}."
            ),
            quantity=HELD,
            measure=equilibrium,
            allowed=Bound(0.9, 1.1),
            about=optimizer_in(*names),
        )
        for group, paper, place, sharpness, names, thresholds in (
            (
                "non-adaptive", _COHEN_2021, "figure 1 for gradient descent", "sharpness", NON_ADAPTIVE,
                "2, and with momentum b 2(1+b)/(1-b) for heavy ball and 2(1+b)/((1-b)(1+2b)) for Nesterov",
            ),
            (
                "adaptive", _COHEN_2022, "abstract for Adam", "preconditioned sharpness", ADAPTIVE,
                "2 for RMSProp, 2(1+b)/(1-b) for Adam (38 at b = 0.9) and 2(1+b)/((1-b)(1+2b)) for NAdam (13.57)",
            ),
        )
    ),
    Claim(
        id="threshold-half-the-time",
        source=TARGET,
        statement=(
            "At the edge of stability the (preconditioned) sharpness is within 10% of the threshold for at least "
            "half of the time."
        ),
        quantity="part of the time from the opening of the rod to the end",
        measure=near_threshold,
        allowed=at_least(0.5),
    ),
)  # fmt: skip


def _tracks(flow: str) -> tuple[Claim, ...]:
    """That an integrator of the rod flow stays near the iterates."""
    stem, name = ROD_FLOWS[flow]
    return (
        Claim(
            id=f"{stem}-tracks",
            source=_PAPERS_OWN.get(flow, TARGET),
            statement=(
                f"The {name} follows the iterates through the edge of stability where the stable flow does not: from "
                "the onset of the threshold on its median tracking error is smaller."
            ),
            quantity=over("stable flow", name),
            measure=stable_over(flow),
            allowed=above(1),
            flow=flow,
            same_of=stable_over,
        ),
        Claim(
            id=f"{stem}-tracks-at-worst",
            source=TARGET,
            statement=(
                f"From the onset of the threshold on the largest tracking error of the {name} is smaller than that of "
                "the stable flow."
            ),
            quantity=over("stable flow", name, "both the largest"),
            measure=_stable_over_largest(flow),
            allowed=above(1),
            flow=flow,
            same_of=_stable_over_largest,
        ),
        Claim(
            id=f"{stem}-at-floor",
            source=TARGET,
            statement=(
                f"In at least 80% of the runs the {name} ends at most twice as far from the discrete run as its "
                "replicas do, which differ from it at the start by rounding only: no model of the dynamics can be "
                "asked to do better than they."
            ),
            quantity=f"last tracking error of the {name} over the median of the replicas'",
            measure=over_floor(flow),
            allowed=at_least(0.8),
            overall=share(at_most(2)),
            flow=flow,
            same_of=over_floor,
        ),
    )


def _predicts(flow: str) -> tuple[Claim, ...]:
    """That an integrator of the rod flow says when the edge begins, and what the loss is there."""
    stem, name = ROD_FLOWS[flow]
    return (
        Claim(
            id=f"{stem}-onset",
            source=TARGET,
            statement=(
                f"The {name} predicts within 5% of the run's length, in at least 80% of the runs, when the sharpness "
                "reaches the threshold. Until then the run is smooth, and the stable flow may predict it as well."
            ),
            quantity="distance of the onsets over the run's length",
            measure=onset_error(flow),
            allowed=at_least(0.8),
            overall=share(at_most(0.05)),
            flow=flow,
            same_of=onset_error,
        ),
        Claim(
            id=f"{stem}-oscillation",
            source=TARGET,
            statement=(
                f"The {name} predicts within 5% of the run's length, in at least 80% of the runs, when the oscillation "
                "of the edge of stability sets in: when the rod is half as long as the longest of the iterates. The "
                "stable flow has no oscillation."
            ),
            quantity="distance of the steps over the run's length",
            measure=oscillation_error(flow),
            allowed=at_least(0.8),
            files=("comparison.nc", "discrete.nc", f"{flow}.nc"),
            overall=share(at_most(0.05)),
            flow=flow,
        ),
        Claim(
            id=f"{stem}-loss",
            source=TARGET,
            statement=(
                f"At the edge of stability the {name} predicts the loss of the iterates: the mean loss of the rod's "
                "ends differs from it by at most 10%."
            ),
            quantity=LOSS_ERROR,
            measure=loss_error(flow),
            allowed=at_most(0.1),
            files=("comparison.nc", "discrete.nc", f"{flow}.nc"),
            flow=flow,
            same_of=loss_error,
        ),
    )


def _of_group(group: str, names: tuple[str, ...], factor: float) -> Claim:
    """A target for the median over several optimizers; the audit shows each run beside it."""
    _, name = ROD_FLOWS["rod_unit_step"]
    return Claim(
        id=f"rod-unit-step-{group}",
        source=TARGET,
        statement=(
            f"In the median over {', '.join(names)} the {name} is at least {factor:g} times nearer to the discrete run "
            "than the stable flow."
        ),
        quantity=over("stable flow", name),
        measure=stable_over("rod_unit_step"),
        allowed=at_least(factor),
        overall=MEDIAN,
        about=optimizer_in(*names),
        flow="rod_unit_step",
        same_of=stable_over,
    )


_ON_DIGITS: tuple[Claim, ...] = (
    *(
        Claim(
            id=f"digits-{ROD_FLOWS[flow][0]}-gd-error",
            source=TARGET,
            statement=(
                f"On the digits MLP with gd the tracking error of the {ROD_FLOWS[flow][1]} is at most {limit:g} in the "
                "median from the onset of the threshold on."
            ),
            quantity=MEDIAN_ERROR,
            measure=edge_error(flow),
            allowed=at_most(limit),
            about=DIGITS_GD,
            flow=flow,
            same_of=edge_error,
        )
        for flow, limit in (("rod", 5e-4), ("rod_unit_step", 2e-4))
    ),
    *(
        Claim(
            id=f"digits-rod-ode-{optimizer}",
            source=TARGET,
            statement=(
                f"On the digits MLP with {optimizer} the rod flow (ODE) is at least {factor} times nearer to the "
                "discrete run than the stable flow, from the onset of the threshold on."
            ),
            quantity=over("stable flow", "rod flow (ODE)"),
            measure=stable_over("rod"),
            allowed=at_least(factor),
            about=about,
            flow="rod",
            same_of=stable_over,
        )
        for optimizer, factor, about in (
            ("gd", 100, DIGITS_GD),
            ("rmsprop", 30, DIGITS_RMSPROP),
            ("adam", 6, DIGITS_ADAM),
        )
    ),
    Claim(
        id="digits-unit-step-matches-ode",
        source=TARGET,
        statement="On the digits MLP the rod flow (unit step) is no less exact than the ODE.",
        quantity=over("rod flow (unit step)", "ODE"),
        measure=error_ratio("rod")("rod_unit_step"),
        allowed=at_most(1),
        about=digits_mlp(),
        flow="rod_unit_step",
        same_of=error_ratio("rod"),
    ),
)

CLAIMS: tuple[Claim, ...] = (
    *_OF_EACH_RUN,
    *(claim for flow in ROD_FLOWS for claim in (*_tracks(flow), *_predicts(flow))),
    _of_group("without-momentum", NON_MOMENTUM, 50),
    _of_group("adaptive-momentum", ADAPTIVE_MOMENTUM, 10),
    Claim(
        id="rod-unit-step-iterates",
        source=TARGET,
        statement=(
            "Started at the edge of stability, the rod flow (unit step) predicts single iterates, phase included: "
            "300 steps later they are off by less than 5% of the rod's half length, for gd and rmsprop_scalar."
        ),
        quantity="iterate error ||Z + (-1)^t X - w_t|| / ||X|| 300 steps after the start",
        measure=iterate_error(after=300),
        allowed=Bound(high=0.05, strict=True),
        files=("iterates.nc",),
        about=optimizer_in("gd", "rmsprop_scalar"),
        flow="rod_unit_step",
    ),
    *_ON_DIGITS,
)
"""In the order of the report."""
