"""Write one index of the audits and figures of several experiments: results/index.md and results/index.html.

The figures are grouped by the papers that they belong to, each with the experiments that draw it. Nothing is computed.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from rodflow.config import plan
from rodflow.config.catalogue import FIGURES, docstring
from rodflow.config.experiment import Experiment
from rodflow.config.settings import load, resolve
from rodflow.store.files import place_fault, read_bytes, write_bytes

MANY_CORES = False
LISTS = ("paper", "own target")
VERDICTS = ("reproduced", "not reproduced", "not at the edge", "not reached")
HEADS = tuple(f"{verdict}: papers + own" for verdict in VERDICTS)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which experiments, and where their results are."""
    parser.add_argument(
        "--configs",
        type=Path,
        nargs="+",
        default=[Path("config.yaml"), Path("config")],
        metavar="PATH",
        help="files, or folders of them; default: config.yaml config",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")


def run(args: argparse.Namespace) -> int:
    """Index those that have results."""
    found = [resolve(load(path), path.parent) for path in configs(args.configs)]
    there = [one for one in found if (args.results / one.name).is_dir()]
    for path in write(there, args.results):
        print(path)
    return 0


def configs(places: list[Path]) -> list[Path]:
    """The files that are named, and the YAML files of the folders that are."""
    return [
        path
        for place in places
        for path in (sorted(place.glob("*.yaml")) if place.is_dir() else [place])
    ]


_MOST = 2**26  # bytes of a report or a caption


@dataclass(frozen=True)
class Audited:
    """What an experiment's audit says in one row.

    Attributes:
        name: of the experiment.
        runs: how many it has.
        files: "artifacts intact", as "12 of 12"; "no audit" where there is none.
        problems: how many the audit names.
        claims: how many have each of the verdicts, as "3 + 14": claims of papers, and own targets.
    """

    name: str
    runs: int
    files: str
    problems: str
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """A figure that is there.

    Attributes:
        title: its name, with the model or sweep that it is of.
        place: of the PNG, relative to the results.
        experiment: that it belongs to.
        caption: what stands beside it, "" if nothing does.
    """

    title: str
    place: str
    experiment: str
    caption: str


def write(experiments: Sequence[Experiment], results: Path) -> tuple[Path, Path]:
    """Write both forms of the index; their paths."""
    rows = [audited(one, results) for one in experiments]
    papers = by_paper(experiments, results)
    markdown, html = results / "index.md", results / "index.html"
    write_bytes(markdown, as_markdown(rows, papers).encode())
    write_bytes(html, as_html(rows, papers).encode())
    return markdown, html


def audited(experiment: Experiment, results: Path) -> Audited:
    """The row of an experiment."""
    runs = len(experiment.all_runs)
    try:
        found = json.loads(read_bytes(results / experiment.name / "audit.json", _MOST))["summary"]
        files = f"{int(found['intact'])} of {int(found['artifacts'])}"
        claims = tuple(
            " + ".join(str(int(found["claims"][listed][verdict])) for listed in LISTS)
            for verdict in VERDICTS
        )
        return Audited(experiment.name, runs, files, str(int(found["problems"])), claims)
    except (OSError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return Audited(experiment.name, runs, "no audit", "", ("",) * len(VERDICTS))


def by_paper(experiments: Sequence[Experiment], results: Path) -> dict[str, list[Drawn]]:
    """The figures that are there, by the first words on the package that they are in, sorted by name."""
    papers: dict[str, list[Drawn]] = defaultdict(list)
    for experiment in experiments:
        for figure in plan.figures(experiment):
            place = f"{experiment.name}/{figure.stem}.png"
            if not (results / place).is_file():
                continue
            title = figure.name + (f" ({figure.part})" if figure.part else "")
            caption = f"{experiment.name}/{figure.stem}.rst"
            text = "" if place_fault(results, caption) else _text(results / caption)
            paper = docstring(FIGURES.module(figure.name).rpartition(".")[0])
            papers[paper].append(Drawn(title, place, experiment.name, text))
    order = {name: place for place, name in enumerate(FIGURES)}
    return {
        paper: sorted(drawn, key=lambda one: (order[one.title.split(" ")[0]], one.experiment))
        for paper, drawn in sorted(papers.items())
    }


def _text(caption: Path) -> str:
    try:
        return read_bytes(caption, _MOST).decode(errors="replace")
    except OSError:
        return ""


def as_markdown(rows: Sequence[Audited], papers: dict[str, list[Drawn]]) -> str:
    """The index for a terminal or a repository's page."""
    lines = [
        "# Experiments",
        "",
        f"| experiment | runs | intact | problems | {' | '.join(HEADS)} |",
    ]
    lines.append("|---" * (4 + len(VERDICTS)) + "|")
    for row in rows:
        cells = [
            f"[{row.name}]({quote(row.name)}/audit.md)",
            str(row.runs),
            row.files,
            row.problems,
        ]
        lines.append(f"| {' | '.join([*cells, *row.claims])} |")
    for paper, drawn in papers.items():
        lines += ["", f"## {paper}", ""]
        lines += [f"- {one.title}: [{one.experiment}]({quote(one.place)})" for one in drawn]
    return "\n".join(lines) + "\n"


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>rodflow: experiments</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self'; style-src 'unsafe-inline'">
<style>body {{ font: 15px sans-serif; margin: 2em auto; max-width: 70em }}
table {{ border-collapse: collapse }} td, th {{ padding: .2em .8em; border-bottom: 1px solid #ccc; text-align: left }}
figure {{ margin: 1em 0 2em }} img {{ max-width: 100% }} pre {{ white-space: pre-wrap }}</style></head>
<body><h1>Experiments</h1>
<table><tr><th>experiment<th>runs<th>intact<th>problems{verdicts}</tr>
{rows}
</table>
{papers}
</body></html>
"""


def as_html(rows: Sequence[Audited], papers: dict[str, list[Drawn]]) -> str:
    """The index as a page with the pictures; what comes from files is text there and never markup."""
    cells = [
        f'<tr><td><a href="{quote(row.name)}/audit.html">{escape(row.name)}</a>'
        + "".join(
            f"<td>{escape(str(cell))}" for cell in (row.runs, row.files, row.problems, *row.claims)
        )
        for row in rows
    ]
    sections = []
    for paper, drawn in papers.items():
        sections.append(f"<h2>{escape(paper)}</h2>")
        for one in drawn:
            title = escape(f"{one.title}: {one.experiment}")
            place, caption = quote(one.place), escape(one.caption)
            sections.append(
                f'<figure><figcaption><b>{title}</b></figcaption><a href="{place}">'
                f'<img loading="lazy" src="{place}" alt="{title}"></a><pre>{caption}</pre></figure>'
            )
    verdicts = "".join(f"<th>{escape(head)}" for head in HEADS)
    return _PAGE.format(verdicts=verdicts, rows="\n".join(cells), papers="\n".join(sections))
