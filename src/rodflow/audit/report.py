"""What an audit found, as JSON, as Markdown and in a few lines.

What a file says of itself is data: in the report it is shown, and is no markup, no line of its own and no code of a
terminal.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten

from rodflow.audit.claims.claim import Finding, Judgement, Measured
from rodflow.audit.recompute import Recomputed
from rodflow.errors import printable
from rodflow.store.files import Problem, read_bytes, write_bytes

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
    def verdicts(self) -> dict[str, int]:
        """How many claims hold, fail and do not apply."""
        given = Counter(str(judgement.verdict) for judgement in self.judgements)
        return {
            verdict: given[verdict] for verdict in ("reproduced", "not reproduced", "not reached")
        }


# Storing it


def write(report: Report, path: str | Path) -> tuple[Path, ...]:
    """Store a report as JSON, and beside it as Markdown.

    Returns:
        The files that stood there and said something else: an audit of other files or another
        config, or reports that were altered.

    Raises:
        ArtifactError: a file cannot be written.
    """
    path = Path(path)
    contents = {path: as_json(report), path.with_suffix(".md"): as_markdown(report)}
    other = []
    for file, text in contents.items():
        with suppress(OSError):
            if read_bytes(file, _MOST) != text.encode():
                other.append(file)
        write_bytes(file, text.encode())
    return tuple(other)


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
            "claims": report.verdicts,
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
        "source": claim.source,
        "statement": claim.statement,
        "quantity": claim.quantity,
        "overall": claim.overall.name if claim.overall else None,
        "allowed": str(claim.allowed),
        "findings": [asdict(finding) for finding in judgement.findings],
    }


def _problem_entry(problem: Problem) -> dict[str, str]:
    return {"path": problem.path, "what": problem.what}


def _harmless(value: object) -> object:
    """A value of which JSON has everything, and a terminal shows every text as it is."""
    if isinstance(value, Measured):
        return _harmless(value._asdict())
    if isinstance(value, Mapping):
        return {printable(key): _harmless(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_harmless(item) for item in value]
    if isinstance(value, str):
        return printable(value)
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


# A few lines for the terminal


def summary(report: Report) -> str:
    """A few lines for the terminal."""
    intact = f"{report.intact} of {len(report.artifacts)} artifacts intact"
    lines = [f"{report.experiment}: {intact}, {report.numbers} numbers recomputed"]
    lines.append(f"claims: {_claims_words(report)}")
    width = max((len(judgement.claim.id) for judgement in report.judgements), default=0)
    for judgement in report.judgements:
        found = shorten(_found_words(judgement), 72, placeholder=" ...")
        lines.append(f"  {judgement.verdict:<14}  {judgement.claim.id:<{width}}  {found}".rstrip())
    return "\n".join(map(printable, lines))


def _claims_words(report: Report) -> str:
    return ", ".join(f"{count} {word}" for word, count in report.verdicts.items())


def _found_words(judgement: Judgement) -> str:
    """What was found, in a line: the number of all runs, the runs that do not agree, or how many do."""
    claim = judgement.claim
    if judgement.verdict == "not reached":
        reasons = {finding.note for finding in judgement.findings}
        return reasons.pop() if len(reasons) == 1 else ""
    if claim.overall:
        found = judgement.findings[0]
        return f"{found.subject}: {_number(found.measured)}; {claim.allowed}"
    if claim.artifact:
        return f"{_number(judgement.findings[0].measured)}; {claim.allowed}"
    failed = [f for f in judgement.findings if f.verdict == "not reproduced"]
    judged = judgement.count("reproduced") + len(failed)
    words = f"{judgement.count('reproduced')} of {judged} runs"
    shown = ", ".join(
        f"{f.subject} {_number(f.measured) if math.isfinite(f.measured) else f'({f.note})'}"
        for f in failed
    )
    return f"{words}; {claim.allowed}, but {shown}" if failed else f"{words} {claim.allowed}"


# For people


_MARKUP = re.compile(r"[\\`*\[\]#!~@]|(?<!\w)_|_(?!\w)|(?<=www)\.|:(?=//)")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"})


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, in one line: none of it is markup, a link, HTML or the end of a cell."""
    return _MARKUP.sub(r"\\\g<0>", printable(text)).translate(_ENTITIES)


def _code(path: str) -> str:
    """A path as code, in which only a backtick and the end of a cell could end it."""
    if re.search(r"[`|<>&]", path):
        return escaped(path)
    return f"`{printable(path)}`"


def as_markdown(report: Report) -> str:
    """A report for people: a summary, a table a claim, then problems and what was recomputed."""
    blocks = [
        f"# Audit of {escaped(report.experiment)}",
        _table(
            ("", "found"),
            [
                ("artifacts", f"{report.intact} of {len(report.artifacts)} intact"),
                ("numbers", f"{report.numbers} recomputed, in {len(report.recomputed)} artifacts"),
                ("claims", _claims_words(report)),
                ("problems", str(len(report.problems) or "none")),
            ],
        ),
    ]
    if report.problems:
        blocks += ["## Problems", *_problem_blocks(report)]
    judged = [j for j in report.judgements if j.verdict != "not reached"]
    rows = [(_link(j), _emphasised(j.verdict), escaped(_found_words(j))) for j in judged]
    blocks += ["## Claims", _table(("claim", "verdict", "found"), rows)]
    if silent := [_link(j) for j in report.judgements if j not in judged]:
        blocks += [f"Not reached: {', '.join(silent)}."]
    for judgement in report.judgements:
        blocks += _claim_blocks(judgement)
    if report.statuses:
        blocks += ["## Artifacts that did not end as planned"]
        statuses = [(_code(path), escaped(status)) for path, status in report.statuses.items()]
        blocks += [_table(("artifact", "status"), statuses)]
    blocks += ["## Recomputed numbers", _recomputed_table(report)]
    blocks += ["The SHA-256 of every artifact is in `audit.json`."]
    return "\n\n".join(blocks) + "\n"


def _recomputed_table(report: Report) -> str:
    rows = [
        (
            _code(one.artifact),
            one.source,
            str(one.numbers),
            f"{one.difference:.1g}",
            f"{one.allowed:g}",
        )
        for one in report.recomputed
    ]
    heads = ("artifact", "from", "numbers", "largest relative difference", "allowed")
    return _table(heads, rows)


def _link(judgement: Judgement) -> str:
    return f"[{judgement.claim.id}](#{judgement.claim.id})"


def _problem_blocks(report: Report) -> Iterator[str]:
    rows = [(_code(problem.path), escaped(problem.what)) for problem in report.problems]
    yield _table(("artifact", "problem"), rows)
    if report.consequences:
        yield "Because of these:"
        follows: dict[str, list[str]] = {}
        for problem in report.consequences:
            follows.setdefault(problem.what, []).append(_code(problem.path))
        yield "\n".join(f"* {escaped(what)}: {', '.join(paths)}" for what, paths in follows.items())


def _claim_blocks(judgement: Judgement) -> Iterator[str]:
    claim = judgement.claim
    yield f"### {claim.id}"
    yield f"{claim.statement} Source: {claim.source}."
    measured = [f for f in judgement.findings if f.verdict != "not reached"]
    yield f"Verdict: {_emphasised(judgement.verdict)}. Measured: {claim.quantity}."
    if measured:
        rows = [row for finding in measured for row in _finding_rows(finding, str(claim.allowed))]
        yield _table(("run", "measured", "allowed", "verdict", "", "artifacts"), rows)
    silent: dict[str, list[str]] = {}
    for finding in judgement.findings:
        if finding.verdict == "not reached":
            silent.setdefault(finding.note, []).append(escaped(finding.subject))
    if silent:
        lines = [
            f"* {', '.join(subjects)}: {escaped(reason)}" for reason, subjects in silent.items()
        ]
        yield "Not reached:\n\n" + "\n".join(lines)


def _finding_rows(finding: Finding, allowed: str) -> Iterator[tuple[str, ...]]:
    def files(run: str) -> str:
        return ", ".join(_code(path) for path in finding.artifacts if path.startswith(run))

    number, verdict = _number(finding.measured), _emphasised(finding.verdict)
    if not finding.values:
        yield escaped(finding.subject), number, allowed, verdict, escaped(finding.note), files("")
        return
    yield f"**{escaped(finding.subject)}**", number, allowed, verdict, "", ""
    for run, (value, note) in finding.values.items():
        yield escaped(run), _number(value), "", "", escaped(note), files(f"{run}/")


def _emphasised(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "not reproduced" else verdict


def _number(value: float) -> str:
    return f"{value:.3g}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
