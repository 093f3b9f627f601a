"""The pages that quote committed audits: what is on them, and that the repository's say what the audits have."""

import gzip
import json
from pathlib import Path

import pytest

from rodflow.audit.claims.claim import TARGET, Bound, Claim, Finding, Judgement, Measured
from rodflow.audit.committed import Gallery, GalleryUnreadable, galleries
from rodflow.audit.pages import (
    BEGIN,
    claims_by_paper,
    index,
    named_current,
    readme_table,
    results,
    with_table,
)
from rodflow.audit.report import Report, as_json
from rodflow.cli.commands.results import pages
from rodflow.config.settings import resolve
from rodflow.config.uses import of_experiment

REPOSITORY = Path(__file__).parents[2]


def claim(name: str, source: str = "Anyone 2030 (arXiv 3001.00001)") -> Claim:
    return Claim(
        name, source, f"It is {name}: so.", "size", lambda run: Measured(0.0), Bound(0.5, 1)
    )


def found(run: str, value: float, verdict: str = "reproduced", **more) -> Finding:
    return Finding(run, verdict, value, **more)


HELD = Judgement(
    claim("threshold-held-adaptive"),
    (
        found("mlp/rmsprop/seed1", 0.9, low=0.8, high=1.0),
        found("mlp/adam/seed1", 0.75, low=0.7, high=0.77),
        found("mlp/adam/seed2", 0.82, low=0.81, high=0.9),
        Finding("mlp/nadam/seed1", "not at the edge", note="closed"),
        Finding("mlp/gd/seed1", "not reached", note="is about adam"),
    ),
)
TRACKS = Judgement(
    claim("rod-ode-tracks"),
    (
        found(
            "mlp/adam/seed1",
            3.3,
            "not reproduced",
            baselines={"central": 0.6},
            passing=("central",),
        ),
        found("mlp/nadam/seed1", 0.7, baselines={"central": 0.8}, passing=("central",)),
    ),
)
OWN = Judgement(claim("own", TARGET), (found("mlp/gd/seed1", 2.0, "not reproduced"),))


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    """One with two claims of papers and a target."""
    report = Report("made", {"a": "0"}, (), (HELD, TRACKS, OWN), (), (), {})
    (tmp_path / "made").mkdir()
    (tmp_path / "made/audit.json").write_text(as_json(report))
    made = {"config": "config/made.yaml", "code": {"train": "1"}}
    (tmp_path / "made/made.json").write_text(json.dumps(made))
    (one,) = galleries(tmp_path)
    return one


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"| {start}")]


def test_each_run_has_a_row_with_its_range_over_seeds_and_adam_is_first(gallery: Gallery) -> None:
    text = results([gallery], ["made"])
    assert lines(text, "mlp/") == [
        "| mlp/adam | 0.75 to 0.82 | 0.70 to 0.90 | 3.3 |  |  |  |",
        "| mlp/rmsprop | 0.90 | 0.80 to 1.0 |  |  |  |  |",
        "| mlp/nadam | not at the edge |  | 0.70 |  |  |  |",
    ]


def test_claims_of_papers_and_own_targets_have_tables_of_their_own(gallery: Gallery) -> None:
    papers, targets = results([gallery], ["made"]).split("### Own targets")
    assert "threshold-held-adaptive" in papers and "`own`" not in papers
    assert lines(targets, "`own`") == [
        "| `own`: It is own | 0.5 to 1 | 2.0; 0 of 1 runs 0.5 to 1 |  | not reproduced |"
    ]


def test_what_did_not_reproduce_keeps_its_place(gallery: Gallery) -> None:
    _, failed = results([gallery], ["made"]).split("### Not reproduced")
    assert "`rod-ode-tracks` (paper): 1 of 2 runs 0.5 to 1: 0.70 to 3.3" in failed
    assert "`own` (own target)" in failed


def test_the_table_of_readme_has_claim_paper_range_baselines_and_verdict(gallery: Gallery) -> None:
    text = readme_table([gallery])
    assert lines(text, "It is rod-ode-tracks") == [
        "| It is rod-ode-tracks | Anyone 2030 (arXiv 3001.00001), our reading | made: 0.70 to 3.3; 1 of 2 runs 0.5 to "
        "1 | central 0.60 to 0.80 | not reproduced; does not discriminate |"
    ]
    assert "own targets: 0 reproduced, 1 not reproduced" in text


def test_readme_keeps_what_stands_around_its_table(gallery: Gallery) -> None:
    before = with_table(f"A\n{BEGIN}\nbefore\n<!-- rodflow results: end -->\nB\n", [gallery])
    assert before.startswith(f"A\n{BEGIN}\n| claim") and before.endswith(
        "<!-- rodflow results: end -->\nB\n"
    )
    assert "before" not in before and with_table(before, [gallery]) == before


def test_a_gallery_of_other_code_is_named_and_not_quoted(gallery: Gallery) -> None:
    text = results([gallery], [])
    assert "`made`" in text and "0.75" not in text
    assert readme_table([]).startswith("No committed gallery is of the present code")


def test_the_index_says_what_has_changed_since(gallery: Gallery) -> None:
    text = index([gallery], {"made": ["flow", "figure"]})
    assert "| `made/` | `config/made.yaml` | changed since: flow, figure |" in text
    assert named_current(text) == []
    assert named_current(index([gallery], {"made": []})) == ["made"]


def test_claims_by_paper_say_what_they_were_tested_on(tmp_path: Path) -> None:
    real = Judgement(claim("rod-ode-tracks"), (found("mlp/gd/seed1", 0.7),))
    (tmp_path / "made").mkdir()
    report = Report("made", {}, (), (real,), (), (), {})
    (tmp_path / "made/audit.json").write_text(as_json(report))
    there = list(galleries(tmp_path))
    for stages, words in (([], "made"), (["flow"], "made (of other code)")):
        text = claims_by_paper(there, {"made": stages})
        (line,) = lines(text, "`rod-ode-tracks`")
        assert line.endswith(f"| {words}: reproduced, 1 of 1 runs 0.5 to 1: 0.70 |")
    assert "| nothing yet |" in lines(text, "`central-tracks`")[0]
    assert text.index("## Cohen") < text.index("## Own targets")


def test_a_compressed_audit_is_read(gallery: Gallery) -> None:
    file = gallery.folder / "audit.json"
    (gallery.folder / "audit.json.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert [one["id"] for one in gallery.claims] == [
        "threshold-held-adaptive",
        "rod-ode-tracks",
        "own",
    ]


def test_a_gallery_that_cannot_be_read_is_named(gallery: Gallery) -> None:
    (gallery.folder / "made.json").write_text("[]")
    with pytest.raises(
        GalleryUnreadable, match=r"made\.json: is no JSON object; make the gallery again"
    ):
        list(galleries(gallery.folder.parent))
    with pytest.raises(GalleryUnreadable, match="no such folder"):
        list(galleries(gallery.folder / "none"))


# Which code a gallery is of

CONFIG = {
    "name": "small",
    "dataset": {"name": "digits", "samples": 60},
    "models": {"mlp": {"kind": "mlp", "hidden": [4]}},
    "optimizers": {"gd": {"learning_rate": 0.1, "start": 5, "steps": 40}},
    "flows": ["stable"],
    "figures": ["thresholds"],
}


def test_a_gallery_is_current_until_code_or_settings_change(tmp_path: Path) -> None:
    code = of_experiment(resolve(CONFIG))
    (tmp_path / "small.yaml").write_text(json.dumps(CONFIG))
    assert Gallery(tmp_path, "small.yaml", code).outdated(tmp_path) == []
    assert Gallery(tmp_path, "small.yaml", code | {"flow": "other"}).outdated(tmp_path) == ["flow"]
    other = CONFIG | {"optimizers": {"gd": {"learning_rate": 0.2, "start": 5, "steps": 40}}}
    (tmp_path / "small.yaml").write_text(json.dumps(other))
    assert Gallery(tmp_path, "small.yaml", code).outdated(tmp_path) == ["config"]


def test_an_experiment_depends_on_the_code_of_its_own_flows_and_optimizers() -> None:
    code = of_experiment(resolve(CONFIG))
    rod = of_experiment(resolve(CONFIG | {"flows": ["stable", "rod"]}))
    assert {stage for stage in code if code[stage] != rod[stage]} == {"flow"}
    given = {"learning_rate": 0.1, "b1": 0.9, "b2": 0.99, "start": 5, "steps": 40}
    adam = of_experiment(resolve(CONFIG | {"optimizers": {"adam": given}}))
    changed = {stage for stage in code if code[stage] != adam[stage]}
    assert changed >= {"train", "flow", "sharpness", "config"}
    assert not changed & {"dataset", "comparison", "figure", "audit"}


def test_a_gallery_older_than_its_digests_is_unknown(tmp_path: Path) -> None:
    assert Gallery(tmp_path, "", {}).outdated(tmp_path) == ["unknown"]


# The repository's own pages


def test_readme_and_results_say_what_the_committed_audits_have() -> None:
    """Of the galleries that the index calls current; whether they are is the next test's question."""
    committed = list(galleries(REPOSITORY / "docs/gallery"))
    names = named_current((REPOSITORY / "docs/gallery/README.md").read_text(encoding="utf-8"))
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert with_table(readme, [one for one in committed if one.name in names]) == readme
    assert results(committed, names) == (REPOSITORY / "docs/results.md").read_text(encoding="utf-8")


@pytest.mark.slow  # it fails after each change of code: `rodflow results` says so on the pages, `make gallery` mends it
def test_the_pages_are_of_the_present_code() -> None:
    for path, text in pages(REPOSITORY).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `rodflow results`"
