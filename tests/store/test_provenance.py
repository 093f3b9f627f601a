"""Provenance: which revision of the code made a file."""

import subprocess

from rodflow.store import artifact


def test_revision_of_the_code(tmp_path):
    def git(*arguments):
        name = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", tmp_path, *name, *arguments], check=True, capture_output=True)

    def revision(name):
        return artifact.code_revision.__wrapped__(tmp_path / name)

    (tmp_path / "tracked.py").write_text("1")
    (tmp_path / "installed.py").write_text("1")
    assert revision("tracked.py") == "unknown"
    git("init")
    git("add", "tracked.py")
    assert revision("tracked.py") == "unknown"
    git("commit", "-m", "first")
    assert len(clean := revision("tracked.py")) == 40
    (tmp_path / "tracked.py").write_text("2")
    assert revision("tracked.py") == f"{clean}-dirty"
    assert revision("installed.py") == "unknown"
