"""The pages that quote committed audits: results, the gallery's index, README's table, the claims by paper.

Numbers stand on a page only if they are in the audit of a gallery, and README and results quote galleries only whose
code is the present one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, get_args

from rodflow.audit.causes import CAUSES, UNKNOWN, Cause, Kind
from rodflow.audit.claims.catalogue import CLAIMS
from rodflow.audit.claims.claim import LISTS, TARGET, VERDICTS, Claim
from rodflow.audit.committed import Entry, Gallery
from rodflow.audit.markdown import escaped, table
from rodflow.audit.numbers import digits, span
from rodflow.audit.words import SILENT, without_seed
from rodflow.store.results import rank

BEGIN, END = "<!-- rodflow results: begin -->", "<!-- rodflow results: end -->"
"""Between these the table of README stands."""

SHOWN = ("cifar10-seeds", "cifar10", "digits")
"""README has the claims of the first of these that is quoted one by one; of the others it has counts."""

_MADE = "<!-- Made by `rodflow results` from the audits in docs/gallery; what is changed by hand is lost. -->"
_HELD = "threshold-held-"
_OF_NO_RUN = {claim.id for claim in CLAIMS if claim.artifact}
"""Claims about toys and formulas, which are for `docs/claims.md`: README shows what training does."""

_COLUMNS = {
    "rod-ode-tracks": "stable over rod, ODE",
    "rod-unit-step-tracks": "unit step",
    "rod-macro-step-tracks": "macro step",
    "central-tracks": "stable over central",
    "rod-ode-tracks-outputs": "in outputs, ODE",
    "rod-unit-step-tracks-outputs": "in outputs, unit step",
}
"""Claims whose numbers are columns of the table of runs, where a run has one."""


def judged(gallery: Gallery, listed: str) -> list[Entry]:
    """The claims of a list of which something was measured.

    Args:
        gallery, listed: a committed audit, and one of `LISTS`.
    """
    return [one for one in gallery.claims if one["list"] == listed and one["range"]]


def readme_table(quoted: Sequence[Gallery]) -> str:
    """What the papers claim and what these galleries have, for README."""
    if not quoted:
        return "No committed gallery is of the present code; `docs/gallery/README.md` says of which each is."
    by_name = {gallery.name: gallery for gallery in quoted}
    shown = [by_name[name] for name in SHOWN if name in by_name][:1]
    cells = [
        (
            brief(one["statement"]),
            one["source"].split(" (")[0],
            _measured(one),
            _baselines(one),
            _verdict(one),
        )
        for gallery in shown
        for one in judged(gallery, LISTS[0])
        if one["id"] not in _OF_NO_RUN
    ]
    names = "".join(f", {gallery.name}" for gallery in shown)
    heads = ("claim", "paper", f"ours{names}", "baselines", "verdict")
    blocks = [table(heads, cells)] if cells else []
    shares = (
        f"{_share(quoted, listed)} on {name}"
        for listed, name in zip(LISTS, ("claims of papers", "own targets"), strict=True)
    )
    blocks.append(f"Verdicts over all experiments that are *reproduced*: {', '.join(shares)}.")
    if missed := _by_cause(quoted):
        words = "Claims of papers not reproduced somewhere, by likeliest cause"
        blocks.append(f"{words} (`docs/claims.md`): {missed}.")
    return "\n\n".join(blocks)


def _share(quoted: Sequence[Gallery], listed: str) -> str:
    """How many verdicts on the claims of a list are reproduced, of those that could be judged."""
    counts = [one.summary["claims"][listed] for one in quoted]
    held, missed = (sum(count[verdict] for count in counts) for verdict in VERDICTS[:2])
    return f"{held} of {held + missed}"


def _by_cause(quoted: Sequence[Gallery]) -> str:
    """The claims of papers that some gallery does not reproduce, each kind of cause with its own."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in get_args(Kind)}
    for gallery in quoted:
        for one in judged(gallery, LISTS[0]):
            if one["verdict"] == VERDICTS[1]:
                found[cause(one["id"], gallery.name).kind][f"`{one['id']}`"] = None
    return "; ".join(f"*{kind}* {', '.join(names)}" for kind, names in found.items() if names)


def with_table(readme: str, quoted: Sequence[Gallery]) -> str:
    """README with its table anew.

    Args:
        readme, quoted: its text, with `BEGIN` and `END` around the table, and the galleries in it.
    """
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{readme_table(quoted)}\n{END}{after}"


def results(galleries: Sequence[Gallery], current: Iterable[str]) -> str:
    """The page of results: each current gallery, and which others there are.

    Args:
        galleries, current: all that are committed, and the names of those whose code is the present one.
    """
    names = {*current}
    blocks = [
        "# Results",
        _MADE,
        "The committed audits whose code is the present one, by the rules of `docs/evidence.md`. Ratios are of "
        "tracking errors, medians from the onset of the threshold on; 1 is the stable flow. *Not at the edge* is a run "
        "whose rod is closed for most of the time. Where a baseline agrees with a claim as well, the claim *does not "
        "discriminate*.",
    ]
    for gallery in galleries:
        if gallery.name in names:
            blocks += _gallery_blocks(gallery)
    if others := [f"`{one.name}`" for one in galleries if one.name not in names]:
        blocks += [
            "## Other galleries",
            f"Of other code, so that nothing of them is quoted here: {', '.join(others)}. `docs/gallery/README.md` "
            "says what has changed since.",
        ]
    return "\n\n".join(blocks) + "\n"


def _gallery_blocks(gallery: Gallery) -> Iterator[str]:
    yield f"## {gallery.name}"
    intact = f"{gallery.summary['intact']} of {gallery.summary['artifacts']} artifacts intact"
    yield f"`{gallery.config}`; {intact}; `docs/gallery/{gallery.name}/audit.md`. {_counts(gallery)}"
    papers = [
        (_named(one), paper(one), _measured(one), _baselines(one), _verdict(one))
        for one in judged(gallery, LISTS[0])
    ]  # fmt: skip
    if papers:
        yield "### Claims of papers"
        yield table(("claim", "paper", "ours", "the same of baselines", "verdict"), papers)
    heads, rows = _table_of_runs(gallery)
    if rows:
        yield "### Each run"
        yield table(heads, rows)
    targets = [
        (_named(one), str(one["allowed"]), _measured(one), _baselines(one), _verdict(one))
        for one in judged(gallery, LISTS[1])
    ]  # fmt: skip
    if targets:
        yield "### Own targets"
        yield table(("target", "allowed", "found", "the same of baselines", "verdict"), targets)
    failed = [one for one in gallery.claims if one["verdict"] == "not reproduced"]
    if failed:
        yield "### Not reproduced"
        yield "\n".join(
            f"* `{one['id']}` ({one['list']}): {escaped(one['found'])}." for one in failed
        )


def _table_of_runs(gallery: Gallery) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Run without seed, sharpness at the edge, and how much nearer each flow is than the stable one; Adam first.

    Returns:
        The heads of the columns, and the rows.
    """
    held: dict[str, list[Mapping[str, object]]] = {}
    ratios: dict[str, dict[str, list[float]]] = {}
    for one in gallery.claims:
        for finding in one["findings"]:
            run = without_seed(finding["subject"])
            if one["id"].startswith(_HELD) and not str(finding["note"]).startswith("is about"):
                held.setdefault(run, []).append(finding)
            elif one["id"] in _COLUMNS and finding["verdict"] not in SILENT:
                ratios.setdefault(run, {}).setdefault(one["id"], []).append(
                    float(finding["measured"])
                )
    shown = [claim for claim in _COLUMNS if any(claim in found for found in ratios.values())]
    heads = ("run", "sharpness over threshold", "10% to 90%", *(_COLUMNS[one] for one in shown))
    return heads, [
        (
            escaped(run),
            *_level(held.get(run, [])),
            *(span(ratios.get(run, {}).get(claim, [])) for claim in shown),
        )
        for run in sorted(held.keys() | ratios.keys(), key=_place)
    ]  # fmt: skip


def _level(findings: Sequence[Mapping[str, object]]) -> tuple[str, str]:
    """Sharpness over threshold over seeds, and its quantiles; the verdict where nothing was measured."""
    there = [one for one in findings if one["verdict"] not in SILENT]
    aside = "; ".join(dict.fromkeys(str(one["verdict"]) for one in findings if one not in there))
    if not there:
        return aside, ""
    ends = [float(str(one[end])) for one in there for end in ("low", "high")]
    words = span(float(str(one["measured"])) for one in there)
    return f"{words}; {aside}" if aside else words, f"{digits(min(ends))} to {digits(max(ends))}"


def _place(run: str) -> tuple[str, bool, int, str]:
    above, _, optimizer = run.rpartition("/")
    return above, optimizer != "adam", *rank(optimizer)


def index(galleries: Sequence[Gallery], outdated: Mapping[str, Sequence[str]]) -> str:
    """The gallery's index: which folders are of the present code.

    Args:
        galleries: all of them.
        outdated: name -> the stages whose code is another one now.
    """
    rows = []
    for gallery in galleries:
        stages = outdated[gallery.name]
        place = gallery.config or f"config/{gallery.name}.yaml"
        option = "" if place == "config.yaml" else f" CONFIG={place}"
        rows.append((f"`{gallery.name}/`", f"`{place}`", state(stages), f"`make gallery{option}`"))
    heads = ("folder", "experiment", "code and settings", "made again by")
    return "\n\n".join(
        [
            "# Gallery",
            _MADE,
            "What the commands below made, as committed. Each folder holds the figures (PNG), the numbers drawn (CSV; "
            "compressed above a quarter of a megabyte, `pandas.read_csv` opens them as they are), the audit, and in "
            "`made.json` the digests of the code and of the settings. CIFAR-10 needs `RODFLOW_CIFAR10` to name a local "
            "archive, or a network to fetch it.",
            table(heads, rows),
            "*Current*: code and settings are the present ones. Otherwise the stages are named that have changed; "
            "*unknown* is older than `made.json`. Comments and docstrings do not count. Only current galleries are "
            "quoted in README and in `docs/results.md`.",
        ]
    ) + "\n"  # fmt: skip


CURRENT = "current"


def state(stages: Sequence[str]) -> str:
    """Whether a gallery is current, in the words of the index."""
    if not stages:
        return CURRENT
    return "unknown" if "unknown" in stages else f"changed since: {', '.join(stages)}"


def named_current(text: str) -> list[str]:
    """The galleries that an index says are current."""
    return re.findall(rf"^\| `([^`/]+)/` \| [^|]+ \| {CURRENT} \|", text, re.M)


def claims_by_paper(quoted: Sequence[Gallery], asking: Mapping[str, Sequence[str]]) -> str:
    """Every claim by paper, own targets last: what it was tested on, verdict and range, and the likeliest cause.

    Args:
        quoted: the galleries that are quoted.
        asking: figure -> the experiments that have it, by which claims of no gallery are to be tested.
    """
    papers = dict.fromkeys(claim.source for claim in CLAIMS if claim.listed == LISTS[0])
    blocks = [
        "# Claims by paper",
        _MADE,
        "Every claim that an audit judges. Verdicts and ranges are of the committed audits whose code is the "
        "present one. A claim of which there is none names the experiments that test it. Of one that is not "
        "reproduced the last column has the likeliest cause: size, seed, another setting, the paper or our own "
        "target, or unknown; and the run that tells.",
    ]
    heads = ("claim", "our wording", "place", "tested on", "verdict and range", "likeliest cause")
    for source in (*papers, TARGET):
        claims = [one for one in CLAIMS if one.source == source]
        own = source == TARGET
        shown = [head for head in heads if not (own and head == "place")]
        cells: list[tuple[str, ...]] = []
        tested = 0
        for one in claims:
            found = _tested(one, quoted, asking)
            tested += found.verdict != ""
            place = () if own else (escaped(one.place),)
            cells.append((f"`{one.id}`", escaped(one.statement), *place, *found))
        title = "Own targets" if own else source
        counted = f"{len(claims)} claims, {tested} with a current verdict."
        blocks += [f"## {title}", counted, table(shown, cells)]
    return "\n\n".join(blocks) + "\n"


class _Tested(NamedTuple):
    """What a claim was tested on, with which result, and why that is not the one claimed; each of several lines."""

    where: str
    verdict: str = ""
    cause: str = ""


def _tested(
    claim: Claim, quoted: Sequence[Gallery], asking: Mapping[str, Sequence[str]]
) -> _Tested:
    """The galleries that say something about a claim; else which experiments would."""
    rows = [
        (
            f"`{gallery.name}`",
            f"{_verdict(entry)}: {escaped(entry['found'])}",
            escaped(str(cause(claim.id, gallery.name)))
            if entry["verdict"] == "not reproduced"
            else "",
        )
        for gallery in quoted
        for entry in gallery.claims
        if entry["id"] == claim.id and entry["verdict"] != "not reached"
    ]
    if rows:
        where, verdicts, causes = zip(*rows, strict=True)
        return _Tested(*map("<br>".join, (where, verdicts, filter(None, causes))))
    others = ", ".join(f"`{name}`" for name in asking.get(claim.figure, ()))
    return _Tested(f"not yet; by {others}" if others else "nothing yet")


def cause(claim: str, experiment: str) -> Cause:
    """The likeliest cause that an experiment does not reproduce a claim.

    Args:
        claim, experiment: the id of the one, and the name of the other.
    """
    return CAUSES.get(claim, {}).get(experiment, UNKNOWN)


def brief(statement: str) -> str:
    """The first thought of a statement."""
    return escaped(re.split(r"(?<=\w)[:.](?: |$)", statement, maxsplit=1)[0])


def _named(entry: Entry) -> str:
    return f"`{entry['id']}`: {brief(entry['statement'])}"


def paper(entry: Entry) -> str:
    """Paper and place of a claim."""
    return escaped(f"{entry['source']}, {entry['place']}")


def _measured(entry: Entry) -> str:
    """The range of what was measured, and of how many runs."""
    if entry["overall"]:
        return escaped(f"{entry['range']} ({entry['findings'][0]['subject']})")
    measured = [one for one in entry["findings"] if one["verdict"] not in SILENT]
    agreeing = sum(one["verdict"] == "reproduced" for one in measured)
    aside = sum(one["verdict"] == "not at the edge" for one in entry["findings"])
    words = f"{entry['range']}; {agreeing} of {len(measured)} runs {entry['allowed']}"
    return escaped(f"{words}; {aside} not at the edge" if aside else words)


def _baselines(entry: Entry) -> str:
    return ", ".join(f"{flow} {found}" for flow, found in entry["baselines"].items())


def _verdict(entry: Entry) -> str:
    passing = entry["does_not_discriminate"]
    return f"{entry['verdict']}; does not discriminate" if passing else str(entry["verdict"])


def _counts(gallery: Gallery) -> str:
    parts = []
    for listed, name in zip(LISTS, ("claims of papers", "own targets"), strict=True):
        counts = gallery.summary["claims"][listed]
        own = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS[:2])
        parts.append(f"{name}: {own}")
    return f"{gallery.name}, {'; '.join(parts)}."
