"""What an audit found, as one page of HTML: no script, nothing from elsewhere, every text escaped."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from rodflow.audit.claims.claim import LISTS, Judgement
from rodflow.audit.report import Report
from rodflow.audit.words import Row, counted, discrimination, found_words, rows, silence
from rodflow.errors import printable

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body {{ font: 14px/1.45 sans-serif; margin: 1.5em auto; max-width: 75em; padding: 0 1em; color: #262626 }}
table {{ border-collapse: collapse; margin: .6em 0 }}
td, th {{ padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }}
details {{ margin: .3em 0 }} summary {{ cursor: pointer }} h2 {{ margin-top: 1.6em }}
.no {{ color: #b02a00; font-weight: bold }} .yes {{ color: #00663d }} .faint {{ color: #666 }}</style></head>
<body><h1>{title}</h1>
{content}
</body></html>
"""


def as_html(report: Report) -> str:
    """A report as a page: the summary, then each claim with paper, wording, numbers, baselines and verdict."""
    facts = [
        ("artifacts", f"{report.intact} of {len(report.artifacts)} intact"),
        ("numbers", f"{report.numbers} computed again"),
        *(tuple(part.split(": ")) for part in counted(report.counts).split("; ")),
        ("problems", str(len(report.problems) or "none")),
    ]
    parts = [_table((), [[*map(_text, fact)] for fact in facts])]
    if report.problems:
        problems = [(_text(one.path), _text(one.what)) for one in report.problems]
        parts += ["<h2>Problems</h2>", _table(("artifact", "problem"), problems)]
    if report.consequences:
        unchecked = [(_text(one.path), _text(one.what)) for one in report.consequences]
        parts += ["<h2>Not checked</h2>", _table(("artifact", "why"), unchecked)]
    if report.statuses:
        statuses = [[*map(_text, one)] for one in report.statuses.items()]
        parts += ["<h2>Artifacts that did not end as planned</h2>", _table((), statuses)]
    for listed, title in zip(LISTS, ("Claims of papers", "Own targets"), strict=True):
        parts.append(f"<h2>{title}</h2>")
        parts += [_claim(one) for one in report.judgements if one.claim.listed == listed]
    return _PAGE.format(title=_text(f"Audit of {report.experiment}"), content="\n".join(parts))


def _claim(judgement: Judgement) -> str:
    claim = judgement.claim
    source = "own target" if claim.listed == LISTS[1] else f"{claim.source}, {claim.place}"
    head = f"<summary>{_verdict(judgement.verdict)} <b>{_text(claim.id)}</b> "
    head += f'<span class="faint">{_text(found_words(judgement))}'
    head += f"{_text(discrimination(judgement.passing))}</span></summary>"
    words = f"<p>{_text(claim.statement)} <i>{_text(source)}.</i></p>"
    measured = f"<p>Measured: {_text(claim.quantity)}. Allowed: {_text(str(claim.allowed))}.</p>"
    return f'<details id="{_text(claim.id)}">{head}{words}{measured}{"".join(_details(judgement))}</details>'


def _details(judgement: Judgement) -> Iterator[str]:
    if found := rows(judgement):
        heads = ("run", "measured", "10% to 90%", "baselines", "verdict", "", "artifacts")
        yield _table(heads, map(_cells, found))
    for verdict, reasons in silence(judgement).items():
        lines = "".join(
            f"<li>{_text(', '.join(subjects))}: {_text(reason)}"
            for reason, subjects in reasons.items()
        )
        yield f"<p>{verdict.capitalize()}:</p><ul>{lines}</ul>"


def _cells(row: Row) -> Iterator[str]:
    subject = _text(row.subject)
    yield f"<b>{subject}</b>" if row.whole else subject
    yield from map(_text, (row.measured, row.spread, row.baselines))
    yield _verdict(row.verdict)
    yield _text(row.note)
    yield " ".join(f"<code>{_text(path)}</code>" for path in row.artifacts)


def _verdict(words: str) -> str:
    style = (
        "no"
        if words.startswith("not reproduced")
        else "yes"
        if words.startswith("reproduced")
        else "faint"
    )
    return f'<span class="{style}">{_text(words)}</span>'


def _text(words: str) -> str:
    return escape(printable(words))


def _table(header: Sequence[str], content: Iterable[Iterable[str]]) -> str:
    """A table of cells that are HTML."""
    head = f"<tr>{''.join(f'<th>{cell}' for cell in header)}</tr>" if header else ""
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}' for cell in row)}</tr>" for row in content)
    return f"<table>{head}\n{body}\n</table>"
