"""The pages that quote committed audits: what is on them, and that the repository's say what the audits have."""

import gzip
import json
from pathlib import Path

import pytest

from rodflow.audit import pages as written_pages
from rodflow.audit.causes import CAUSES
from rodflow.audit.claims.catalogue import CLAIMS
from rodflow.audit.claims.claim import TARGET, Bound, Claim, Finding, Judgement, Measured
from rodflow.audit.committed import Gallery, GalleryUnreadable, asking, galleries
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
        "| mlp/adam | 0.75 to 0.82 | 0.70 to 0.90 | 3.3 |",
        "| mlp/rmsprop | 0.90 | 0.80 to 1.0 |  |",
        "| mlp/nadam | not at the edge |  | 0.70 |",
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


def test_the_table_of_readme_has_claim_paper_range_baselines_and_verdict(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written_pages, "SHOWN", ("made",))
    text = readme_table([gallery])
    assert "| claim | paper | ours, made | baselines | verdict |" in text
    assert lines(text, "It is rod-ode-tracks") == [
        "| It is rod-ode-tracks | Anyone 2030 | 0.70 to 3.3; 1 of 2 runs 0.5 to "
        "1 | central 0.60 to 0.80 | not reproduced; does not discriminate |"
    ]


def test_of_other_experiments_readme_has_counts_and_what_did_not_reproduce(
    gallery: Gallery,
) -> None:
    text = readme_table([gallery])
    assert not lines(text, "It is rod-ode-tracks")
    counted = "Verdicts over all experiments that are *reproduced*: 1 of 2 on claims of papers, 0 of 1 on own targets."
    assert counted in text
    assert text.endswith("by likeliest cause (`docs/claims.md`): *unknown* `rod-ode-tracks`.")


def test_readme_keeps_what_stands_around_its_table(gallery: Gallery) -> None:
    before = with_table(f"A\n{BEGIN}\nbefore\n<!-- rodflow results: end -->\nB\n", [gallery])
    assert before.startswith(f"A\n{BEGIN}\nVerdicts over") and before.endswith(
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


def audited(place: Path, *judgements: Judgement, name: str = "digits") -> list[Gallery]:
    """A folder with the audit of one experiment."""
    (place / name).mkdir()
    (place / name / "audit.json").write_text(as_json(Report(name, {}, (), judgements, (), (), {})))
    return list(galleries(place))


def test_claims_by_paper_say_what_they_were_tested_on(tmp_path: Path) -> None:
    there = audited(tmp_path, Judgement(claim("rod-ode-tracks"), (found("mlp/gd/seed1", 0.7),)))
    text = claims_by_paper(there, {"aeos_rates": ["one", "two"]})
    (line,) = lines(text, "`rod-ode-tracks`")
    assert line.endswith("| `digits` | reproduced: 1 of 1 runs 0.5 to 1: 0.70 |  |")
    (other,) = lines(text, "`aeos-small-rates-sharper-adam`")
    assert other.endswith("| not yet; by `one`, `two` |  |  |")
    assert text.index("## Cohen") < text.index("## Own targets")


@pytest.mark.parametrize(
    ("name", "experiment", "words"),
    [
        ("rod-unit-step-tracks", "digits", "| setting (cnn/heavy_ball/seed1): at the rate"),
        ("rod-unit-step-tracks", "other", "| unknown: not looked into yet. |"),
        ("central-tracks", "digits", "| unknown: not looked into yet. |"),
    ],
)
def test_a_claim_that_is_not_reproduced_has_its_cause_there(
    tmp_path: Path, name: str, experiment: str, words: str
) -> None:
    failed = Judgement(claim(name), (found("mlp/gd/seed1", 0.2, "not reproduced"),))
    text = claims_by_paper(audited(tmp_path, failed, name=experiment), {})
    assert words in lines(text, f"`{name}`")[0]


def test_causes_are_of_claims_and_experiments_that_there_are() -> None:
    experiments = {name for names in asking(REPOSITORY).values() for name in names}
    assert CAUSES.keys() <= {claim.id for claim in CLAIMS}
    assert {name for causes in CAUSES.values() for name in causes} <= experiments


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


@pytest.mark.slow
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


def test_the_pages_say_what_the_committed_audits_have() -> None:
    """Of the galleries that the index calls current; whether they are is the next test's question."""
    committed = list(galleries(REPOSITORY / "docs/gallery"))
    names = named_current((REPOSITORY / "docs/gallery/README.md").read_text(encoding="utf-8"))
    current = [one for one in committed if one.name in names]
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert with_table(readme, current) == readme
    docs = REPOSITORY / "docs"
    assert results(committed, names) == (docs / "results.md").read_text(encoding="utf-8")
    by_paper = claims_by_paper(current, asking(REPOSITORY))
    assert by_paper == (docs / "claims.md").read_text(encoding="utf-8")


def test_causes_are_given_only_where_a_committed_audit_does_not_reproduce() -> None:
    """Of the galleries that the index calls current: a cause of what is reproduced now is out of date."""
    names = named_current((REPOSITORY / "docs/gallery/README.md").read_text(encoding="utf-8"))
    for gallery in galleries(REPOSITORY / "docs/gallery"):
        failed = {one["id"] for one in gallery.claims if one["verdict"] == "not reproduced"}
        caused = {claim for claim, causes in CAUSES.items() if gallery.name in causes}
        assert gallery.name not in names or caused <= failed


@pytest.mark.slow  # it fails after each change of code: `rodflow results` says so on the pages, `make gallery` mends it
def test_the_pages_are_of_the_present_code() -> None:
    for path, text in pages(REPOSITORY).items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `rodflow results`"


def test_readme_has_less_than_nine_hundred_words() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").split()) < 900
