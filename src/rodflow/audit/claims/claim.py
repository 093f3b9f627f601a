"""A claim, and what stored runs say about it: see `rodflow.audit.claims.catalogue`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from rodflow.errors import RodflowError
from rodflow.store import artifact
from rodflow.store.results import StoredRun

Verdict = Literal["reproduced", "not reproduced", "not reached"]


class NotApplicable(RodflowError):
    """A run says nothing about a claim; the message is the reason."""


class Measured(NamedTuple):
    """What was found in a run: a number, and words that help to understand it."""

    value: float
    note: str = ""


Measure = Callable[[Any], Measured]
"""Takes a number from a `StoredRun`, or from the dataset of an artifact of no run, or raises `NotApplicable`."""


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
        of: the numbers and the runs that they are of -> the number; NaN where they do not suffice.
    """

    name: str
    of: Callable[[Sequence[float], Sequence[StoredRun]], float]


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
        figure: the figure that shows it: the claim is about the runs drawn there, and left out where there is no such
            figure. "": it is about the main runs.
        artifact: the artifact of no run that it is about instead, such as "adam_region"; it is judged where an
            experiment has it.
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
    figure: str = ""
    artifact: str = ""


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
        """Not reproduced if one finding is not, reproduced if one is and none is not."""
        if self.count("not reproduced"):
            return "not reproduced"
        return "reproduced" if self.count("reproduced") else "not reached"


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


def _measured(
    claim: Claim, source: StoredRun | xr.Dataset | str, silence: Callable[[], str]
) -> Measured | str:
    """The number of a claim in a run or an artifact, or why there is none.

    Args:
        claim: which.
        source: what it is measured in.
        silence: why that is not to be asked, or "".
    """
    try:
        return silence() or claim.measure(source)
    except NotApplicable as reason:
        return str(reason)
    except KeyError as lack:  # files of another version of the project
        return str(lack.args[0]).split(". ")[0]
    except (
        Exception
    ) as error:  # whatever a forged file may cause; no number agrees with a claim then
        return Measured(math.nan, f"cannot be measured: {error}")


def _verdict(claim: Claim, value: float) -> Verdict:
    return "reproduced" if value in claim.allowed else "not reproduced"


def _of_no_run(claim: Claim, data: xr.Dataset | str) -> Finding:
    file = f"{claim.artifact}.nc"
    found = _measured(claim, data, lambda: data if isinstance(data, str) else "")
    if isinstance(found, str):
        return Finding(file, "not reached", note=found)
    return Finding(file, _verdict(claim, found.value), *found, (file,))


def _findings(claim: Claim, runs: Sequence[StoredRun], unsound: Mapping[str, str]) -> list[Finding]:
    measured: dict[str, Measured] = {}
    silent = []
    for run in runs:

        def silence(run: StoredRun = run) -> str:
            return unsound.get(run.path) or claim.about(artifact.settings(run.comparison))

        number = _measured(claim, run, silence)
        if isinstance(number, str):
            silent.append(Finding(run.path, "not reached", note=number))
        else:
            measured[run.path] = number

    def found(subject: str, value: float, note: str, *names: str, **more: Any) -> Finding:
        files = tuple(f"{name}/{file}" for name in names for file in claim.files)
        return Finding(subject, _verdict(claim, value), value, note, files, **more)

    if claim.overall is None:
        return [found(name, *numbers, name) for name, numbers in measured.items()] + silent
    if not measured:
        return silent
    by_path = {run.path: run for run in runs}
    value = claim.overall.of(
        [numbers.value for numbers in measured.values()], [by_path[name] for name in measured]
    )
    if math.isnan(value):
        return [Finding(claim.overall.name, "not reached", note="too few runs"), *silent]
    subject = f"{claim.overall.name}, {len(measured)} run{'s' if len(measured) > 1 else ''}"
    return [found(subject, value, "", *measured, values=measured), *silent]


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
