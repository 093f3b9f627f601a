"""Thresholds and rod flows: Cohen et al. 2021 and 2022, Regis and Chewi 2026, and this project's own targets."""

from rodflow.audit.claims.claim import MEDIAN, Bound, Claim, above, at_least, at_most, share
from rodflow.audit.claims.measures import (
    ADAPTIVE_MOMENTUM,
    DIGITS_ADAM,
    DIGITS_GD,
    DIGITS_RMSPROP,
    LATEST_ONSET,
    NON_MOMENTUM,
    digits_mlp,
    equilibrium,
    iterate_error,
    loss_error,
    mean_error_ratio,
    onset_error,
    onset_time,
    optimizer_in,
    oscillation_error,
    over_floor,
    stable_over,
    tracking_error,
)

ROD_FLOWS = {"rod": "rod flow", "rod_unit_step": "rod flow in unit steps"}
"""The two integrators of the rod flow."""

_REGIS_CHEWI = "Regis and Chewi 2026 (arXiv 2605.06821)"
_THRESHOLDS = f"Cohen et al. 2021 (arXiv 2103.00065), 2022 (arXiv 2207.14484), {_REGIS_CHEWI}"
_RATIO = "last tracking error of the stable flow over that of the {}"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="threshold-reached",
        source="target",
        statement="Every run reaches its stability threshold before three quarters of its length.",
        quantity="step of onset over the run's length",
        measure=onset_time,
        allowed=at_most(LATEST_ONSET),
    ),
    Claim(
        id="threshold-held",
        source=_THRESHOLDS,
        statement=(
            "At the edge of stability the (preconditioned) sharpness stays at the threshold of the "
            "linearised optimizer: its time average over the last quarter of a run is within 10% "
            "of it. The thresholds on learning rate x sharpness are 2; with momentum b, "
            "2(1+b)/(1-b) for heavy ball and Adam (38 at b = 0.9) and 2(1+b)/((1-b)(1+2b)) for "
            "Nesterov and NAdam (13.57)."
        ),
        quantity="time average of sharpness over threshold in the last quarter",
        measure=equilibrium,
        allowed=Bound(0.9, 1.1),
    ),
    *(
        Claim(
            id=f"{flow}-below-stable",
            source=_REGIS_CHEWI,
            statement=f"The {name} ends nearer to the discrete run than the stable flow.",
            quantity=_RATIO.format(name),
            measure=stable_over(flow),
            allowed=above(1),
        )
        for flow, name in ROD_FLOWS.items()
    ),
    *(
        Claim(
            id=f"rod_unit_step-{group}",
            source="target",
            statement=(
                f"In the median over {', '.join(names)} the rod flow in unit steps ends at least "
                f"{factor} times nearer to the discrete run than the stable flow."
            ),
            quantity=_RATIO.format(ROD_FLOWS["rod_unit_step"]),
            measure=stable_over("rod_unit_step"),
            allowed=at_least(factor),
            overall=MEDIAN,
            about=optimizer_in(*names),
        )
        for group, names, factor in (
            ("without-momentum", NON_MOMENTUM, 50),
            ("adaptive-momentum", ADAPTIVE_MOMENTUM, 10),
        )
    ),
    *(
        Claim(
            id=f"{flow}-onset",
            source="target",
            statement=(
                f"The {name} predicts within 5% of the run's length, in at least 80% of the runs, "
                "when the sharpness reaches the threshold. Until then the run is smooth, and the "
                "stable flow, named beside it, may predict it as well."
            ),
            quantity="distance of the onsets over the run's length",
            measure=onset_error(flow),
            allowed=at_least(0.8),
            overall=share(at_most(0.05)),
        )
        for flow, name in ROD_FLOWS.items()
    ),
    *(
        Claim(
            id=f"{flow}-oscillation",
            source="target",
            statement=(
                f"The {name} predicts within 5% of the run's length, in at least 80% of the runs, "
                "when the oscillation of the edge of stability sets in: when the rod is half as "
                "long as the longest of the iterates. The stable flow has no oscillation."
            ),
            quantity="distance of the steps over the run's length",
            measure=oscillation_error(flow),
            allowed=at_least(0.8),
            files=("comparison.nc", "discrete.nc", f"{flow}.nc"),
            overall=share(at_most(0.05)),
        )
        for flow, name in ROD_FLOWS.items()
    ),
    *(
        Claim(
            id=f"{flow}-loss",
            source="target",
            statement=(
                f"The {name} predicts the loss of the iterates: the mean loss of the rod's ends "
                "differs from it by at most 10%."
            ),
            quantity=(
                "geometric mean, in the last quarter, of the relative difference of losses "
                "averaged over pairs of consecutive steps"
            ),
            measure=loss_error(flow),
            allowed=at_most(0.1),
            files=("comparison.nc", "discrete.nc", f"{flow}.nc"),
        )
        for flow, name in ROD_FLOWS.items()
    ),
    *(
        Claim(
            id=f"{flow}-at-floor",
            source="target",
            statement=(
                f"In at least 80% of the runs the {name} ends at most twice as far from the "
                "discrete run as its replicas do, which differ from it at the start by rounding only: "
                "no model of the dynamics can be asked to do better than they."
            ),
            quantity=f"last tracking error of the {name} over the median of the replicas'",
            measure=over_floor(flow),
            allowed=at_least(0.8),
            overall=share(at_most(2)),
        )
        for flow, name in ROD_FLOWS.items()
    ),
    Claim(
        id="iterates-predicted",
        source="target",
        statement=(
            "Started at the edge of stability, the rod flow predicts single iterates, phase "
            "included: 300 steps later they are off by less than 5% of the rod's half length, for "
            "gd and rmsprop_scalar."
        ),
        quantity="iterate error ||Z + (-1)^t X - w_t|| / ||X|| 300 steps after the start",
        measure=iterate_error(after=300),
        allowed=Bound(high=0.05, strict=True),
        files=("iterates.nc",),
        about=optimizer_in("gd", "rmsprop_scalar"),
    ),
    *(
        Claim(
            id=f"digits-{flow}-gd-mean",
            source="target",
            statement=(
                f"On the digits MLP with gd the mean tracking error of the {ROD_FLOWS[flow]} is at "
                f"most {limit:g}."
            ),
            quantity="geometric mean of the tracking error",
            measure=tracking_error(flow, "mean"),
            allowed=at_most(limit),
            about=DIGITS_GD,
        )
        for flow, limit in (("rod", 5e-4), ("rod_unit_step", 2e-4))
    ),
    *(
        Claim(
            id=f"digits-rod-{optimizer}",
            source="target",
            statement=(
                f"On the digits MLP with {optimizer} the rod flow ends at least {factor} times "
                "nearer to the discrete run than the stable flow."
            ),
            quantity=_RATIO.format("rod flow"),
            measure=stable_over("rod"),
            allowed=at_least(factor),
            about=about,
        )
        for optimizer, factor, about in (
            ("gd", 100, DIGITS_GD),
            ("rmsprop", 30, DIGITS_RMSPROP),
            ("adam", 6, DIGITS_ADAM),
        )
    ),
    Claim(
        id="digits-unit-step-matches-ode",
        source="target",
        statement="On the digits MLP the rod flow in unit steps is no less exact than the ODE.",
        quantity="mean tracking error of the rod flow in unit steps over that of the rod flow",
        measure=mean_error_ratio("rod_unit_step", "rod"),
        allowed=at_most(1),
        about=digits_mlp(),
    ),
)
"""In the order of the report."""
