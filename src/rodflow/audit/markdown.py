"""What an audit found, as Markdown for people."""

import re
from collections.abc import Iterable, Iterator, Sequence

from rodflow.audit.claims.claim import LISTS, Judgement
from rodflow.audit.report import Report
from rodflow.audit.words import SILENT, Row, counted, discrimination, found_words, rows, silence
from rodflow.errors import printable

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
        table(
            ("", "found"),
            [
                ("artifacts", f"{report.intact} of {len(report.artifacts)} intact"),
                ("numbers", f"{report.numbers} recomputed, in {len(report.recomputed)} artifacts"),
                *(tuple(part.split(": ")) for part in counted(report.counts).split("; ")),
                ("problems", str(len(report.problems) or "none")),
            ],
        ),
    ]
    if report.problems:
        problems = [(_code(problem.path), escaped(problem.what)) for problem in report.problems]
        blocks += ["## Problems", table(("artifact", "problem"), problems)]
    if report.consequences:
        title = "Because of these:" if report.problems else "## Not checked"
        blocks += [title, _consequences(report)]
    for listed, title in zip(LISTS, ("Claims of papers", "Own targets"), strict=True):
        blocks += [f"## {title}", *_list_blocks(report, listed)]
    blocks += ["## Each claim"]
    for judgement in report.judgements:
        blocks += _claim_blocks(judgement)
    if report.statuses:
        blocks += ["## Artifacts that did not end as planned"]
        statuses = [(_code(path), escaped(status)) for path, status in report.statuses.items()]
        blocks += [table(("artifact", "status"), statuses)]
    blocks += ["## Recomputed numbers", _recomputed_table(report)]
    blocks += ["The SHA-256 of every artifact is in `audit.json`."]
    return "\n\n".join(blocks) + "\n"


def _list_blocks(report: Report, listed: str) -> Iterator[str]:
    own = [judgement for judgement in report.judgements if judgement.claim.listed == listed]
    judged = [judgement for judgement in own if judgement.measured]
    summed = [(_link(j), _emphasised(_verdict(j)), escaped(found_words(j))) for j in judged]
    if summed:
        yield table(("claim", "verdict", "found (the same of baselines)"), summed)
    for verdict in SILENT:
        if links := [_link(j) for j in own if j.verdict == verdict]:
            yield f"{verdict.capitalize()}: {', '.join(links)}."


def _verdict(judgement: Judgement) -> str:
    return judgement.verdict + discrimination(judgement.passing)


def _link(judgement: Judgement) -> str:
    return f"[{judgement.claim.id}](#{judgement.claim.id})"


def _consequences(report: Report) -> str:
    follows: dict[str, list[str]] = {}
    for problem in report.consequences:
        follows.setdefault(problem.what, []).append(_code(problem.path))
    return "\n".join(f"* {escaped(what)}: {', '.join(paths)}" for what, paths in follows.items())


def _claim_blocks(judgement: Judgement) -> Iterator[str]:
    claim = judgement.claim
    source = "own target" if claim.listed == LISTS[1] else f"{claim.source}, {claim.place}"
    yield f"### {claim.id}"
    yield f"{claim.statement} Source: {source}."
    allowed = f"Measured: {claim.quantity}. Allowed: {claim.allowed}."
    yield f"Verdict: {_emphasised(_verdict(judgement))}. {allowed}"
    if found := rows(judgement):
        heads = ("run", "measured", "10% to 90%", "baselines", "verdict", "", "artifacts")
        yield table(heads, map(_cells, found))
    for verdict, reasons in silence(judgement).items():
        lines = [
            f"* {', '.join(map(escaped, subjects))}: {escaped(reason)}"
            for reason, subjects in reasons.items()
        ]
        yield f"{verdict.capitalize()}:\n\n" + "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    subject = escaped(row.subject)
    return (
        f"**{subject}**" if row.whole else subject,
        row.measured,
        row.spread,
        row.baselines,
        _emphasised(row.verdict),
        escaped(row.note),
        ", ".join(map(_code, row.artifacts)),
    )


def _recomputed_table(report: Report) -> str:
    found = [
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
    return table(heads, found)


def _emphasised(verdict: str) -> str:
    return f"**{verdict}**" if verdict.startswith("not reproduced") else verdict


def table(header: Sequence[str], content: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown.

    Args:
        header, content: the names of the columns, and rows of as many cells.
    """
    lines = [header, ["---"] * len(header), *content]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
