"""Where what an audit found is stored, JSON for programs, Markdown and HTML for people, and a few lines of it."""

from contextlib import suppress
from pathlib import Path
from textwrap import shorten

from rodflow.audit.markdown import as_markdown
from rodflow.audit.page import as_html
from rodflow.audit.report import Report, as_json
from rodflow.audit.words import counted, discrimination, found_words
from rodflow.errors import printable
from rodflow.store.files import read_bytes, write_bytes

_MOST = 2**28  # bytes of an earlier report that is compared with this one


def write(report: Report, path: str | Path) -> tuple[Path, ...]:
    """Store a report as JSON, and beside it as Markdown and HTML.

    Args:
        report, path: the audit, and its JSON file; the others have the same name with `.md` and `.html`.

    Returns:
        The files that stood there and said something else: an audit of other files or another
        config, or reports that were altered.

    Raises:
        ArtifactError: a file cannot be written.
    """
    path = Path(path)
    contents = {
        path: as_json(report),
        path.with_suffix(".md"): as_markdown(report),
        path.with_suffix(".html"): as_html(report),
    }
    other = []
    for file, text in contents.items():
        with suppress(OSError):
            if read_bytes(file, _MOST) != text.encode():
                other.append(file)
        write_bytes(file, text.encode())
    return tuple(other)


def summary(report: Report) -> str:
    """A few lines for the terminal."""
    intact = f"{report.intact} of {len(report.artifacts)} artifacts intact"
    lines = [f"{report.experiment}: {intact}, {report.numbers} numbers recomputed"]
    lines += counted(report.counts).split("; ")
    width = max((len(judgement.claim.id) for judgement in report.judgements), default=0)
    for judgement in report.judgements:
        words = f"{found_words(judgement)}{discrimination(judgement.passing)}"
        found = shorten(words, 72, placeholder=" ...")
        lines.append(f"  {judgement.verdict:<15}  {judgement.claim.id:<{width}}  {found}".rstrip())
    return "\n".join(map(printable, lines))
