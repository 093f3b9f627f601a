"""Losses of a few weights, config/toys.yaml: what each model of the project makes of them.

The rules were written before the runs. Berthier's form is that of two weights; the others are our analogues.
"""

from collections.abc import Callable

from rodflow.analysis import edge
from rodflow.analysis.burst import first_burst
from rodflow.analysis.burst import overshoot as overshoot_of
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measure,
    Measured,
    NotApplicable,
    above,
    at_least,
    at_most,
)
from rodflow.audit.claims.measures import (
    MEDIAN_ERROR,
    SHORTEST,
    demand,
    edge_error,
    edge_of,
    error_ratio,
    failed,
    onset_of,
    over,
)
from rodflow.audit.numbers import digits
from rodflow.config.values import Settings
from rodflow.store import artifact
from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

DIRECTIONS = {"toys.py:one": 1, "toys.py:two_of_one_curvature": 1, "toys.py:two": 2}
"""Kind of a toy -> how many curvatures the gradient drives up, each until its direction oscillates."""


def toy(*kinds: str, **chosen: float) -> Callable[[Settings], str]:
    """Gradient descent on toys of these kinds; without kinds on all.

    Args:
        kinds: functions of config/toys.py, as a config names them.
        chosen: argument of the toy -> the value that it must have.
    """
    named = kinds or (*DIRECTIONS,)
    reason = f"is about gradient descent on {', '.join(named)}" + "".join(
        f", {key} {value:g}" for key, value in chosen.items()
    )

    def about(settings: Settings) -> str:
        model = settings["model"]
        fits = model.get("kind") in named and settings["optimizer"]["name"] == "gd"
        return "" if fits and all(model.get(k) == v for k, v in chosen.items()) else reason

    return about


def balance(run: StoredRun) -> Measured:
    """Mean squared length of the rod, in the second half of the edge, over 2 eps for each curvature.

    The gradient raises a curvature by eta eps a step, and an oscillation lowers it by eta X^2 / 2.
    """
    where = edge_of(run)
    model = artifact.settings(run.comparison)["model"]
    middle = (where.first + where.last) // 2
    rod = run.series(DISCRETE)["rod_length"].sel(step=slice(middle, where.last))
    squared = float((rod.astype(float) ** 2).mean())
    expected = 2 * model["eps"] * DIRECTIONS[model["kind"]]
    return Measured(squared / expected, f"{digits(squared)}, steps {middle} to {where.last}")


def nearer(flow: str) -> Measure:
    """Median tracking error of the stable flow over that of a flow, from the onset on; 0 if that diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, where run or stable flow ended early, there is no such flow, or as `onset_of`.
    """

    def measure(run: StoredRun) -> Measured:
        demand(run, DISCRETE, "stable")
        if flow not in run.processes:
            raise NotApplicable(f"the experiment has no {flow} flow")
        if (status := run.status(flow)) != COMPLETED:
            return Measured(0.0, f"{flow} flow {status}")
        onset, error = onset_of(run), run.comparison["tracking_error"]
        stable, own = (
            edge.errors(error.sel(process=name), onset).median for name in ("stable", flow)
        )
        return Measured(stable / own, f"stable {digits(stable)}, {flow} {digits(own)}")

    return measure


def overshoot(flow: str) -> Measure:
    """How far a flow gets above the threshold in the first burst of the run, over how far the run does.

    0 if the flow diverged.

    Args:
        flow: which one.

    Raises:
        NotApplicable: by the measure, as `failed` and `onset_of`, or the threshold is not left again or within fewer
            than `SHORTEST` snapshots.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := failed(run, flow):
            return Measured(0.0, failure)
        onset_of(run)
        ratio = run.comparison["sharpness_over_threshold"]
        burst = first_burst(ratio.sel(process=DISCRETE))
        if burst is None:
            raise NotApplicable("once reached, the threshold is not left")
        if burst.above < SHORTEST:
            raise NotApplicable(f"the first burst has {burst.above} snapshots above the threshold")
        own, true = (overshoot_of(ratio.sel(process=name), burst) for name in (flow, DISCRETE))
        where = f"steps {burst.first} to {burst.last}"
        return Measured(own / true, f"{flow} {digits(own)}, run {digits(true)}, {where}")

    return measure


def cost_ratio(flow: str, reference: str) -> Measure:
    """Gradients that a flow forms in a unit of time over those of another flow, both in the mean over the run.

    Args:
        flow, reference: the two flows, which count their gradients.

    Raises:
        NotApplicable: by the measure, where one of them is missing or ended early.
    """

    def measure(run: StoredRun) -> Measured:
        demand(run, flow, reference)
        own, other = (float(run.series(name)["gradients"].mean()) for name in (flow, reference))
        return Measured(own / other, f"{flow} {digits(own)}, {reference} {digits(other)}")

    return measure


_BERTHIER = "Berthier 2026 (arXiv 2609.01034)"
_MARION = "Marion 2026 (arXiv 2606.18080)"
_UNIT = "edge flow (unit step)"
_SLOW = toy("toys.py:one", eps=1e-3)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="toys-balance",
        source=_BERTHIER,
        statement=(
            "At the edge the oscillation has the length at which it lowers the curvature as fast as the gradient "
            "raises it, X^2 = 2 eps for each curvature, within 10%."
        ),
        quantity="mean squared rod in the second half of the edge over 2 eps for each curvature",
        measure=balance,
        allowed=Bound(0.9, 1.1),
        files=("comparison.nc", "discrete.nc"),
        about=toy(),
    ),
    *(
        Claim(
            id=f"toys-{stem}-error",
            source=TARGET,
            statement=f"On Berthier's toy at eps 1e-3 the {name} {words}.",
            quantity=MEDIAN_ERROR,
            measure=edge_error(flow),
            allowed=allowed,
            about=_SLOW,
            flow=flow,
            same_of=edge_error,
        )
        for flow, stem, name, words, allowed in (
            ("rod_unit_step", "rod-unit-step", "rod flow (unit step)",
             "stays within 1e-4 of the run", at_most(1e-4)),
            ("rod", "rod-ode", "rod flow (ODE)", "stays within 1e-4 of the run", at_most(1e-4)),
            ("edge", "edge-flow", "edge flow", "stays within 1e-2 of the run", at_most(1e-2)),
            ("closure", "closure", "covariance closure",
             "never opens: its median error from the onset on is more than the run moves", at_least(1)),
        )
    ),
    *(
        Claim(
            id=f"toys-{stem}-tracks",
            source=TARGET,
            statement=f"On each toy of a few weights the {name} is nearer to the run than the stable flow.",
            quantity=over("stable flow", name),
            measure=nearer(flow),
            allowed=above(1),
            about=toy(),
            flow=flow,
        )
        for flow, stem, name in (
            ("central", "central", "central flow"),
            ("rod_unit_step", "rod-unit-step", "rod flow (unit step)"),
            ("rod_macro", "rod-macro-step", "rod flow (macro step)"),
            ("edge_unit_step", "edge-unit-step", _UNIT),
        )
    ),
    Claim(
        id="toys-one-direction",
        source=TARGET,
        statement=(
            "Where two directions of different curvature are unstable at once, a model of one direction is not enough: "
            "the edge flow is at least ten times as far from the run as the rod flow."
        ),
        quantity=over("edge flow", "rod flow (unit step)"),
        measure=error_ratio("rod_unit_step")("edge"),
        allowed=at_least(10),
        about=toy("toys.py:two"),
        flow="edge",
    ),
    Claim(
        id="toys-edge-unit-step-nearer",
        source=TARGET,
        statement=(
            "On Berthier's toy at eps 1e-3 edge flow in its discrete form, one step a unit of time, is at least ten "
            "times nearer to the run than in continuous time."
        ),
        quantity=over("edge flow", _UNIT),
        measure=error_ratio("edge_unit_step")("edge"),
        allowed=at_least(10),
        about=_SLOW,
        flow="edge_unit_step",
    ),
    Claim(
        id="toys-edge-unit-step-cost",
        source=TARGET,
        statement="In its discrete form edge flow costs at most a third of what it costs in continuous time.",
        quantity="gradients of the edge flow in a unit of time over those of the " + _UNIT,
        measure=cost_ratio("edge", "edge_unit_step"),
        allowed=at_least(3),
        files=("comparison.nc", "edge.nc", "edge_unit_step.nc"),
        about=toy(),
        flow="edge_unit_step",
    ),
    *(
        Claim(
            id=f"toys-{stem}-onset",
            source=_MARION,
            statement=(
                f"The {name} resolves the oscillation of the sharpness at the onset of the edge: in the first burst it "
                "gets as far above the threshold as the run, within 10%."
            ),
            quantity="largest excess of sharpness over threshold in the run's first burst, flow over run",
            measure=overshoot(flow),
            allowed=Bound(0.9, 1.1),
            about=toy(),
            place="abstract",
            flow=flow,
            same_of=overshoot,
        )
        for flow, stem, name in (
            ("edge", "edge-flow", "edge flow"),
            ("edge_unit_step", "edge-unit-step", _UNIT),
        )
    ),
)  # fmt: skip
"""In the order of the report."""
