"""A claim, and what stored runs say about it: see `rodflow.audit.claims.catalogue`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import xarray as xr

from rodflow.config.values import Settings
from rodflow.errors import RodflowError
from rodflow.store import artifact
from rodflow.store.results import StoredRun

Verdict = Literal["reproduced", "not reproduced", "not at the edge", "not reached"]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

TARGET = "target"
"""The source of a claim that this project set itself."""

OUR_READING = "our reading"
"""The place of a claim of which it is not known where in the paper it stands."""

LISTS = ("paper", "own target")
"""What papers claim, and what this project sets itself; they are counted apart."""

BASELINES = ("stable", "central", "edge")
"""The flows whose number stands beside that of another flow, where a run has them."""


class NotApplicable(RodflowError):
    """A run says nothing about a claim; the message is the reason."""

    verdict: Verdict = "not reached"


class NotAtEdge(NotApplicable):
    """A claim about the edge of stability, and a run that is not there by the rule of `rodflow.analysis.edge`."""

    verdict = "not at the edge"


class Measured(NamedTuple):
    """What was found in a run: a number, and what helps to understand it.

    Attributes:
        value: the number that is judged.
        note: words beside it.
        low, high: between which quantiles, of 10% and 90%, it is spread over the run; NaN if it is not.
    """

    value: float
    note: str = ""
    low: float = math.nan
    high: float = math.nan


# Any: of which of the two it takes one says `artifact` of its claim, which no checker of types follows.
Measure = Callable[[Any], Measured]
"""Takes a number from a `StoredRun`, or from the dataset of an artifact of no run, or raises `NotApplicable`."""


@dataclass(frozen=True)
class Bound:
    """The numbers that agree with a statement: from `low` to `high`; NaN never does.

    Attributes:
        low, high: the limits, which belong to it.
        strict: whether they do not.
        infinite: whether infinity is among them. It stands for a flow that diverged, which is no number: a claim that
            a flow is far away does not hold because there is none.
    """

    low: float = -math.inf
    high: float = math.inf
    strict: bool = False
    infinite: bool = False

    def __contains__(self, value: float) -> bool:
        if math.isinf(value):
            return self.infinite
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
        of: the numbers and the runs that they are of -> the number; NaN where they do not suffice.
    """

    name: str
    of: Callable[[Sequence[float], Sequence[StoredRun]], float]


@dataclass(frozen=True)
class Claim:
    """A statement that stored runs can agree or disagree with.

    Attributes:
        id: its short name; of a claim about the rod flow it names the integrator.
        source: paper and arXiv number, or `TARGET`: set by this project.
        statement: what is claimed, in our words.
        quantity: what the measured number is.
        measure: takes the number from a run.
        allowed: which numbers agree with the statement.
        files: the artifacts that the number comes from, relative to the run's folder.
        overall: how the runs' numbers become one; None: every run is judged by its own.
        about: settings -> why the claim is not about such runs, or "" if it is.
        figure: the figure that shows it: the claim is about the runs drawn there, and left out where there is no such
            figure. "": it is about the main runs.
        artifact: the artifact of no run that it is about instead, such as "adam_region"; it is judged where an
            experiment has it.
        place: section or figure of the paper.
        flow: the flow that it is about, if it is about one.
        same_of: flow -> how the same number is measured of that one, for `BASELINES`.
    """

    id: str
    source: str
    statement: str
    quantity: str
    measure: Measure
    allowed: Bound
    files: tuple[str, ...] = ("comparison.nc",)
    overall: Overall | None = None
    about: Callable[[Settings], str] = lambda settings: ""
    figure: str = ""
    artifact: str = ""
    place: str = OUR_READING
    flow: str = ""
    same_of: Callable[[str], Measure] | None = None

    @property
    def listed(self) -> str:
        """On which of the `LISTS` it is."""
        return LISTS[self.source == TARGET]

    @property
    def beside(self) -> dict[str, Measure]:
        """How its number is measured of each baseline."""
        if self.same_of is None:
            return {}
        return {flow: self.same_of(flow) for flow in BASELINES if flow != self.flow}


@dataclass(frozen=True)
class Finding:
    """What one run, or all of them together, say about a claim.

    Attributes:
        subject: the run's folder, or what the number of several runs is, or the file of no run.
        verdict: whether it agrees.
        measured: the number; NaN if there is none.
        note: why it does not apply, or more about the number.
        artifacts: the files that the number comes from, relative to the results root.
        values: run -> its own number, where the measured one is of several runs.
        low, high: how the number is spread over the run; NaN if it is not.
        baselines: flow -> the same number of it.
        passing: the baselines that agree with the claim as well, so that it does not tell the flow from them.
    """

    subject: str
    verdict: Verdict
    measured: float = math.nan
    note: str = ""
    artifacts: tuple[str, ...] = ()
    values: Mapping[str, Measured] = field(default_factory=dict, hash=False)
    low: float = math.nan
    high: float = math.nan
    baselines: Mapping[str, float] = field(default_factory=dict, hash=False)
    passing: tuple[str, ...] = ()

    @property
    def silent(self) -> bool:
        """Whether nothing was measured."""
        return self.verdict in ("not reached", "not at the edge")


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
        """Not reproduced if one finding is not, else the first of the others that one finding has."""
        order: tuple[Verdict, ...] = ("not reproduced", "reproduced", "not at the edge")
        return next((verdict for verdict in order if self.count(verdict)), "not reached")

    @property
    def measured(self) -> tuple[Finding, ...]:
        """The findings with a number."""
        return tuple(finding for finding in self.findings if not finding.silent)

    @property
    def passing(self) -> tuple[str, ...]:
        """The baselines that agree with the claim in each finding that has a number."""
        return tuple(
            flow
            for flow in BASELINES
            if self.measured and all(flow in finding.passing for finding in self.measured)
        )


def judge(
    runs: Sequence[StoredRun],
    claims: Iterable[Claim],
    unsound: Mapping[str, str] | None = None,
    drawn: Mapping[str, Sequence[StoredRun]] | None = None,
    artifacts: Mapping[str, xr.Dataset | str] | None = None,
) -> list[Judgement]:
    """What stored runs, and artifacts of no run, say about each claim.

    Args:
        runs: the main runs.
        claims: what is claimed.
        unsound: run -> why its files say nothing about any claim.
        drawn: figure -> the runs drawn there.
        artifacts: those of no run by name, or why one says nothing.
    """
    where = {"": runs, **(drawn or {})}
    of_no_run = artifacts or {}
    judged = []
    for claim in claims:
        if claim.artifact in of_no_run:
            judged.append(Judgement(claim, (_of_no_run(claim, of_no_run[claim.artifact]),)))
        elif not claim.artifact and claim.figure in where:
            found = _findings(claim, where[claim.figure], unsound or {})
            judged.append(Judgement(claim, tuple(found)))
    return judged


class _Silence(NamedTuple):
    """That there is no number, and why."""

    verdict: Verdict
    reason: str


def _measured(
    measure: Measure, source: StoredRun | xr.Dataset | str, silence: Callable[[], str]
) -> Measured | _Silence:
    """The number of a claim in a run or an artifact, or why there is none.

    Args:
        measure: takes it.
        source: what it is measured in.
        silence: why that is not to be asked, or "".
    """
    try:
        if reason := silence():
            return _Silence("not reached", reason)
        return measure(source)
    except NotApplicable as reason:
        return _Silence(reason.verdict, str(reason))
    except KeyError as lack:  # files of another version of the project
        return _Silence("not reached", str(lack.args[0]).split(". ")[0])
    except (
        Exception
    ) as error:  # whatever a forged file may cause; no number agrees with a claim then
        return Measured(math.nan, f"cannot be measured: {error}")


def _verdict(claim: Claim, value: float) -> Verdict:
    return "reproduced" if value in claim.allowed else "not reproduced"


def _of_no_run(claim: Claim, data: xr.Dataset | str) -> Finding:
    file = f"{claim.artifact}.nc"
    found = _measured(claim.measure, data, lambda: data if isinstance(data, str) else "")
    if isinstance(found, _Silence):
        return Finding(file, found.verdict, note=found.reason)
    return Finding(file, _verdict(claim, found.value), found.value, found.note, (file,))


def _findings(claim: Claim, runs: Sequence[StoredRun], unsound: Mapping[str, str]) -> list[Finding]:
    measured: dict[str, Measured] = {}
    silent = []
    for run in runs:

        def silence(run: StoredRun = run) -> str:
            return unsound.get(run.path) or claim.about(artifact.settings(run.comparison))

        number = _measured(claim.measure, run, silence)
        if isinstance(number, _Silence):
            silent.append(Finding(run.path, number.verdict, note=number.reason))
        else:
            measured[run.path] = number
    by_path = {run.path: run for run in runs}
    if claim.overall is None:
        return [_of_run(claim, by_path[name], own) for name, own in measured.items()] + silent
    return _of_all(claim, by_path, measured) + silent


def _of_run(claim: Claim, run: StoredRun, own: Measured) -> Finding:
    files = tuple(f"{run.path}/{file}" for file in claim.files)
    others = {flow: found[run.path] for flow, found in _baselines(claim, [run]).items()}
    return Finding(
        run.path, _verdict(claim, own.value), own.value, own.note, files,
        low=own.low, high=own.high, baselines=others, passing=_passing(claim, others),
    )  # fmt: skip


def _of_all(
    claim: Claim, runs: Mapping[str, StoredRun], measured: Mapping[str, Measured]
) -> list[Finding]:
    """The one finding of a claim about several runs together; none where there is nothing to say."""
    if claim.overall is None or not measured:
        return []
    chosen = [runs[name] for name in measured]
    value, why, *_ = _together(claim.overall, [own.value for own in measured.values()], chosen)
    if math.isnan(value):
        return [Finding(claim.overall.name, "not reached", note=why or "too few runs")]
    others = {
        flow: _together(claim.overall, [*found.values()], [runs[name] for name in found]).value
        for flow, found in _baselines(claim, chosen).items()
        if len(found) == len(chosen)
    }
    subject = f"{claim.overall.name}, {len(measured)} run{'s' if len(measured) > 1 else ''}"
    files = tuple(f"{name}/{file}" for name in measured for file in claim.files)
    return [
        Finding(
            subject, _verdict(claim, value), value, "", files,
            values=measured, baselines=others, passing=_passing(claim, others),
        )
    ]  # fmt: skip


def _together(overall: Overall, values: Sequence[float], runs: Sequence[StoredRun]) -> Measured:
    """The number of several runs; NaN, and why, where forged files keep it from being computed."""
    try:
        return Measured(overall.of(values, runs))
    except Exception as error:
        return Measured(math.nan, f"cannot be measured: {error}")


def _baselines(claim: Claim, runs: Sequence[StoredRun]) -> dict[str, dict[str, float]]:
    """Flow -> run -> the same number of that flow, of those that have it."""
    found: dict[str, dict[str, float]] = {}
    for flow, measure in claim.beside.items():
        for run in runs:
            if flow in run.processes:
                number = _measured(measure, run, lambda: "")
                if isinstance(number, Measured):
                    found.setdefault(flow, {})[run.path] = number.value
    return found


def _passing(claim: Claim, others: Mapping[str, float]) -> tuple[str, ...]:
    return tuple(flow for flow, value in others.items() if value in claim.allowed)


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


MEDIAN = Overall("median", lambda values, runs: float(np.median(values)))


def share(bound: Bound) -> Overall:
    """The fraction of the numbers within a bound."""
    return Overall(
        f"share of runs with {bound}",
        lambda values, runs: float(np.mean([v in bound for v in values])),
    )
