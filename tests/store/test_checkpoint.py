"""Checkpoints: rows go to the disk when they are many or it is time, and a save is whole or of no use."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from rodflow.store import checkpoint
from rodflow.store.checkpoint import Checkpoint, CheckpointError, Scratch
from rodflow.store.owned import remove

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def scratch(tmp_path):
    """A function that gives the folder to a new process of the run, so to speak; and what it was told."""
    held: list[Scratch] = []

    def new(key: str = "key", **options) -> Scratch:
        for earlier in held:
            earlier.release()
        told: list[str] = []
        one = Scratch(
            tmp_path / "scratch", lambda: key, tell=lambda line, _: told.append(line), **options
        )
        one.told = told
        held.append(one)
        return one

    return new


def saved(scratch: Scratch) -> Scratch:
    """A folder with a save after two of three rows."""
    run = Checkpoint(scratch, "run")
    run.append("weights", ROWS[:2])
    run.append("loss", np.arange(2.0))
    run.save([np.float32(0.1), np.array([np.nan, -0.0])], step=7)
    run.append("weights", ROWS[2:3])
    run.column("weights")
    return scratch


def test_a_short_run_never_touches_the_disk(scratch):
    run = Checkpoint(one := scratch(), "run")
    for row in ROWS:
        run.append("weights", row[None])
        assert not run.due
    np.testing.assert_array_equal(run.column("weights"), ROWS)
    assert not one.folder.exists()
    assert run.resume() is None


def test_a_save_is_due_after_the_pause_and_the_next_one_after_another(scratch, monkeypatch):
    now = 100.0
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)
    one = scratch(pause=5)
    run = Checkpoint(one, "run")
    now += 4.9
    assert not run.due
    now += 0.2
    assert run.due
    run.save([])
    assert not run.due
    now += 5.1
    assert run.due
    one.saved(took=1)  # a slow disk has longer pauses
    now += 19
    assert not run.due
    now += 2
    assert run.due


def test_more_rows_than_there_is_room_for_go_to_the_disk(scratch, monkeypatch):
    monkeypatch.setattr(checkpoint, "ROOM", ROWS[0].nbytes * 2)
    run = Checkpoint(one := scratch(), "run")
    for row in ROWS:
        run.append("weights", row[None])
    assert (one.folder / "run/weights").stat().st_size == ROWS[:3].nbytes
    found = run.column("weights")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, ROWS)
    # Killed now there is no save to continue from.
    assert Checkpoint(again := scratch(), "run").resume() is None
    assert again.told == []
    assert not (one.folder / "run").exists()


def test_state_and_rows_are_those_of_the_save_to_the_last_bit(scratch):
    saved(scratch())
    run = Checkpoint(scratch(), "run")
    state, note = run.resume()
    assert note == {"step": 7}
    assert [values.tobytes() for values in state] == [
        np.float32(0.1).tobytes(),
        np.array([np.nan, -0.0]).tobytes(),
    ]
    assert run.names == ["weights", "loss"]
    run.append("weights", ROWS[2:])
    np.testing.assert_array_equal(run.column("weights"), ROWS)
    np.testing.assert_array_equal(run.column("loss"), [0, 1])


def test_time_spent_before_is_told(scratch):
    saved(scratch())
    spent = []
    run = Checkpoint(one := scratch(), "run")
    one.tell = lambda line, seconds: spent.append(seconds)
    run.resume()
    run.tell("continues")
    assert 0 < spent[0] < 60


def test_what_is_of_another_run_is_discarded(scratch):
    folder = saved(scratch()).folder
    other = scratch("another key")
    assert Checkpoint(other, "run").resume() is None
    assert [path.name for path in folder.iterdir()] == ["key"]
    assert other.told == ["what a killed run left is of other settings or code: starts over"]


@pytest.mark.parametrize("name", ["weights", "loss", "state.npz"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_what_is_damaged_is_discarded(scratch, name, part):
    path = saved(scratch()).folder / "run" / name
    content = bytearray(path.read_bytes())
    if name == "weights":
        content = content[: ROWS[:2].nbytes]  # what came after the save does not count
    content[int(part * len(content))] ^= 1
    path.write_bytes(content)
    one = scratch()
    run = Checkpoint(one, "run")
    assert run.resume() is None
    assert one.told[0].startswith("what a killed run left is damaged (")
    run.append("weights", ROWS[:1])
    np.testing.assert_array_equal(run.column("weights"), ROWS[:1])


@pytest.mark.parametrize("name", ["weights", "loss", "state.npz"])
def test_what_is_cut_short_is_discarded(scratch, name):
    path = saved(scratch()).folder / "run" / name
    os.truncate(path, 10)
    one = scratch()
    assert Checkpoint(one, "run").resume() is None
    assert len(one.told) == 1


def test_one_process_at_a_time(scratch, tmp_path, monkeypatch):
    saved(scratch())
    monkeypatch.setattr(checkpoint, "PATIENCE", 0.1)
    with pytest.raises(
        CheckpointError, match=r"scratch: another process makes the same file; run one"
    ):
        Scratch(tmp_path / "scratch", lambda: "key")


def test_the_folder_is_gone_once_removed_and_columns_stay(scratch):
    one = saved(scratch())
    run = Checkpoint(one, "run")  # anew: what is there is not of this run
    run.append("weights", ROWS)
    run.save([])
    found = run.column("weights")
    one.remove()
    assert not one.folder.exists()
    np.testing.assert_array_equal(found, ROWS)


def test_a_full_disk_is_one_line_and_the_last_save_stays(tmp_path):
    code = """
import resource, signal, sys, numpy
from pathlib import Path
from rodflow.store.checkpoint import Checkpoint, CheckpointError, Scratch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = Checkpoint(Scratch(Path(sys.argv[1]), lambda: "key"), "run")
run.append("weights", numpy.ones(1000))
run.save([], step=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
run.append("weights", numpy.ones(1000))
try:
    run.save([], step=2)
except CheckpointError as error:
    print(error)
"""
    folder = tmp_path / "scratch"
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.stdout.startswith(f"{folder}: cannot be written: File too large; "), done.stderr
    run = Checkpoint(Scratch(folder, lambda: "key"), "run")
    assert run.resume()[1] == {"step": 1}
    np.testing.assert_array_equal(run.column("weights"), np.ones(1000))


def test_rows_of_another_type_or_shape_are_refused():
    run = Checkpoint()
    run.append("weights", ROWS)
    with pytest.raises(ValueError, match="column weights"):
        run.append("weights", ROWS.astype(np.float64))
    with pytest.raises(ValueError, match="column weights"):
        run.append("weights", ROWS[:, :2])
    with pytest.raises(CheckpointError, match="in memory"):
        run.save([])


def test_import_needs_no_jax():
    code = "import sys, json, rodflow.store.checkpoint; print(json.dumps('jax' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


# Whatever is in the folder


@pytest.fixture
def foreign(tmp_path):
    """A file and a folder of somebody else, which must stay as they are."""
    folder = tmp_path / "foreign"
    (folder / "inner").mkdir(parents=True)
    (folder / "file").write_bytes(b"theirs" * 100)
    yield folder
    assert (folder / "file").read_bytes() == b"theirs" * 100
    assert sorted(path.name for path in folder.iterdir()) == ["file", "inner"]


def starts_fresh(one: Scratch) -> None:
    """The run starts over, saves, and can be continued."""
    run = Checkpoint(one, "run")
    assert run.resume() is None
    run.append("weights", ROWS)
    run.save([np.ones(1)], step=1)
    one.release()
    state, note = Checkpoint(one, "run").resume()
    assert note == {"step": 1} and state[0] == 1
    np.testing.assert_array_equal(np.fromfile(one.folder / "run/weights", ROWS.dtype), ROWS.flat)


@pytest.mark.parametrize(
    "content",
    [b"\xe1" + b"0" * 63, b"", b"key\n", bytes(10**6)],
    ids=["damaged", "", "more", "long"],
)
def test_a_damaged_key_starts_fresh(scratch, content):
    one = saved(scratch())
    (one.folder / "key").write_bytes(content)
    starts_fresh(scratch())


def fifo(path, foreign):
    os.mkfifo(path)


def link_to_a_file(path, foreign):
    path.symlink_to(foreign / "file")


def second_name_of_a_file(path, foreign):
    path.hardlink_to(foreign / "file")


def link_to_a_folder(path, foreign):
    path.symlink_to(foreign)


def link_to_nothing(path, foreign):
    path.symlink_to(foreign / "absent")


def empty_file(path, foreign):
    path.touch()


def folder(path, foreign):
    path.mkdir()


THINGS = [fifo, link_to_a_file, second_name_of_a_file, link_to_a_folder, link_to_nothing, folder]


@pytest.mark.parametrize("name", ["key", "run", "run/weights", "run/state.npz", "run/state.tmp"])
@pytest.mark.parametrize("thing", [*THINGS, empty_file], ids=lambda one: one.__name__)
def test_whatever_stands_in_the_folder_is_removed_and_nothing_outside_is_opened(
    scratch, foreign, thing, name
):
    path = saved(scratch()).folder / name
    remove(path) if path.exists() else None
    thing(path, foreign)
    if (thing, name) == (folder, "run"):
        assert Checkpoint(scratch(), "run").resume() is None
    if name == "run/state.tmp":  # which is not looked at
        assert Checkpoint(scratch(), "run").resume()[1] == {"step": 7}
        run = Checkpoint(one := scratch(), "run")
        run.resume()
        run.save([], step=8)
        assert Checkpoint(one, "run").resume()[1] == {"step": 8}
    else:
        starts_fresh(scratch())


@pytest.mark.parametrize(
    "thing", [t for t in (*THINGS, empty_file) if t is not folder], ids=lambda one: one.__name__
)
def test_whatever_stands_in_place_of_the_folder_is_removed(scratch, foreign, thing, tmp_path):
    thing(tmp_path / "scratch", foreign)
    one = scratch()
    assert one.told == ["what stood where its scratch folder belongs is removed: starts over"]
    starts_fresh(one)


@pytest.mark.parametrize(
    "column",
    [
        ["../../foreign/file", "|u1", [], 6, 0],
        ["{foreign}/file", "|u1", [], 6, 0],
        ["weights", "|O", [], 1, 0],
        ["weights", "<f4", [-3], 2, 0],
        ["weights", "<f4", [3], 2**60, 0],
        ["state.npz", "|u1", [], 1, 0],
        ["weights"],
        "weights",
    ],
    ids=str,
)
def test_a_save_with_a_forged_column_is_discarded(scratch, foreign, column):
    path = saved(scratch()).folder / "run/state.npz"
    if column[0] == "{foreign}/file":
        column = [str(foreign / "file"), *column[1:]]
    header = {"columns": [column], "seconds": 0, "note": {}}
    np.savez(path, np.array(json.dumps(header)))
    starts_fresh(scratch())


def test_a_compressed_save_is_discarded_unread(scratch):
    path = saved(scratch()).folder / "run/state.npz"
    header = {"columns": [], "seconds": 0, "note": {}}
    np.savez_compressed(path, np.array(json.dumps(header)), np.zeros(10**6))
    one = scratch()
    assert Checkpoint(one, "run").resume() is None
    assert one.told == ["what a killed run left is damaged (state.npz is compressed): starts over"]
