"""What the papers say, and what the project set itself, as checks over stored artifacts.

A `Claim` is an entry of `CLAIMS`: a statement with its source, how one number is measured in a
stored run, and which values agree with the statement. Judged on an experiment it gives one
`Finding` a run, or a single one where it speaks of all runs together (a median, a share):

    for judgement in judge(stored_runs("results/digits")):
        print(judgement.claim.id, judgement.verdict)

A claim holds if something was measured and none of it disagrees. A run that says nothing about a
claim is "not applicable" with the reason, and so is a claim that no run says anything about: none
holds for want of evidence. A flow that diverges where the discrete run does not has failed.

To add a claim, add an entry to `CLAIMS`. The module imports no JAX.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from rodflow import artifact
from rodflow.comparison import opening
from rodflow.results import COMPLETED, DISCRETE, StoredRun

Verdict = Literal["holds", "fails", "not applicable"]


class NotApplicable(Exception):
    """A run says nothing about a claim; the message is the reason."""


class Measured(NamedTuple):
    """What was found in a run: a number, and words that help to understand it."""

    value: float
    note: str = ""


Measure = Callable[[StoredRun], Measured]
"""Takes a number from a run, or raises `NotApplicable`."""


@dataclass(frozen=True)
class Bound:
    """The numbers that agree with a statement: from `low` to `high`; NaN never does.

    Attributes:
        low, high: the limits, which belong to it.
        strict: whether they do not.
    """

    low: float = -math.inf
    high: float = math.inf
    strict: bool = False

    def __contains__(self, value: float) -> bool:
        if self.strict:
            return self.low < value < self.high
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"{'below' if self.strict else 'at most'} {self.high:g}"
        if math.isinf(self.high):
            return f"{'above' if self.strict else 'at least'} {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Overall:
    """How the numbers of several runs become the one that a claim is about.

    Attributes:
        name: what that number is, such as "median".
        of: the numbers -> the number.
    """

    name: str
    of: Callable[[Sequence[float]], float]


@dataclass(frozen=True)
class Claim:
    """A statement that stored runs can agree or disagree with.

    Attributes:
        id: its short name.
        source: paper and arXiv number, or "target": set by this project.
        statement: what is claimed, in our words.
        quantity: what the measured number is.
        measure: takes the number from a run.
        allowed: which numbers agree with the statement.
        files: the artifacts that the number comes from, relative to the run's folder.
        overall: how the runs' numbers become one; None: every run is judged by its own.
        about: settings -> why the claim is not about such runs, or "" if it is.
    """

    id: str
    source: str
    statement: str
    quantity: str
    measure: Measure
    allowed: Bound
    files: tuple[str, ...] = ("comparison.nc",)
    overall: Overall | None = None
    about: Callable[[Mapping[str, Any]], str] = lambda settings: ""


@dataclass(frozen=True)
class Finding:
    """What one run, or all of them together, say about a claim.

    Attributes:
        subject: the run's folder, or what the number of several runs is.
        verdict: whether it agrees.
        measured: the number; NaN if there is none.
        note: why it does not apply, or more about the number.
        artifacts: the files that the number comes from, relative to the results root.
        values: run -> its own number, where the measured one is of several runs.
    """

    subject: str
    verdict: Verdict
    measured: float = math.nan
    note: str = ""
    artifacts: tuple[str, ...] = ()
    values: Mapping[str, Measured] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Judgement:
    """A claim and what the stored runs say about it."""

    claim: Claim
    findings: tuple[Finding, ...]

    def count(self, verdict: Verdict) -> int:
        """How many findings have this verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)

    @property
    def verdict(self) -> Verdict:
        """Fails if one finding fails, holds if one holds and none fails."""
        if self.count("fails"):
            return "fails"
        return "holds" if self.count("holds") else "not applicable"


def judge(
    runs: Sequence[StoredRun],
    claims: Iterable[Claim] | None = None,
    unsound: Mapping[str, str] | None = None,
) -> list[Judgement]:
    """What stored runs say about each claim.

    Args:
        runs: where to look.
        claims: `CLAIMS` unless others are given.
        unsound: run -> why its files say nothing about any claim.
    """
    chosen = CLAIMS if claims is None else claims
    return [Judgement(claim, tuple(_findings(claim, runs, unsound or {}))) for claim in chosen]


def _findings(claim: Claim, runs: Sequence[StoredRun], unsound: Mapping[str, str]) -> list[Finding]:
    measured: dict[str, Measured] = {}
    silent = []
    for run in runs:
        name = f"{run.model}/{run.optimizer}/seed{run.seed}"
        try:
            reason = unsound.get(name) or claim.about(artifact.settings(run.comparison))
            if reason:
                raise NotApplicable(reason)
            measured[name] = claim.measure(run)
        except NotApplicable as silence:
            silent.append(Finding(name, "not applicable", note=str(silence)))
        except KeyError as lack:  # files of another version of the project
            silent.append(Finding(name, "not applicable", note=str(lack.args[0]).split(". ")[0]))

    def found(subject: str, value: float, note: str, *names: str, **more: Any) -> Finding:
        verdict: Verdict = "holds" if value in claim.allowed else "fails"
        files = tuple(f"{name}/{file}" for name in names for file in claim.files)
        return Finding(subject, verdict, value, note, files, **more)

    if claim.overall is None:
        return [found(name, *numbers, name) for name, numbers in measured.items()] + silent
    if not measured:
        return silent
    number = claim.overall.of([numbers.value for numbers in measured.values()])
    subject = f"{claim.overall.name}, {len(measured)} run{'s' if len(measured) > 1 else ''}"
    return [found(subject, number, "", *measured, values=measured), *silent]


# Which numbers agree


def at_most(high: float) -> Bound:
    """Numbers up to `high`."""
    return Bound(high=high)


def at_least(low: float) -> Bound:
    """Numbers from `low` on."""
    return Bound(low=low)


def above(low: float) -> Bound:
    """Numbers greater than `low`."""
    return Bound(low=low, strict=True)


MEDIAN = Overall("median", lambda values: float(np.median(values)))


def share(bound: Bound) -> Overall:
    """The fraction of the numbers within a bound."""
    return Overall(
        f"share of runs with {bound}", lambda values: float(np.mean([v in bound for v in values]))
    )


# Which runs a claim is about


def optimizer_in(*names: str) -> Callable[[Mapping[str, Any]], str]:
    """Runs of these optimizers."""
    reason = f"is about {', '.join(names)}"
    return lambda settings: "" if settings["optimizer"]["name"] in names else reason


def digits_mlp(**chosen: Any) -> Callable[[Mapping[str, Any]], str]:
    """Runs of the tanh MLP 32-32 on 1000 digits with squared error.

    Args:
        chosen: `start`, `steps` or a setting of the optimizer -> the value that it must have.
    """
    reason = "is about the tanh MLP 32-32 on 1000 digits with squared error" + "".join(
        f", {'optimizer' if key == 'name' else key} {value}" for key, value in chosen.items()
    )
    fixed: dict[str, dict[str, Any]] = {
        "dataset": {"name": "digits", "samples": 1000},
        "model": {"kind": "mlp", "hidden": [32, 32], "activation": "tanh"},
    }

    def about(settings: Mapping[str, Any]) -> str:
        same = settings["criterion"] == "mse" and all(
            settings[part].get(key) == value
            for part, values in fixed.items()
            for key, value in values.items()
        )
        options = settings["optimizer"] | {key: settings[key] for key in ("start", "steps")}
        same = same and all(options.get(key) == value for key, value in chosen.items())
        return "" if same else reason

    return about


# What is measured


def _of(run: StoredRun, name: str, process: str) -> float:
    return float(run.comparison[name].sel(process=process))


def _demand(run: StoredRun, *processes: str) -> None:
    """Raise `NotApplicable` unless the run has these processes and all of them were completed."""
    for process in processes:
        name = "discrete run" if process == DISCRETE else f"{process} flow"
        if process not in run.processes:
            raise NotApplicable(f"the experiment has no {name}")
        if (status := run.status(process)) != COMPLETED:
            raise NotApplicable(f"{name} {status}")


def _failed(run: StoredRun, flow: str) -> str:
    """How a flow of a completed discrete run ended, "" if it is completed."""
    _demand(run, DISCRETE)
    if flow not in run.processes:
        raise NotApplicable(f"the experiment has no {flow} flow")
    status = run.status(flow)
    return "" if status == COMPLETED else f"{flow} flow {status}"


def _steps(run: StoredRun) -> int:
    return artifact.settings(run.comparison)["steps"]


def _start(run: StoredRun) -> int:
    return artifact.settings(run.comparison)["start"]


def _ratio(above: float, below: float) -> float:
    """A quotient; inf above 0 and NaN for 0 over 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(above) / np.float64(below))


def onset_time(run: StoredRun) -> Measured:
    """When the discrete run reaches its threshold, as a fraction of its length; inf: never."""
    _demand(run, DISCRETE)
    onset = _of(run, "onset", DISCRETE)
    if math.isnan(onset):
        highest = float(run.comparison["sharpness_over_threshold"].sel(process=DISCRETE).max())
        return Measured(math.inf, f"threshold never reached, sharpness at most {highest:.3g} of it")
    return Measured(onset / _steps(run), f"step {onset:.0f} of {_steps(run)}")


def equilibrium(run: StoredRun) -> Measured:
    """Time average of sharpness over threshold in the last quarter of the discrete run."""
    if (time := onset_time(run)).value not in at_most(LATEST_ONSET):
        raise NotApplicable(time.note if math.isinf(time.value) else f"reached only at {time.note}")
    if math.isnan(held := _of(run, "held", DISCRETE)):
        raise NotApplicable("no sharpness was measured in the last quarter")
    lowest, highest = (_of(run, f"held_{end}", DISCRETE) for end in ("lowest", "highest"))
    return Measured(held, f"between {lowest:.3g} and {highest:.3g}")


def stable_over(flow: str) -> Measure:
    """Last tracking error of the stable flow over that of a flow; 0 if the flow diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := _failed(run, flow):
            return Measured(0.0, failure)
        _demand(run, "stable")
        stable, own = _of(run, "error_last", "stable"), _of(run, "error_last", flow)
        note = f"stable {stable:.2g}, {flow} {own:.2g}"
        return Measured(_ratio(stable, own), note)

    return measure


def mean_error(flow: str) -> Measure:
    """Geometric mean of a flow's tracking error over the run; inf if the flow diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := _failed(run, flow):
            return Measured(math.inf, failure)
        return Measured(_of(run, "error_mean", flow))

    return measure


def mean_error_ratio(flow: str, reference: str) -> Measure:
    """Mean tracking error of a flow over that of another; inf if the first diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := _failed(run, flow):
            return Measured(math.inf, failure)
        _demand(run, reference)
        own, other = _of(run, "error_mean", flow), _of(run, "error_mean", reference)
        return Measured(_ratio(own, other), f"{own:.2g} over {other:.2g}")

    return measure


def onset_error(flow: str) -> Measure:
    """Distance of a flow's onset from the discrete run's, in lengths of the run; inf: only one.

    The onset is when the sharpness reaches the threshold. A run that is there when the flows start
    leaves nothing to predict.
    """

    def measure(run: StoredRun) -> Measured:
        failure = _failed(run, flow)
        there, here = _of(run, "onset", DISCRETE), _of(run, "onset", flow)
        if there <= _start(run):
            raise NotApplicable("at its threshold before the flows start")
        if math.isnan(there) and math.isnan(here) and not failure:
            raise NotApplicable("threshold never reached, nor predicted to be")
        distance = _distance(run, there, here, failure)
        stable = _of(run, "onset", "stable") if "stable" in run.processes else math.nan
        also = "" if math.isnan(stable) else f"; stable flow at {stable:.0f}"
        return distance._replace(note=distance.note + also)

    return measure


def oscillation_error(flow: str) -> Measure:
    """Distance of the steps at which the oscillation sets in, in lengths of the run; inf: only one.

    It has set in when the rod is half as long as the longest of the discrete run. A run that has
    its longest rods when the flows start, or stays below its threshold, leaves nothing to predict.
    """

    def measure(run: StoredRun) -> Measured:
        failure = _failed(run, flow)
        if math.isnan(_of(run, "onset", DISCRETE)):
            raise NotApplicable("threshold never reached")
        rods = [run.series(name)["rod_length"] for name in (DISCRETE, flow)]
        longest = float(rods[0].sel(step=slice(_start(run), None)).max())
        there, here = (opening(rod, _start(run), longest) for rod in rods)
        if there <= _start(run):
            raise NotApplicable("oscillates before the flows start")
        return _distance(run, there, here, failure)

    return measure


def _distance(run: StoredRun, there: float, here: float, failure: str) -> Measured:
    """How far a predicted step is from the true one, in lengths of the run; inf without one."""
    if math.isnan(there):
        return Measured(math.inf, failure or f"predicted at step {here:.0f}, never reached")
    if math.isnan(here):
        return Measured(math.inf, failure or f"reached at step {there:.0f}, not predicted")
    return Measured(abs(here - there) / _steps(run), f"step {there:.0f}, predicted at {here:.0f}")


def over_floor(flow: str) -> Measure:
    """Last tracking error of a flow over the median of the twins' last ones; inf if the flow diverged."""

    def measure(run: StoredRun) -> Measured:
        if failure := _failed(run, flow):
            return Measured(math.inf, failure)
        if "floor_last" not in run.comparison:
            raise NotApplicable("the experiment has no twins")
        floor = float(run.comparison["floor_last"].median())
        own = _of(run, "error_last", flow)
        return Measured(_ratio(own, floor), f"{flow} {own:.2g}, floor {floor:.2g}")

    return measure


def iterate_error(after: int) -> Measure:
    """Iterate error of the rod flow so many steps after it was started at the edge of stability."""

    def measure(run: StoredRun) -> Measured:
        _demand(run, DISCRETE)
        if not run.has("iterates"):
            raise NotApplicable("the experiment predicts no iterates")
        found = run.iterates
        status = str(found.attrs["status"])
        if status.startswith("not started"):
            raise NotApplicable(status)
        step = int(found.attrs["restart"]) + after
        if step not in found["step"]:
            if status != COMPLETED:
                return Measured(math.inf, status)
            raise NotApplicable(
                f"the run ends {_steps(run) - step + after} steps after the restart"
            )
        error = float(found["iterate_error"].sel(step=step))
        return Measured(error, f"at step {step}, started at {step - after}")

    return measure


def loss_error(flow: str) -> Measure:
    """Geometric mean, in the last quarter, of the relative error of a rod flow's loss.

    The mean loss of the rod's two ends against the loss of the iterates, both averaged over pairs
    of consecutive steps. An error below the rounding of float32 counts as that rounding, so that
    one exact step does not make the mean 0.
    """

    def measure(run: StoredRun) -> Measured:
        if failure := _failed(run, flow):
            return Measured(math.inf, failure)
        late = slice(math.ceil(0.75 * _steps(run)), _steps(run))
        ends = run.series(flow).sel(step=late)
        rod = ((ends["loss_plus"] + ends["loss_minus"]) / 2).values.astype(float)
        iterates = run.series(DISCRETE)["loss"].sel(step=late).values.astype(float)
        pairs = [(values[1:] + values[:-1]) / 2 for values in (rod, iterates)]
        errors = np.maximum(np.abs(pairs[0] / pairs[1] - 1), np.finfo(np.float32).eps)
        return Measured(float(np.exp(np.log(errors).mean())))

    return measure


# The claims

LATEST_ONSET = 0.75
"""By when a run must reach its threshold, so that the last quarter shows the equilibrium."""

ROD_FLOWS = {"rod": "rod flow", "rod_unit_step": "rod flow in unit steps"}
"""The two integrators of the rod flow."""

_REGIS_CHEWI = "Regis and Chewi 2026 (arXiv 2605.06821)"
_THRESHOLDS = f"Cohen et al. 2021 (arXiv 2103.00065), 2022 (arXiv 2207.14484), {_REGIS_CHEWI}"
_NON_MOMENTUM = ("gd", "rmsprop_scalar", "rmsprop")
_ADAPTIVE_MOMENTUM = ("adam_scalar", "adam", "nadam_scalar", "nadam")
_GD = digits_mlp(name="gd", learning_rate=0.1, start=20, steps=1000)
_RMSPROP = digits_mlp(name="rmsprop", learning_rate=1e-3, b2=0.99, start=30, steps=600)
_ADAM = digits_mlp(name="adam", learning_rate=5e-3, b1=0.9, b2=0.99, start=50, steps=600)
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
            ("without-momentum", _NON_MOMENTUM, 50),
            ("adaptive-momentum", _ADAPTIVE_MOMENTUM, 10),
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
                "discrete run as its twins do, which differ from it at the start by rounding only: "
                "no model of the dynamics can be asked to do better than they."
            ),
            quantity=f"last tracking error of the {name} over the median of the twins'",
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
            measure=mean_error(flow),
            allowed=at_most(limit),
            about=_GD,
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
            ("gd", 100, _GD),
            ("rmsprop", 30, _RMSPROP),
            ("adam", 6, _ADAM),
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
"""Every claim that an audit judges, in the order of its report."""
