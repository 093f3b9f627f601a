"""Two results folders: identical, within tolerances, or different, and what is said then."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from audited_results import rewrite
from rodflow.audit import agreement
from rodflow.audit.agreement import agree, as_text
from rodflow.figures.core.style import Drawing, save
from rodflow.store import artifact
from stored import forge
from synthetic_results import STEPS, toy, write_run

COMMAND = [sys.executable, "-m", "rodflow.cli", "compare"]
RUN = "mlp/gd/seed0"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with a run, its replicas, an artifact of no run and a figure."""
    root = tmp_path_factory.mktemp("results") / "one"
    images = xr.Dataset({"image": (("sample", "pixel"), np.ones((2, 3)))})
    artifact.write(images, root / "dataset.nc", kind="dataset", root=root)
    run = write_run(root, flows=("rod",), replays={})
    weights = run.trajectory("discrete")[["weights"]]
    replicas = xr.concat([weights * (1 + size) for size in (1e-3, 2e-3)], "replica")
    artifact.write(replicas, run.folder / "replicas.nc", kind="replicas", root=root)
    artifact.write(toy(), root / "toy.nc", kind="toy", root=root)
    table = pd.DataFrame({"figure": ["toy"], "number": [1.0]})
    save(Drawing(Figure(figsize=(1, 1)), table), root / "figures/toy")
    return root


@pytest.fixture
def two(one: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(one, tmp_path / "two"))


def scaled(root: Path, place: str, name: str, factor: float) -> None:
    """The same artifact with a variable that is a little larger."""

    def change(data):
        return data.assign({name: (data[name] * factor).astype(data[name].dtype)})

    rewrite(root / place, root, change)


def test_copies_are_the_same_to_the_last_bit(one, two):
    found = agree(one, two)
    assert found.holds and found.files == found.identical
    assert found.files.total() == len([*one.rglob("*.nc"), *one.glob("figures/*")])
    assert as_text(found).splitlines()[-1] == f"{one} and {two}: the same to the last bit"


def test_data_made_again_at_another_time_are_the_same(one, two):
    for path in two.rglob("*.nc"):
        rewrite(path, two, lambda data: data, wall_time=3.0)
    assert agree(one, two).files == agree(one, two).identical


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "name", "near", "far", "unit"),
    [
        ("rod.nc", "loss", 1.01, 1.1, "of its norm"),
        ("sharpness/rod.nc", "sharpness_over_threshold", 0.99, 0.9, "of its norm"),
        ("comparison.nc", "late_mean", 1.01, 1.1, "of its norm"),
        ("comparison.nc", "error_last", 2.0, 4.0, "as a factor"),
        ("comparison.nc", "onset", 0.0, 0.0, "of the length of the run"),
    ],
)
def test_number_may_differ_within_its_tolerance(one, two, place, name, near, far, unit):
    data = artifact.read(one / RUN / place)
    if name == "onset":
        near, far = (1 + share * STEPS / float(data[name].max()) for share in (0.04, 0.06))
    scaled(two, f"{RUN}/{place}", name, near)
    found = agree(one, two)
    assert found.holds, as_text(found)
    assert f"{one} and {two}: within the tolerances" in as_text(found)
    scaled(two, f"{RUN}/{place}", name, far / near)
    found = agree(one, two)
    assert not found.holds
    lines = as_text(found).splitlines()
    assert any(line.startswith(f"differs: {RUN}/{place}: {name} differs by") for line in lines)
    assert any(unit in line for line in lines)
    assert lines[-1] == f"{one} and {two}: different"


def test_weights_may_differ_by_a_few_times_what_the_replicas_do(one, two):
    run, replicas = (
        artifact.read(one / RUN / f"{name}.nc")["weights"] for name in ("discrete", "replicas")
    )
    apart = (replicas - run).isel(snapshot=-1)
    spread = np.linalg.norm(apart, axis=1).max() / np.linalg.norm(run.isel(snapshot=-1))
    expected = {
        "discrete": agreement.SPREADS * float(spread),
        "rod": agreement.SPREADS_OF_FLOWS * float(spread),
    }

    def moved(process: str, share: float) -> agreement.Difference:
        """What is found when its last weights are off by this share of their norm."""
        path = f"{RUN}/{process}.nc"

        def change(data):
            weights = data["weights"].copy()
            weights[-1] += share * weights[-1]
            return data.assign(weights=weights)

        rewrite(two / path, two, change)
        (difference,) = agree(one, two).differences["trajectory"]
        shutil.copy(one / path, two / path)
        assert difference.value == pytest.approx(share, rel=1e-3)
        return difference

    for process, allowed in expected.items():
        near = moved(process, 0.9 * allowed)
        assert near.holds and near.allowed == pytest.approx(allowed, rel=1e-3)
        assert not moved(process, 1.1 * allowed).holds


def test_without_replicas_weights_may_differ_by_a_fixed_share(two, tmp_path):
    (two / RUN / "replicas.nc").unlink()
    other = Path(shutil.copytree(two, tmp_path / "other"))
    scaled(other, f"{RUN}/rod.nc", "weights", 1.01)
    (difference,) = agree(two, other).differences["trajectory"]
    assert (difference.allowed, difference.holds) == (agreement.WITHOUT_REPLICAS, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / RUN / "rod.nc").unlink(), f"{RUN}/rod.nc: only in "),
        (lambda root: (root / "figures/toy.png").unlink(), "figures/toy.png: only in "),
        (
            lambda root: (root / "toy.nc").write_bytes(b"no artifact"),
            "toy.nc: has no seal at its end: truncated",
        ),
        (
            lambda root: rewrite(root / "toy.nc", root, lambda data: data, settings={"a": 1}),
            "toy.nc: made with a null and 1",
        ),
        (
            lambda root: rewrite(root / "toy.nc", root, lambda data: data, status="diverged at 3"),
            "toy.nc: completed in ",
        ),
        (
            lambda root: rewrite(root / "toy.nc", root, lambda data: data.isel(step=slice(9))),
            "toy.nc: centre has the shapes ",
        ),
        (
            lambda root: rewrite(root / "toy.nc", root, lambda data: data.drop_vars("iterate")),
            "toy.nc: the variable iterate is in one of them only",
        ),
        (
            lambda root: (root / "figures/toy.csv").write_text("figure,number\ntoys,1.0\n"),
            "figures/toy.csv: not the same rows",
        ),
    ],
)
def test_what_cannot_agree_is_named(one, two, change, words):
    change(two)
    found = agree(one, two)
    assert not found.holds
    assert len(found.faults) == 1 and words in found.faults[0]


def test_other_number_in_a_table_is_measured_and_other_picture_noted(one, two):
    (two / "figures/toy.csv").write_text("figure,number\ntoy,1.25\n")
    (two / "figures/toy.png").write_bytes(b"png")
    notes = agree(one, two).notes
    assert "figures/toy.csv: numbers differ by up to 0.2 of the norm of their column" in notes
    assert "figures/toy.png: not the same to the last byte" in notes


def test_other_verdict_is_named_with_its_number(two, tmp_path):
    first = Path(shutil.copytree(two, tmp_path / "first"))
    for root, numbers in ((first, (0.91, 1.0)), (two, (0.89, 1.01))):
        findings = [
            {
                "subject": f"run {k}",
                "verdict": "reproduced" if x > 0.9 else "not reproduced",
                "measured": x,
            }
            for k, x in enumerate(numbers)
        ]
        claim = {"id": "late_mean", "allowed": "0.9 to 1.1", "findings": findings}
        (root / "audit.json").write_text(json.dumps({"claims": [claim]}))
    fault = (
        "run 0: reproduced (0.91, 0.9 to 1.1 allowed) and not reproduced (0.89, 0.9 to 1.1 allowed)"
    )
    assert agree(first, two).faults == [f"claim late_mean: {fault}"]
    (first / "audit.json").write_text("[]")
    (fault,) = agree(first, two).faults
    assert fault.startswith(f"{first}/audit.json: is no audit: ")


# A folder that is somebody else's


def nested(data):
    return data.assign(centre=(("step", "a"), np.ones((data.sizes["step"], 2))))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: forge(root / "toy.nc", versions="[]"), "versions is no JSON object"),
        (lambda root: forge(root / "toy.nc", settings="nope"), "settings is no JSON"),
        (lambda root: forge(root / "toy.nc", status=np.array([1, 2])), "status is no text"),
        (lambda root: rewrite(root / "toy.nc", root, nested), "toy.nc: centre has the shapes"),
        (
            lambda root: (root / "figures/toy.csv").write_bytes(b"\xff\xfe\0"),
            "figures/toy.csv: cannot be compared: ",
        ),
        (
            lambda root: (root / "figures/toy.csv").write_bytes(b""),
            "figures/toy.csv: cannot be compared: ",
        ),
        (lambda root: replaced_by_a_fifo(root / "toy.nc"), "toy.nc: cannot be read: it is no regu"),
        (lambda root: replaced_by_a_fifo(root / "figures/toy.csv"), "toy.csv: cannot be read: it"),
        (lambda root: replaced_by_a_link(root / "toy.nc"), "toy.nc: cannot be read: it is a link"),
        (lambda root: replaced_by_a_link(root / "figures"), "figures: is a link"),
    ],
)
def test_what_cannot_be_compared_is_named(one, two, change, words):
    change(two)
    found = agree(one, two)
    assert not found.holds
    assert any(words in fault for fault in found.faults), found.faults


def replaced_by_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replaced_by_a_link(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.symlink_to("other")


@pytest.mark.parametrize(
    "content",
    [
        "[" * 200_000,
        '{"claims": 3}',
        '{"claims": [3]}',
        '{"claims": [{"id": {}, "findings": [{"subject": [], "verdict": "", "measured": {}}]}]}',
    ],
)
def test_a_report_that_is_none_is_named(one, two, content):
    (two / "audit.json").write_text(content)
    (fault,) = agree(one, two).faults
    assert fault.startswith(f"{two}/audit.json: is no audit: ")


def test_a_report_that_is_a_fifo_is_not_waited_for(one, two):
    os.mkfifo(two / "audit.json")
    assert agree(one, two).faults == [f"{two}/audit.json: is no audit: it is no regular file"]


def test_no_text_of_a_folder_is_more_than_text(one, two):
    forge(two / "toy.nc", status="done\x1b[2K\nall the same\u202e", device="\x1b]0;x\x07")
    text = as_text(agree(one, two))
    assert r"done\x1b[2K\nall the same\u202e in " in text
    assert all(line.isprintable() for line in text.splitlines())


def call(*folders: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_script_says_in_one_line_what_is_no_results_folder(one, tmp_path):
    gone, empty = call(one, tmp_path / "gone"), call(tmp_path, one)
    assert (gone.returncode, empty.returncode) == (1, 1)
    words = "no such folder; give the results folders of two runs"
    assert gone.stderr == f"error: {tmp_path / 'gone'}: {words}\n"
    assert empty.stderr == f"error: {tmp_path}: no results folder; it has no dataset.nc\n"


@pytest.mark.slow
def test_script_fails_where_the_folders_differ_and_writes_nothing(one, two):
    before = sorted(two.rglob("*"))
    assert call(one, two).returncode == 0
    (two / RUN / "rod.nc").unlink()
    done = call(one, two)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == f"{one} and {two}: different"
    assert sorted([*two.rglob("*"), two / RUN / "rod.nc"]) == before
