"""What an audit found, and all of it as JSON.

What a file says of itself is data: it is shown, and is no markup, no line of its own and no code of a terminal.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from rodflow.audit.claims.claim import LISTS, VERDICTS, Finding, Judgement, Measured
from rodflow.audit.numbers import span
from rodflow.audit.recompute import Recomputed
from rodflow.audit.words import found_words, ranges
from rodflow.errors import printable
from rodflow.store.files import Problem

_MOST = 2**28  # bytes of an earlier report that is compared with this one


@dataclass(frozen=True)
class Report:
    """What an audit found. Paths are relative to the results root.

    Attributes:
        experiment: its name.
        artifacts: every file of the experiment that is there, with its SHA-256.
        recomputed: the artifacts whose numbers were computed again.
        judgements: the claims.
        problems: what is wrong with the files: causes.
        consequences: what does not fit, or could not be checked, because of a problem.
        statuses: what artifacts that did not end as planned say of themselves.
    """

    experiment: str
    artifacts: Mapping[str, str] = field(hash=False)
    recomputed: tuple[Recomputed, ...]
    judgements: tuple[Judgement, ...]
    problems: tuple[Problem, ...]
    consequences: tuple[Problem, ...]
    statuses: Mapping[str, str] = field(hash=False)

    @property
    def intact(self) -> int:
        """How many artifacts have no problem."""
        return len(self.artifacts.keys() - {problem.path for problem in self.problems})

    @property
    def numbers(self) -> int:
        """How many numbers were computed again."""
        return sum(one.numbers for one in self.recomputed)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """List, of claims of papers or of own targets -> verdict -> how many claims have it."""
        given = Counter((one.claim.listed, one.verdict) for one in self.judgements)
        return {
            listed: {verdict: given[listed, verdict] for verdict in VERDICTS} for listed in LISTS
        }


def as_json(report: Report) -> str:
    """Everything in a report. Numbers that are not finite are the texts "inf" and "nan"."""
    largest = max((one.difference for one in report.recomputed), default=0.0)
    content = {
        "experiment": report.experiment,
        "summary": {
            "artifacts": len(report.artifacts),
            "intact": report.intact,
            "numbers_recomputed": report.numbers,
            "largest_relative_difference": largest,
            "claims": report.counts,
            "problems": len(report.problems),
        },
        "claims": [_claim_entry(judgement) for judgement in report.judgements],
        "problems": [_problem_entry(problem) for problem in report.problems],
        "consequences": [_problem_entry(problem) for problem in report.consequences],
        "statuses": report.statuses,
        "recomputed": [asdict(one) for one in report.recomputed],
        "artifacts": report.artifacts,
    }
    return json.dumps(_harmless(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _claim_entry(judgement: Judgement) -> dict[str, object]:
    claim = judgement.claim
    return {
        "id": claim.id,
        "verdict": judgement.verdict,
        "list": claim.listed,
        "source": claim.source,
        "place": claim.place if claim.listed == LISTS[0] else "",
        "statement": claim.statement,
        "quantity": claim.quantity,
        "overall": claim.overall.name if claim.overall else None,
        "allowed": str(claim.allowed),
        "flow": claim.flow,
        "found": found_words(judgement),
        "range": span((finding.measured for finding in judgement.measured), claim.allowed),
        "baselines": ranges(judgement.measured, claim.allowed),
        "does_not_discriminate": judgement.passing,
        "findings": [_finding_entry(finding) for finding in judgement.findings],
    }


def _finding_entry(finding: Finding) -> dict[str, object]:
    """A finding without what it does not have."""
    entry = asdict(finding)
    return {key: value for key, value in entry.items() if key in _ALWAYS or not _nothing(value)}


_ALWAYS = ("subject", "verdict", "measured", "note", "artifacts")


def _nothing(value: object) -> bool:
    return value != value or value in ((), {})  # NaN differs from itself


def _problem_entry(problem: Problem) -> dict[str, str]:
    return {"path": problem.path, "what": problem.what}


def _harmless(value: object) -> object:
    """A value of which JSON has everything, and a terminal shows every text as it is."""
    if isinstance(value, Measured):
        spread = {} if math.isnan(value.low) else {"low": value.low, "high": value.high}
        return _harmless({"value": value.value, "note": value.note} | spread)
    if isinstance(value, Mapping):
        return {printable(key): _harmless(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_harmless(item) for item in value]
    if isinstance(value, str):
        return printable(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
