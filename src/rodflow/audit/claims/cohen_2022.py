"""What Cohen et al. 2022 say besides the level of the edge, and what others found of it since.

config/cohen2022.yaml and config/lee2026.yaml. The rules were written before any of the reported runs; rates are chosen
by rule 1 of docs/evidence.md. What is said of the edge is said of the window of rule 2, cut where a sentence is about a
part of it:

* a *frozen* run counts from the step on at which its second moment no longer changes, which is half of its length;
* a *warm-up* counts from the opening of the rod to the last step at which the rate rises;
* *equal loss* is the largest of the last moving averages of the runs that are compared, which all of them reach. The
  curvature there is the geometric mean over the snapshots of the 50 steps that end where the average first is as low.

A growth is one by the straight line of least squares through the logarithms, as in `edge_of_stability`.
"""

import itertools
import math
from collections.abc import Callable, Sequence

from rodflow.analysis import edge
from rodflow.analysis.equal_loss import Place, curvature_at, equal_loss
from rodflow.analysis.equilibrium import growth
from rodflow.audit.claims.along_rod import while_open
from rodflow.audit.claims.claim import (
    Bound,
    Claim,
    Measured,
    NotApplicable,
    Overall,
    above,
    at_least,
)
from rodflow.audit.claims.edge_of_stability import later_growth
from rodflow.audit.claims.measures import SHORTEST, demand, edge_of, onset_of, optimizer_in
from rodflow.audit.numbers import digits
from rodflow.config.values import Settings
from rodflow.store.results import DISCRETE, StoredRun

FROZEN, ADAPTING = "adam_frozen", "adam"


def _between(run: StoredRun, first: int, last: int) -> edge.Spread:
    """Sharpness over the threshold of the moment, between two steps of the edge."""
    ratio = run.comparison["sharpness_over_threshold"].sel(process=DISCRETE)
    where = edge_of(run)
    cut = where._replace(first=max(where.first, first), last=min(where.last, last))
    found = edge.spread(ratio, cut)
    if found.size < SHORTEST:
        raise NotApplicable(f"at the edge for {found.size} of these snapshots")
    return found


def frozen_level(run: StoredRun) -> Measured:
    """Time average of sharpness over threshold once the preconditioner is frozen."""
    since = run.settings["optimizer"]["freeze"]
    found = _between(run, since, run.settings["steps"])
    return Measured(found.mean, f"from step {since} on", found.low, found.high)


def second_half_growth(run: StoredRun) -> Measured:
    """Factor by which the raw sharpness grows over the second half of a run, frozen at its middle or not.

    Raises:
        NotApplicable: as `onset_of`, it reaches its threshold later, or is frozen elsewhere.
    """
    demand(run, DISCRETE)
    middle = run.settings["steps"] // 2
    if onset_of(run) > middle:
        raise NotApplicable("reaches its threshold in the second half")
    if run.settings["optimizer"].get("freeze", middle) != middle:
        raise NotApplicable("is not frozen at its middle")
    raw = run.eigenvalues(DISCRETE)["raw_sharpness"].sel(snapshot=slice(middle, None))
    ends = f"from {digits(float(raw[0]))} to {digits(float(raw[-1]))}"
    return Measured(growth(raw), ends)


def adapting_over_frozen(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """Least number of an adapting run over that of the frozen one of its model, rate and seed; NaN without a pair.

    Args:
        values, runs: what was measured, and the runs, one each and in the same order.
    """
    found = {
        (run.optimizer, run.model, run.settings["optimizer"]["learning_rate"], run.seed): value
        for value, run in zip(values, runs, strict=True)
    }
    pairs = [
        found[ADAPTING, *place] / value
        for (name, *place), value in found.items()
        if name == FROZEN and (ADAPTING, *place) in found
    ]
    return min(pairs, default=math.nan)


def warm_up_level(run: StoredRun) -> Measured:
    """Time average, while the rate rises at the edge, of sharpness over the threshold of the moment.

    Raises:
        NotApplicable: as `edge_of`, or the rod opens too late for `SHORTEST` snapshots of the warm-up.
    """
    rate = run.settings["optimizer"]["learning_rate"]
    first = edge_of(run).first
    if first >= rate["warmup"]:
        raise NotApplicable("its rod opens after the warm-up")
    found = _between(run, 0, rate["warmup"])
    rise = rate["warmup"] / first
    note = f"steps {first} to {rate['warmup']}, in which the rate rises {digits(rise)} times"
    return Measured(found.mean, note, found.low, found.high)


def warms_up(settings: Settings) -> str:
    """Runs whose rate rises and then stays."""
    rate = settings["optimizer"]["learning_rate"]
    rises = isinstance(rate, dict) and rate["schedule"] == "warmup_constant"
    return "" if rises else "is about a rate that warms up"


def _at(run: StoredRun, loss: float) -> Place:
    raw = run.eigenvalues(DISCRETE)["raw_sharpness"]
    return curvature_at(loss, run.series(DISCRETE)["loss"], raw)


def _equal_loss(runs: Sequence[StoredRun]) -> float:
    return equal_loss([run.series(DISCRETE)["loss"] for run in runs])


def last_curvature(run: StoredRun) -> Measured:
    """Raw sharpness at the last loss of a run that reached its threshold."""
    onset = onset_of(run)
    loss = _equal_loss([run])
    return Measured(_at(run, loss).sharpness, f"loss {digits(loss)}, onset at step {onset:.0f}")


def least_gain_of_small_rates(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """Least raw sharpness at a learning rate over that at the next larger one, at equal loss; NaN of one rate.

    Args:
        values, runs: what was measured, which does not enter, and the runs, whose curvatures at an equal loss do.
    """
    groups: dict[tuple[str, int], list[StoredRun]] = {}
    for run in runs:
        groups.setdefault((run.model, run.seed), []).append(run)
    gains = []
    for members in groups.values():
        loss = _equal_loss(members)
        by_rate = sorted(members, key=lambda run: float(run.settings["optimizer"]["learning_rate"]))
        found = [_at(run, loss).sharpness for run in by_rate]
        gains += [small / large for small, large in itertools.pairwise(found)]
    return min(gains, default=math.nan)


def _of_cross_entropy(name: str) -> Callable[[Settings], str]:
    def about(settings: Settings) -> str:
        fits = settings["criterion"] == "cross_entropy" and settings["optimizer"]["name"] == name
        return "" if fits else f"is about {name} under cross-entropy"

    return about


_2022 = "Cohen et al. 2022 (arXiv 2207.14484)"
_LEE = "Lee and Lee 2026 (The Road Taken)"
_RAW = ("comparison.nc", f"sharpness/{DISCRETE}.nc")
_FIGURE = "aeos_curvature"
_OF_LEE = {
    "amsgrad": ("AMSGrad", Bound(0.79, 0.98)),
    "rmsprop": ("RMSProp", Bound(1.35, 1.65)),
    "adagrad": ("AdaGrad", at_least(1.42)),
}

CLAIMS: tuple[Claim, ...] = (
    Claim(
        id="aeos-curvature-rmsprop",
        figure=_FIGURE,
        source=_2022,
        statement=(
            "Under RMSProp the raw sharpness is not blocked: it keeps growing after the onset, while the "
            "preconditioner adapts."
        ),
        quantity="factor by which the raw sharpness grows after the onset",
        measure=later_growth,
        allowed=above(1.1),
        files=_RAW,
        about=optimizer_in("rmsprop"),
    ),
    Claim(
        id="aeos-frozen-held",
        figure=_FIGURE,
        source=_2022,
        statement=(
            "With a frozen preconditioner Adam is momentum with a fixed one: its preconditioned sharpness stays at "
            "the threshold, within 10% of it in the time average."
        ),
        quantity="time average of sharpness over threshold at the edge, once the preconditioner is frozen",
        measure=frozen_level,
        allowed=Bound(0.9, 1.1),
        about=optimizer_in(FROZEN),
    ),
    Claim(
        id="aeos-frozen-loses",
        figure=_FIGURE,
        source=_2022,
        statement=(
            "A frozen preconditioner loses what the adapting one gains: from the same state on, the raw sharpness "
            "grows under Adam at least 1.1 times as much as under Adam frozen there, for every seed."
        ),
        quantity="factor by which the raw sharpness grows over the second half, at the start of which one is frozen",
        measure=second_half_growth,
        allowed=at_least(1.1),
        files=_RAW,
        overall=Overall("least of adapting over frozen", adapting_over_frozen),
        about=optimizer_in(FROZEN, ADAPTING),
    ),
    Claim(
        id="aeos-warm-up-follows",
        figure=_FIGURE,
        source=_2022,
        statement=(
            "Where the learning rate of Adam warms up at the edge, the preconditioned sharpness falls with the "
            "threshold: its time average over the threshold of the moment is within 10% of 1."
        ),
        quantity="time average of sharpness over threshold, from the opening of the rod to the end of the warm-up",
        measure=warm_up_level,
        allowed=Bound(0.9, 1.1),
        about=warms_up,
    ),
    *(
        Claim(
            id=f"aeos-small-rates-sharper-{name}",
            figure="aeos_rates",
            source=_2022,
            statement=(
                f"Small learning rates of {label} end in sharper regions at equal loss: from each rate to the next "
                "smaller one the raw sharpness there rises, for every seed."
            ),
            quantity="raw sharpness at the last loss",
            measure=last_curvature,
            allowed=above(1),
            files=(*_RAW, f"{DISCRETE}.nc"),
            overall=Overall(
                "least ratio of a rate to the next larger one, at equal loss",
                least_gain_of_small_rates,
            ),
            about=optimizer_in(name),
        )
        for name, label in (("adam", "Adam"), ("rmsprop", "RMSProp"))
    ),
    *(
        Claim(
            id=f"cross-entropy-{name}",
            figure="along_rod",
            source=_LEE,
            statement=(
                f"Under cross-entropy the largest preconditioned eigenvalue of {label} is at {allowed} of the "
                "threshold while the rod is open."
            ),
            quantity="time average of the largest preconditioned eigenvalue over the threshold, rod open",
            measure=while_open("sharpness"),
            allowed=allowed,
            files=("comparison.nc", f"{DISCRETE}.nc"),
            about=_of_cross_entropy(name),
        )
        for name, (label, allowed) in _OF_LEE.items()
    ),
)
"""In the order of the report."""
