"""The manifest: what it lists, what it names, and what it does not launder."""

import shutil
import subprocess

import pytest

from rodflow.store import files, manifest
from rodflow.store.files import ArtifactError, Problem, sha256
from rodflow.store.integrity import verify_tree
from rodflow.store.manifest import (
    MANIFEST,
    NOTES,
    altered,
    check_manifest,
    digests,
    note_writes,
    strike,
    write_manifest,
)
from stored import forge, named, store, trajectory, tree


@pytest.fixture
def root(tmp_path):
    """A results folder with a figure and a manifest."""
    root = tree(tmp_path / "root")
    files.write_bytes(root / "figures/toy.csv", b"a,b\n1,2\n")
    write_manifest(root, accept=True)
    return root


@pytest.fixture
def job(monkeypatch):
    """A function in which this process is a job that writes to a results folder."""

    def run(root, write) -> None:
        monkeypatch.setattr(files, "before_placing", notes := [])
        monkeypatch.setattr(manifest, "before_placing", notes)
        note_writes(root)
        write()
        notes.clear()

    return run


def rewrite(root, value=2):
    inputs = {"dataset": root / "dataset.nc"}
    store(root / "gd/rod.nc", trajectory() + value, root=root, inputs=inputs)


# What it says


def test_it_lists_artifacts_and_figures_with_their_digests(root):
    listed = digests(root)
    assert listed.keys() == {
        *("dataset.nc", "gd/discrete.nc", "gd/rod.nc", "gd/comparison.nc", "figures/toy.csv")
    }
    assert listed["gd/rod.nc"] == sha256(root / "gd/rod.nc")


def test_logs_reports_and_scratch_are_not_listed(root):
    for place in ("logs/x.log", "audit.md", "gd/.rod.nc.partial/x.nc", ".written/x.nc"):
        files.write_bytes(root / place, b"x")
    files.write_bytes(root / "figures/.toy.csv.1.tmp", b"x")
    assert check_manifest(root) == []


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_it(root):
    command = ["sha256sum", "--check", "--strict", MANIFEST]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{place}: OK" for place in sorted(digests(root))]


def test_tree_may_move(root, tmp_path):
    root.rename(tmp_path / "b")
    assert verify_tree(tmp_path / "b") + check_manifest(tmp_path / "b") == []


def test_it_names_changed_deleted_and_added_files(root):
    assert check_manifest(root) == []
    rewrite(root)
    store(root / "gd/stable.nc", root=root)
    (root / "gd/comparison.nc").unlink()
    assert verify_tree(root) == []
    assert named(check_manifest(root)) == {
        "gd/rod.nc": "differs from its SHA-256 in the manifest",
        "gd/stable.nc": "not in the manifest",
        "gd/comparison.nc": "missing, though the manifest lists it",
    }


def test_an_edited_entry_names_the_file(root):
    path = root / MANIFEST
    digest = sha256(root / "gd/rod.nc")
    path.write_text(path.read_text().replace(digest, "0" * 64))
    assert named(check_manifest(root)) == {"gd/rod.nc": "differs from its SHA-256 in the manifest"}


LINE = "0" * 64 + "  "


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1 names no"),
        (b"[" * 200_000, "line 1 names no"),
        (b"{}", "line 1 names no"),
        (f"{LINE}x.nc\n\n".encode(), "line 2 names no"),
        (f"{LINE}x.nc\n{LINE}x.nc\n".encode(), "line 2 names a file twice"),
        (f"{LINE}/etc/passwd\n".encode(), "line 1 names no"),
        (f"{LINE}../x.nc\n".encode(), "line 1 names no"),
        (f"{LINE.upper()[:-3]}A  x.nc\n".encode(), "line 1 names no"),
        (f"{LINE[:-1]}*x.nc\n".encode(), "line 1 names no"),
        (b"\xed\xa0\x80", "cannot be read"),
        (b"\0", "line 1 names no"),
    ],
)
def test_what_is_no_manifest_is_named(root, content, words):
    (root / MANIFEST).write_bytes(content)
    (problem,) = check_manifest(root)
    assert problem.path == MANIFEST and words in problem.what
    assert problem in altered(root)


def test_missing_manifest_is_named(root):
    (root / MANIFEST).unlink()
    assert named(check_manifest(root)) == {MANIFEST: "missing"}


def test_a_manifest_that_is_a_link_is_not_followed(root):
    (root / MANIFEST).unlink()
    (root / MANIFEST).symlink_to("/dev/zero")
    assert "is a link" in named(check_manifest(root))[MANIFEST]


def test_a_name_that_no_list_can_hold_is_refused(root):
    files.write_bytes(root / "figures/a\nb.csv", b"")
    with pytest.raises(ArtifactError, match=r"a\\nb\.csv: has a name that no list can hold"):
        write_manifest(root, accept=True)


def test_what_was_deleted_on_purpose_is_struck_off_and_nothing_else(root):
    date = (root / MANIFEST).stat().st_mtime_ns
    (root / "figures/toy.csv").unlink()
    strike(root, ["figures/toy.csv", "gd/rod.nc", "absent.nc"])
    assert check_manifest(root) == [] and "gd/rod.nc" in (root / MANIFEST).read_text()
    assert (root / MANIFEST).stat().st_mtime_ns == date
    (root / MANIFEST).write_text("x")
    with pytest.raises(ArtifactError, match="is not a manifest"):
        strike(root, ["gd/rod.nc"])
    (root / MANIFEST).unlink()
    strike(root, ["gd/rod.nc"])


# What it does not launder


def test_a_folder_as_it_was_listed_is_not_altered(root):
    assert altered(root) == []
    write_manifest(root)


def test_what_jobs_wrote_is_listed_anew(root, job):
    job(root, lambda: rewrite(root))
    job(root, lambda: files.write_bytes(root / "figures/toy.csv", b"other\n"))
    assert altered(root) == []
    write_manifest(root)
    assert check_manifest(root) == []
    assert not (root / NOTES).exists()


def test_the_first_manifest_lists_what_jobs_wrote(tmp_path, job):
    job(tmp_path, lambda: tree(tmp_path))
    assert altered(tmp_path) == []
    write_manifest(tmp_path)


FORGED = "differs from the manifest, and no job wrote it"


def test_a_forged_file_is_named_and_not_listed(root):
    forge(root / "gd/rod.nc", status="forged")
    assert altered(root) == [Problem("gd/rod.nc", FORGED)]
    before = (root / MANIFEST).read_bytes()
    with pytest.raises(ArtifactError, match=rf"rod\.nc: {FORGED}; delete it and run again, or"):
        write_manifest(root)
    assert (root / MANIFEST).read_bytes() == before
    write_manifest(root, accept=True)
    assert altered(root) == []


def test_a_forged_file_is_named_though_jobs_wrote_others(root, job):
    forge(root / "gd/discrete.nc", status="forged")
    job(root, lambda: rewrite(root))
    assert altered(root) == [Problem("gd/discrete.nc", FORGED)]


def test_a_file_that_was_forged_after_a_job_wrote_it_is_named(root, job):
    job(root, lambda: rewrite(root))
    forge(root / "gd/rod.nc", status="forged")
    assert altered(root) == [Problem("gd/rod.nc", FORGED)]


def test_a_note_is_of_one_place_only(root, job):
    job(root, lambda: rewrite(root))
    shutil.copy(root / "gd/rod.nc", root / "gd/discrete.nc")
    assert altered(root) == [Problem("gd/discrete.nc", FORGED)]


@pytest.mark.parametrize("place", ["gd/stable.nc", "figures/new.csv"])
def test_an_added_file_is_named(root, place):
    shutil.copy(root / "gd/rod.nc", root / place)
    words = "is not in the manifest, and no job wrote it"
    assert altered(root) == [Problem(place, words)]


def test_without_its_manifest_nothing_in_a_folder_is_trusted(root):
    (root / MANIFEST).unlink()
    assert len(altered(root)) == len(digests(root))


def test_a_deleted_file_is_no_alteration(root):
    (root / "gd/rod.nc").unlink()
    assert altered(root) == []


def test_a_job_killed_before_its_file_is_in_place_leaves_the_earlier_one_trusted(
    root, job, monkeypatch
):
    def killed() -> None:
        monkeypatch.setattr(type(root), "replace", killed_at_once)
        with pytest.raises(KeyboardInterrupt):
            rewrite(root)

    real = type(root).replace

    def killed_at_once(self, target):
        if target.name == "rod.nc":
            raise KeyboardInterrupt
        return real(self, target)

    job(root, killed)
    assert (root / NOTES).exists()
    assert altered(root) == []


def test_a_link_in_the_folder_is_named_before_anything_is_made(root, tmp_path):
    (root / "gd").rename(tmp_path / "gd")
    (root / "gd").symlink_to(tmp_path / "gd")
    words = "is a link, and links are not followed: put there what it points to"
    assert altered(root) == [Problem("gd", words)]


def test_notes_are_not_written_through_a_link(root, job, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / NOTES).symlink_to(elsewhere)
    job(root, lambda: rewrite(root))
    assert not list(elsewhere.iterdir()) and (root / NOTES).is_dir()
