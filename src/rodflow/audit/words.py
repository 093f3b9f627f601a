"""What a judgement says in words and rows: Markdown, HTML and terminal show the same.

Nothing here is escaped: each form does that for itself.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rodflow.audit.claims.claim import (
    BASELINES,
    LISTS,
    VERDICTS,
    Bound,
    Finding,
    Judgement,
    Verdict,
)
from rodflow.audit.numbers import against, digits, span

SILENT: tuple[Verdict, ...] = ("not at the edge", "not reached")
"""The verdicts of runs in which nothing was measured."""


@dataclass(frozen=True)
class Row:
    """A row of the table of a claim.

    Attributes:
        subject: a run, several seeds of one, or all runs together.
        measured: the number, or its range over seeds.
        spread: between which quantiles, of 10% and 90%, it lies along the run; "" if it is one number.
        baselines: the same number of the baselines.
        verdict: "" where the number of all runs has one.
        note: more about the number.
        artifacts: where it comes from.
        whole: whether it is of more than one run.
    """

    subject: str
    measured: str
    spread: str = ""
    baselines: str = ""
    verdict: str = ""
    note: str = ""
    artifacts: tuple[str, ...] = ()
    whole: bool = False


def rows(judgement: Judgement) -> list[Row]:
    """One row a run in which something was measured, after one for several seeds of it or for all runs together."""
    found: list[Row] = []
    allowed = judgement.claim.allowed
    for subject, findings in by_seed(judgement.measured).items():
        if len(findings) > 1:
            found.append(_of_seeds(subject, findings, allowed))
        for one in findings:
            found.append(_of_finding(one, allowed))
            found += _of_values(one)
    return found


def by_seed(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Findings about runs that differ in their seed only, by the folder of the seeds."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(without_seed(finding.subject), []).append(finding)
    return groups


def without_seed(run: str) -> str:
    """The folder of a run's seeds."""
    return re.sub(r"/seed\d+$", "", run)


def _of_finding(finding: Finding, allowed: Bound) -> Row:
    spread = "" if math.isnan(finding.low) else f"{digits(finding.low)} to {digits(finding.high)}"
    return Row(
        finding.subject,
        against(finding.measured, allowed),
        spread,
        ", ".join(f"{flow} {against(value, allowed)}" for flow, value in finding.baselines.items()),
        finding.verdict + discrimination(finding.passing),
        finding.note,
        () if finding.values else finding.artifacts,
        whole=bool(finding.values),
    )


def _of_values(finding: Finding) -> list[Row]:
    return [
        Row(
            run,
            digits(own.value),
            note=own.note,
            artifacts=tuple(path for path in finding.artifacts if path.startswith(f"{run}/")),
        )
        for run, own in finding.values.items()
    ]


def _of_seeds(subject: str, findings: Sequence[Finding], allowed: Bound) -> Row:
    ends = [end for one in findings for end in (one.low, one.high) if not math.isnan(end)]
    agreeing = sum(one.verdict == "reproduced" for one in findings)
    return Row(
        f"{subject}, {len(findings)} seeds",
        span((one.measured for one in findings), allowed),
        span(ends),
        ", ".join(f"{flow} {words}" for flow, words in ranges(findings, allowed).items()),
        f"{agreeing} of {len(findings)} reproduced",
        whole=True,
    )  # fmt: skip


def discrimination(passing: Sequence[str]) -> str:
    """What follows a verdict where baselines agree with the claim as well."""
    return f"; does not discriminate: {', '.join(passing)} too" if passing else ""


def silence(judgement: Judgement) -> dict[Verdict, dict[str, list[str]]]:
    """Verdict of those in which nothing was measured -> reason -> subjects."""
    found: dict[Verdict, dict[str, list[str]]] = {}
    for verdict in SILENT:
        reasons: dict[str, list[str]] = {}
        for finding in judgement.findings:
            if finding.verdict == verdict:
                reasons.setdefault(finding.note, []).append(finding.subject)
        if reasons:
            found[verdict] = reasons
    return found


def found_words(judgement: Judgement) -> str:
    """What was found, in a line: how many runs agree, between which numbers, and what the baselines have."""
    claim, measured = judgement.claim, judgement.measured
    allowed = claim.allowed
    if not measured:
        reasons = {finding.note for finding in judgement.findings}
        return reasons.pop() if len(reasons) == 1 else ""
    first = measured[0]
    if claim.overall or claim.artifact:
        subject = f"{first.subject}: " if claim.overall else ""
        return f"{subject}{against(first.measured, allowed)}; {allowed}{_baselines(judgement)}"
    failed = [finding for finding in measured if finding.verdict == "not reproduced"]
    words = f"{len(measured) - len(failed)} of {len(measured)} runs {allowed}"
    words += f": {span((one.measured for one in measured), allowed)}{_baselines(judgement)}"
    for flow in BASELINES:
        if 0 < (agreeing := sum(flow in one.passing for one in measured)) < len(measured):
            words += f"; {flow} agrees in {agreeing} too"
    if aside := judgement.count("not at the edge"):
        words += f"; {aside} not at the edge"
    if failed:
        words += f"; but {', '.join(_failed_words(one, allowed) for one in failed)}"
    return words


def _failed_words(finding: Finding, allowed: Bound) -> str:
    number = finding.measured
    known = against(number, allowed) if math.isfinite(number) else f"({finding.note})"
    return f"{finding.subject} {known}"


def ranges(findings: Sequence[Finding], allowed: Bound) -> dict[str, str]:
    """Baseline -> the range of its numbers, which are judged by the same bound.

    Args:
        findings, allowed: those of one claim, and its bound.
    """
    flows = dict.fromkeys(flow for one in findings for flow in one.baselines)
    return {
        flow: span((one.baselines[flow] for one in findings if flow in one.baselines), allowed)
        for flow in flows
    }


def _baselines(judgement: Judgement) -> str:
    found = ranges(judgement.measured, judgement.claim.allowed)
    words = [f"{flow} {numbers}" for flow, numbers in found.items()]
    return f" ({', '.join(words)})" if words else ""


def counted(counts: Mapping[str, Mapping[str, int]]) -> str:
    """How many claims have each verdict, the two lists apart."""
    parts = []
    for listed, name in zip(LISTS, ("claims of papers", "own targets"), strict=True):
        own = ", ".join(f"{counts[listed][verdict]} {verdict}" for verdict in VERDICTS)
        parts.append(f"{name}: {own}")
    return "; ".join(parts)
