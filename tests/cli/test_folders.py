"""Locks and compiled programs are in folders that only the user can write to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rodflow.cli import devices, folders
from rodflow.cli.main import main


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_folder_that_is_made_is_private(tmp_path):
    assert folders.private(tmp_path / "a/b") == ""
    assert mode(tmp_path / "a/b") & 0o077 == 0


def test_a_folder_that_others_can_write_to_is_none(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o777)
    assert folders.private(tmp_path / "a") == "can be written by others"


def test_a_link_to_a_folder_is_none(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path)
    assert folders.private(tmp_path / "a") == "is no folder"


def test_a_folder_of_another_user_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    assert folders.private(tmp_path) == "belongs to another user"


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A folder for temporary files that every user can write to."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(folders.tempfile, "gettempdir", lambda: str(tmp_path))
    tmp_path.chmod(0o1777)
    return tmp_path


def test_a_planted_link_empties_no_file(shared):
    victim = shared / "victim"
    victim.write_text("precious")
    place = shared / f"rodflow-{os.getuid()}"
    place.mkdir(mode=0o700)
    (place / "core0").symlink_to(victim)
    assert devices._lock("core0") is None
    assert victim.read_text() == "precious"


def test_a_planted_folder_stops_no_job(shared):
    (shared / f"rodflow-{os.getuid()}").symlink_to(shared)
    assert folders.of_locks() is None
    before = os.sched_getaffinity(0)
    devices.take_a_core()
    assert os.sched_getaffinity(0) == before


def test_a_lock_is_had_by_one_process_at_a_time(shared):
    lock = devices._lock("core0")
    assert lock is not None
    code = "from rodflow.cli import devices; print(devices._lock('core0'))"
    own = {k: v for k, v in os.environ.items() if k != "XDG_RUNTIME_DIR"}
    own["TMPDIR"] = str(shared)
    ask = [sys.executable, "-c", code]
    assert subprocess.run(ask, env=own, capture_output=True, text=True).stdout == "None\n"
    os.close(lock)
    assert subprocess.run(ask, env=own, capture_output=True, text=True).stdout != "None\n"


def test_programs_are_kept_in_the_users_cache(tmp_path):
    found = {"XDG_CACHE_HOME": str(tmp_path)}
    assert folders.keep_programs(found) == ()
    place = Path(found["JAX_COMPILATION_CACHE_DIR"])
    assert place == tmp_path / "rodflow/jax"
    assert mode(place) & 0o077 == 0


def test_a_default_cache_that_others_can_write_to_is_not_used(tmp_path):
    (tmp_path / "rodflow").mkdir()
    (tmp_path / "rodflow").chmod(0o777)
    found = {"XDG_CACHE_HOME": str(tmp_path)}
    (line,) = folders.keep_programs(found)
    assert "can be written by others, so compiled programs are not kept" in line
    assert "JAX_COMPILATION_CACHE_DIR" not in found


def test_a_named_cache_that_others_can_write_to_is_used_with_a_warning(tmp_path):
    tmp_path.chmod(0o777)
    found = {"RODFLOW_CACHE": str(tmp_path)}
    (line,) = folders.keep_programs(found)
    assert "whoever writes there runs code as you" in line
    assert found["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "jax")


@pytest.mark.parametrize("variable", ["RODFLOW_CACHE", "XDG_CACHE_HOME", "HOME"])
def test_a_cache_that_cannot_be_made_is_one_line_and_no_end(variable, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    place = str(tmp_path / "file/cache")
    found = {variable: place}
    if variable == "HOME":
        monkeypatch.setenv("HOME", place)
    (line,) = folders.keep_programs(found)
    assert line.startswith("warning: ") and "XDG_CACHE_HOME" in line
    assert "JAX_COMPILATION_CACHE_DIR" not in found


@pytest.fixture(params=[("a", 1050), ("a" * 250, 20)], ids=["many", "long names"])
def nested(request, tmp_path):
    """A folder that holds others within each other, more than Python or the system takes."""
    name, depth = request.param
    before = os.getcwd()
    os.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir(name)
        os.chdir(name)
    os.symlink("/", "link.nc")
    os.chdir(before)
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path / name], check=True)


def test_folders_without_end_are_one_line(nested, capsys):
    """Of a call of the workflow and of a command."""
    assert main(["accept", str(nested)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error: there are folders that are nested too deeply to be read; delete them"


def test_an_error_of_another_kind_is_no_matter_of_folders():
    def endless():
        return endless()

    with pytest.raises(RecursionError) as ended:
        endless()
    assert folders.nested(ended.value) == ""
    assert folders.nested(FileNotFoundError(2, "no such file")) == ""
