"""The audit: what is intact passes, and every kind of damage is found and named."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

import h5netcdf
import numpy as np
import pytest
import xarray as xr
import yaml

from audited_results import rewrite, seal, write_results
from representatives import now
from rodflow.audit import curvature
from rodflow.audit.audit import AuditError, audit
from rodflow.audit.claims.claim import TARGET, Bound, Claim, Finding, Judgement, Measured
from rodflow.audit.markdown import as_markdown
from rodflow.audit.numbers import digits
from rodflow.audit.page import as_html
from rodflow.audit.recompute import recompute_table, relative_difference, sample
from rodflow.audit.report import Report, as_json
from rodflow.audit.words import found_words, rows
from rodflow.audit.writing import summary, write
from rodflow.config.experiment import Experiment
from rodflow.config.settings import resolve
from rodflow.store import artifact
from rodflow.store.files import sha256
from rodflow.store.manifest import MANIFEST, write_manifest
from rodflow.store.results import stored_runs

CONFIG = {
    "name": "toy",
    "dataset": {"name": "digits", "samples": 20},
    "models": {"mlp": {"kind": "mlp", "hidden": [2]}},
    "optimizers": {
        "gd": {"learning_rate": 0.1, "start": 20, "steps": 60},
        "rmsprop": {"learning_rate": 0.001, "start": 20, "steps": 60},
    },
    "flows": ["stable", "rod"],
    "figures": ["tracking", "tracking_summary"],
    "replicas": 2,
}
GD = "mlp/gd/seed0"
COMMAND = [sys.executable, "-m", "rodflow.cli", "audit"]
Attack = Callable[[Path], None]


# A small results tree: made-up weights, but the curvature of a real loss at these weights


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return resolve(CONFIG)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, experiment: Experiment) -> Path:
    return write_results(tmp_path_factory.mktemp("results") / "toy", experiment)


@pytest.fixture
def root(tree: Path, tmp_path: Path) -> Path:
    """A copy of the tree to be damaged."""
    return Path(shutil.copytree(tree, tmp_path / "results/toy"))


@pytest.fixture
def no_eigenvectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curvature, "check", lambda dataset, samples: iter(()))


# What is intact


@pytest.fixture(scope="module")
def report(tree: Path, experiment: Experiment) -> Report:
    return audit(tree, experiment)


def test_intact_tree_has_no_problem_and_all_its_numbers_come_out_again(report):
    assert (report.problems, report.consequences) == ((), ())
    assert report.intact == len(report.artifacts) == 1 + 2 * 8 + 2 * 4
    assert {one.artifact for one in report.recomputed} == {
        *(f"mlp/{name}/seed0/comparison.nc" for name in ("gd", "rmsprop")),
        *(
            f"mlp/{name}/seed0/sharpness/{process}.nc"
            for name in ("gd", "rmsprop")
            for process in ("discrete", "stable", "rod")
        ),
        "figures/tracking_mlp.csv",
        "figures/tracking_summary.csv",
    }
    for one in report.recomputed:
        assert one.numbers > 0 and one.difference <= one.allowed
        if not one.artifact.startswith("mlp/") or one.artifact.endswith("comparison.nc"):
            assert one.difference == 0


@pytest.mark.slow
def test_report_is_the_same_when_made_twice_and_elsewhere(report, root, experiment, tmp_path):
    write(audit(root, experiment), tmp_path / "audit.json")
    assert (tmp_path / "audit.json").read_text() == as_json(report)
    assert (tmp_path / "audit.md").read_text() == as_markdown(report)
    assert (tmp_path / "audit.html").read_text() == as_html(report)


def test_every_number_of_a_claim_names_files_whose_digest_is_in_the_report(report):
    content = json.loads(as_json(report))
    named = [path for c in content["claims"] for f in c["findings"] for path in f["artifacts"]]
    assert named
    assert set(named) <= content["artifacts"].keys()
    for one in content["claims"]:
        for finding in one["findings"]:
            assert bool(finding["artifacts"]) == (
                finding["verdict"] not in ("not reached", "not at the edge")
            )


def test_report_lists_every_claim_for_people(report):
    text = as_markdown(report)
    assert text.startswith("# Audit of toy\n")
    for judgement in report.judgements:
        assert f"### {judgement.claim.id}\n" in text and judgement.claim.id in summary(report)
    assert {j.verdict for j in report.judgements} >= {"not reproduced", "not reached"}


def test_claims_of_papers_and_own_targets_are_counted_apart(report):
    for listed, counts in json.loads(as_json(report))["summary"]["claims"].items():
        own = [j for j in report.judgements if j.claim.listed == listed]
        assert sum(counts.values()) == len(own) > 0
        assert counts["not reached"] == sum(j.verdict == "not reached" for j in own)


def test_every_claim_has_its_paper_wording_numbers_and_verdict_on_the_page(report):
    page = as_html(report)
    for judgement in report.judgements:
        start = page.index(f'<details id="{judgement.claim.id}">')
        part = page[start : page.index("</details>", start)]
        source = judgement.claim.source if judgement.claim.listed == "paper" else "own target"
        for words in (
            source,
            judgement.claim.statement,
            judgement.claim.quantity,
            judgement.verdict,
        ):
            assert escape(words) in part
        for finding in judgement.measured:
            assert digits(finding.measured) in part


def test_the_page_is_complete_in_itself(report):
    page = as_html(report)
    assert not re.findall(r"<script|<link|<img|@import|url\(|https?:|javascript:", page)
    assert "default-src 'none'" in page


def made_up(*findings: Finding) -> Judgement:
    claim = Claim("own", TARGET, "It is.", "size", lambda run: Measured(0.0), Bound(high=1))
    return Judgement(claim, findings)


def test_seeds_of_a_run_have_a_row_with_their_range():
    seeds = [
        Finding(f"mlp/adam/seed{seed}", "reproduced", value, low=value - 0.1, high=value + 0.1)
        for seed, value in ((1, 0.5), (2, 0.72), (3, 0.61))
    ]
    whole, *each = rows(made_up(*seeds, Finding("mlp/gd/seed1", "reproduced", 0.3)))
    assert (whole.subject, whole.measured, whole.spread) == (
        "mlp/adam, 3 seeds",
        "0.50 to 0.72",
        "0.40 to 0.82",
    )
    assert whole.verdict == "3 of 3 reproduced"
    assert [row.subject for row in each] == [
        *(f"mlp/adam/seed{k}" for k in (1, 2, 3)),
        "mlp/gd/seed1",
    ]


def test_a_verdict_says_which_baselines_agree_too():
    found = Finding(
        "mlp/gd/seed1", "reproduced", 0.3, baselines={"stable": 0.5}, passing=("stable",)
    )
    (row,) = rows(made_up(found))
    assert (row.baselines, row.verdict) == (
        "stable 0.50",
        "reproduced; does not discriminate: stable too",
    )
    assert found_words(made_up(found)) == "1 of 1 runs at most 1: 0.30 (stable 0.50)"


def test_runs_that_are_not_at_the_edge_are_counted_beside_the_others():
    aside = Finding("mlp/gd/seed1", "not at the edge", note="closed")
    there = Finding("mlp/adam/seed1", "not reproduced", 2.0)
    assert found_words(made_up(aside, there)) == (
        "0 of 1 runs at most 1: 2.0; 1 not at the edge; but mlp/adam/seed1 2.0"
    )


def test_a_number_at_its_bound_does_not_hide_the_verdict():
    found = [
        Finding("mlp/gd/seed1", "reproduced", 0.96, baselines={"stable": 1.004}),
        Finding("mlp/gd/seed2", "not reproduced", 1.02),
    ]
    judgement = made_up(*found)
    words = "1 of 2 runs at most 1: 0.96 to 1.02 (stable 1.004); but mlp/gd/seed2 1.02"
    assert found_words(judgement) == words
    whole, first, second = rows(judgement)
    assert (whole.measured, second.measured) == ("0.96 to 1.02", "1.02")
    assert first.baselines == "stable 1.004"
    (entry,) = json.loads(as_json(Report("made", {}, (), (judgement,), (), (), {})))["claims"]
    assert (entry["range"], entry["baselines"]) == ("0.96 to 1.02", {"stable": "1.004"})


def test_status_of_an_artifact_is_reported(root, experiment, no_eigenvectors):
    path = root / GD / "sharpness/rod.nc"
    rewrite(path, root, lambda data: data, status="not converged: residual 0.1")
    write_manifest(root, accept=True)
    assert audit(root, experiment).statuses == {
        f"{GD}/sharpness/rod.nc": "not converged: residual 0.1"
    }


# What is damaged


def set_value(name: str, value: float, **where) -> Callable[[xr.Dataset], xr.Dataset]:
    def change(data: xr.Dataset) -> xr.Dataset:
        data[name].loc[where] = value
        return data

    return change


def truncate(root: Path) -> None:
    path = root / GD / "rod.nc"
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_byte(root: Path) -> None:
    path = root / GD / "sharpness/stable.nc"
    image = bytearray(path.read_bytes())
    image[len(image) // 2] ^= 1
    path.write_bytes(image)


def swap(root: Path) -> None:
    one, two = root / GD / "stable.nc", root / GD / "rod.nc"
    images = one.read_bytes(), two.read_bytes()
    one.write_bytes(images[1])
    two.write_bytes(images[0])


def edit_an_attribute(root: Path) -> None:
    path = root / GD / "discrete.nc"
    with h5netcdf.File(path, "r+") as file:
        file.attrs["status"] = "diverged at step 9"
    seal(path)


def edit_a_comparison(root: Path) -> None:
    path = root / GD / "comparison.nc"
    with h5netcdf.File(path, "r+") as file:
        file["error_last"][:] = file["error_last"][:] / 2
    seal(path)


def forge_a_comparison(root: Path) -> None:
    rewrite(root / GD / "comparison.nc", root, set_value("error_last", 1e-9, process="rod"))
    write_manifest(root, accept=True)


def forge_a_data_set(root: Path) -> None:
    rewrite(root / "dataset.nc", root, lambda data: data.assign(image=-data["image"]))
    write_manifest(root, accept=True)


def edit_a_table(root: Path) -> None:
    path = root / "figures/tracking_summary.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[-2] = repr(float(cells[-2]) * (1 + 1e-9))
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")


def edit_the_manifest(root: Path) -> None:
    path = root / MANIFEST
    path.write_text(path.read_text().replace(sha256(root / GD / "rod.nc"), "0" * 64))


def leave_a_file(root: Path) -> None:
    (root / "mlp/adam/seed0").mkdir(parents=True)
    shutil.copy(root / "dataset.nc", root / "mlp/adam/seed0/rod.nc")


def delete(path: str) -> Attack:
    return lambda root: (root / path).unlink()


ATTACKS: dict[str, tuple[Attack, dict[str, str]]] = {
    "truncated": (truncate, {f"{GD}/rod.nc": "truncated"}),
    "byte flipped": (flip_a_byte, {f"{GD}/sharpness/stable.nc": "bytes differ from the SHA-256"}),
    "swapped": (swap, {f"{GD}/stable.nc": "was written as", f"{GD}/rod.nc": "was written as"}),
    "attribute edited": (edit_an_attribute, {f"{GD}/discrete.nc": "a global attribute differs"}),
    "number edited": (
        edit_a_comparison,
        {f"{GD}/comparison.nc": "a variable or coordinate differs"},
    ),
    "number forged": (
        forge_a_comparison,
        {f"{GD}/comparison.nc": "error_last[process=rod] is 1e-09, recomputed "},
    ),
    "data set forged": (
        forge_a_data_set,
        {f"{GD}/discrete.nc": "dataset.nc is not the file it was made from"},
    ),
    "deleted": (delete(f"{GD}/stable.nc"), {f"{GD}/stable.nc": "missing"}),
    "data set deleted": (delete("dataset.nc"), {"dataset.nc": "missing"}),
    "figure deleted": (delete("figures/tracking_mlp.png"), {"figures/tracking_mlp.png": "missing"}),
    "run deleted": (
        lambda root: shutil.rmtree(root / GD),
        {GD: "no file of this run: run `make reproduce`"},
    ),
    "table edited": (edit_a_table, {"figures/tracking_summary.csv": "line 2 is 'mlp,"}),
    "manifest edited": (edit_the_manifest, {f"{GD}/rod.nc": "differs from its SHA-256 in"}),
    "manifest deleted": (delete(MANIFEST), {MANIFEST: "missing"}),
    "left over": (leave_a_file, {"mlp/adam/seed0/rod.nc": "belongs to no run"}),
    "half written": (
        lambda root: (root / GD / ".rod.nc.1234.tmp").write_bytes(b"half"),
        {f"{GD}/.rod.nc.1234.tmp": "left by a killed run"},
    ),
}


@pytest.mark.parametrize(
    ("attack", "named"),
    now(ATTACKS.values(), *(ATTACKS[name] for name in ("truncated", "number forged", "left over"))),
    ids=ATTACKS,
)
def test_damage_is_named(root, experiment, no_eigenvectors, attack, named):
    attack(root)
    report = audit(root, experiment)
    found = {problem.path: problem.what for problem in report.problems}
    for path, what in named.items():
        assert what in found[path]
        assert f"| `{path}` | " in as_markdown(report)
    if attack is not forge_a_data_set:  # which every other file was made from
        assert found.keys() == named.keys()


def test_run_with_a_damaged_file_holds_no_claim(root, experiment, no_eigenvectors):
    forge_a_comparison(root)
    for judgement in audit(root, experiment).judgements:
        about = {finding.subject: finding for finding in judgement.findings}
        assert about[GD].verdict == "not reached"
        assert about[GD].note.startswith(f"{GD}/comparison.nc: error_last")


def test_run_made_from_another_data_set_holds_no_claim(root, experiment, no_eigenvectors):
    delete("dataset.nc")(root)
    report = audit(root, experiment)
    assert all(judgement.verdict == "not reached" for judgement in report.judgements)
    assert report.judgements[0].findings[0].note.startswith(f"{GD}/discrete.nc: input dataset: ")


def test_what_follows_from_damage_is_kept_apart(root, experiment, no_eigenvectors):
    truncate(root)
    report = audit(root, experiment)
    assert [problem.path for problem in report.problems] == [f"{GD}/rod.nc"]
    follows = {problem.path: problem.what for problem in report.consequences}
    assert follows[f"{GD}/sharpness/rod.nc"].startswith("input trajectory")
    assert follows["figures/tracking_mlp.csv"].startswith(f"not drawn again: {GD}/rod.nc: ")


def test_file_made_with_other_settings_is_named(root, no_eigenvectors):
    other = json.loads(json.dumps(CONFIG))
    other["optimizers"]["gd"]["learning_rate"] = 0.2
    report = audit(root, resolve(other))
    assert {problem.path.rsplit("/seed0/")[0] for problem in report.problems} == {"mlp/gd"}
    found = {problem.path: problem.what for problem in report.problems}
    assert found[f"{GD}/rod.nc"] == (
        "was made with optimizer.learning_rate 0.1, the config has 0.2: run `make reproduce`"
    )


def test_empty_folder_is_no_audit(tmp_path, experiment):
    with pytest.raises(AuditError, match="no results to audit; run `make reproduce` first"):
        audit(tmp_path, experiment)


# Eigenvectors

FORGERIES = {
    "eigenvalue": "eigenvalue[snapshot=60] is ",
    "eigenvector": "the norm of eigenvector[snapshot=60] is ",
    "residual": "residual[snapshot=60] is ",
    "raw_sharpness": "raw_sharpness[snapshot=60] is ",
    "sharpness_over_threshold": "sharpness_over_threshold[snapshot=60] is ",
}


@pytest.mark.parametrize("optimizer", ["gd", "rmsprop"])
def test_forged_curvature_is_named(tree, experiment, optimizer):
    """Each variable in turn, at a snapshot that is looked at, all else as it was."""
    run = experiment.run(f"mlp/{optimizer}/seed0")
    dataset = artifact.read(tree / "dataset.nc")
    stored = stored_runs(tree)[0 if optimizer == "gd" else 1]
    data = stored.trajectory("rod")
    samples = []
    for name in ("none", *FORGERIES):
        forged = stored.sharpness("rod").copy(deep=True)
        if name != "none":
            forged[name].loc[{"snapshot": 60}] = forged[name].sel(snapshot=60) * 0.9 + (
                0.001 if name == "residual" else 0
            )
        samples.append(sample(name, run.settings, forged, data))
    other = data.assign(weights=data["weights"] * 1.01)
    samples.append(sample("weights", run.settings, stored.sharpness("rod"), other))
    limit = stored.sharpness("rod").assign_attrs(threshold=3.0)
    samples.append(sample("threshold", run.settings, limit, data))
    faults = {one.artifact: one.fault for one in curvature.check(dataset, samples)}
    assert faults.pop("none") == ""
    assert faults.pop("weights").startswith(("eigenvalue[", "residual["))
    assert faults.pop("threshold").startswith("the attribute threshold is 3")
    # A forged eigenvalue no longer fits its ratio to the threshold either, which is seen first.
    assert faults.pop("eigenvalue").startswith("sharpness_over_threshold[snapshot=60] is ")
    for name, fault in faults.items():
        assert fault.startswith(FORGERIES[name])


def test_data_set_without_images_leaves_eigenvectors_unchecked(tree, experiment):
    run = stored_runs(tree)[0]
    one = sample("x", experiment.runs[0].settings, run.sharpness("rod"), run.trajectory("rod"))
    dataset = artifact.read(tree / "dataset.nc").drop_vars("image")
    fault = next(curvature.check(dataset, [one])).fault
    assert fault.startswith("cannot be checked: ")


def test_diverged_trajectory_without_snapshots_has_no_eigenvectors(experiment, tree):
    run = stored_runs(tree)[0]
    none = slice(0, 0)
    empty = sample(
        "x",
        experiment.runs[0].settings,
        run.sharpness("rod").isel(snapshot=none),
        run.trajectory("rod").isel(snapshot=none),
    )
    dataset = artifact.read(tree / "dataset.nc")
    assert [one.fault for one in curvature.check(dataset, [empty])] == [""]


# Comparing numbers


def test_relative_difference_knows_nan_and_infinity():
    stored = np.array([1.0, np.nan, 0.0, np.inf, np.nan, 2.0])
    fresh = np.array([1.0, np.nan, 0.0, 1.0, 1.0, 1.0])
    assert relative_difference(stored, fresh).tolist() == [0, 0, 0, np.inf, np.inf, 0.5]


@pytest.mark.parametrize(
    "stored", ["a,b\nx,2\n", "a,b\nx,1\nx,1\n", "a,b\n", "a,b\ny,1\n", "a,c\nx,1\n", ""]
)
def test_table_that_differs_is_named(stored):
    assert recompute_table("a,b\nx,1\n", "a,b\nx,1.0\n", "t").fault == ""
    assert recompute_table(stored, "a,b\nx,1\n", "t").fault.startswith("line ")


# The script


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(root: Path) -> Path:
    """A working folder with a config and its results."""
    folder = root.parents[1]
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


@pytest.mark.slow
def test_script_succeeds_though_claims_fail(folder):
    done = call(cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "toy: 25 of 25 artifacts intact" in done.stdout
    assert "  not reproduced  " in done.stdout
    assert (folder / "results/toy/audit.json").is_file()
    assert (folder / "results/toy/audit.md").is_file()
    assert (folder / "results/toy/audit.html").is_file()


@pytest.mark.slow
def test_processes_side_by_side_find_what_one_does(folder, report):
    call(cwd=folder)
    assert (folder / "results/toy/audit.json").read_text() == as_json(report)


@pytest.mark.slow
def test_script_names_a_truncated_file_and_fails(folder):
    truncate(folder / "results/toy")
    done = call("--config", "config.yaml", "--output", "found.json", cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith(f"results/toy/{GD}/rod.nc: has no seal at its end: truncated")
    assert len(done.stderr.splitlines()) == 2
    assert (folder / "found.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "results/toy: no results to audit; run `make reproduce` first"),
        pytest.param(
            ["--config", "none.yaml"],
            "none.yaml: No such file or directory",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["no results", "no config"],
)
def test_script_says_in_one_line_what_is_missing(tmp_path, arguments, message):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    done = call(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"error: {message}\n")
