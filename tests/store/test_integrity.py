"""A results folder: damage, places and inputs."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rodflow.store.files import Problem
from rodflow.store.integrity import verify_tree
from stored import forge, named, store, trajectory, tree


def test_killed_write_leaves_no_file_and_the_next_cleans_up(tmp_path):
    code = """
import os, sys, time, xarray
from rodflow.store import artifact
os.fsync = lambda descriptor: time.sleep(60)
artifact.write(xarray.Dataset({"x": ("i", [1, 2])}), sys.argv[1], kind="trajectory")
"""
    path = tmp_path / "x.nc"
    process = subprocess.Popen([sys.executable, "-c", code, path])
    try:
        deadline = time.monotonic() + 30
        while not any(p.stat().st_size for p in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".x.nc.")
    assert "left by a killed run" in named(verify_tree(tmp_path))[left.name]
    store(path)
    assert list(tmp_path.iterdir()) == [path]
    assert not verify_tree(tmp_path)


def test_what_a_killed_run_would_continue_from_is_named(tmp_path):
    root = tree(tmp_path)
    (root / "gd/.rod.nc.partial/run").mkdir(parents=True)
    assert "left by a killed run" in named(verify_tree(root))["gd/.rod.nc.partial"]


def test_intact_tree_has_no_problems(tmp_path):
    root = tree(tmp_path)
    assert verify_tree(root) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "nowhere.nc").symlink_to(tmp_path / "gone")
    problems = named(verify_tree(tmp_path))
    assert all("cannot be read" in problems[name] for name in ("folder.nc", "nowhere.nc"))


def test_empty_tree_is_a_problem(tmp_path):
    assert "no artifact" in named(verify_tree(tmp_path))["."]


def test_damaged_file_and_what_depends_on_it_are_named(tmp_path):
    root = tree(tmp_path)
    os.truncate(root / "gd/rod.nc", 500)
    problems = named(verify_tree(root))
    assert problems.keys() == {"gd/rod.nc", "gd/comparison.nc"}
    assert "truncated" in problems["gd/rod.nc"]
    assert "input rod: gd/rod.nc" in problems["gd/comparison.nc"]


def test_rewritten_input_is_named(tmp_path):
    root = tree(tmp_path)
    store(root / "gd/rod.nc", trajectory() + 2, root=root, inputs={"dataset": root / "dataset.nc"})
    words = "input rod: gd/rod.nc is not the file it was made from"
    assert verify_tree(root) == [Problem("gd/comparison.nc", words, source="gd/rod.nc")]


def test_missing_input_of_a_tree_is_named(tmp_path):
    root = tree(tmp_path)
    (root / "dataset.nc").unlink()
    problems = named(verify_tree(root))
    assert problems.keys() == {"gd/discrete.nc", "gd/rod.nc"}
    assert "dataset.nc cannot be read: No such file" in problems["gd/rod.nc"]


def test_swapped_files_are_named(tmp_path):
    root = tree(tmp_path)
    first, second, spare = root / "gd/rod.nc", root / "gd/discrete.nc", root / "spare"
    first.rename(spare), second.rename(first), spare.rename(second)
    problems = named(verify_tree(root))
    assert problems["gd/rod.nc"] == "was written as gd/discrete.nc: moved or swapped"
    assert problems["gd/discrete.nc"] == "was written as gd/rod.nc: moved or swapped"


# What is no plain file of the folder


def fifo(path, outside):
    os.mkfifo(path)


def link_to_a_device(path, outside):
    path.symlink_to("/dev/zero")


def link_to_an_artifact(path, outside):
    path.symlink_to(outside / "gd/rod.nc")


def link_to_a_folder(path, outside):
    path.symlink_to(outside / "gd")


def huge_with_holes(path, outside):
    with path.open("wb") as file:
        file.truncate(2**40)


def huge_with_holes_and_a_seal(path, outside):
    with path.open("wb") as file:
        file.seek(2**40)
        file.write(f"\nsha256:{'0' * 64}\n".encode())


THINGS = {
    fifo: "it is no regular file",
    link_to_a_device: "it is a link",
    link_to_an_artifact: "it is a link",
    link_to_a_folder: "it is a link",
    huge_with_holes: "it has holes",
    huge_with_holes_and_a_seal: "it has holes",
}


@pytest.fixture
def outside(tmp_path):
    return tree(tmp_path / "outside")


@pytest.mark.parametrize(("thing", "words"), [*THINGS.items()])
def test_what_is_no_plain_file_is_named_and_not_read(tmp_path, outside, thing, words):
    root = tree(tmp_path / "root")
    thing(root / "x.nc", outside)
    assert words in named(verify_tree(root))["x.nc"]
    (root / "x.nc").unlink()
    (root / "gd/rod.nc").unlink()
    thing(root / "gd/rod.nc", outside)
    problems = named(verify_tree(root))
    assert problems.keys() == {"gd/rod.nc", "gd/comparison.nc"}
    assert words in problems["gd/rod.nc"] and words in problems["gd/comparison.nc"]


def test_a_folder_that_is_a_link_is_named_and_not_entered(tmp_path, outside):
    root = tree(tmp_path / "root")
    (root / "gd").rename(tmp_path / "gd")
    (root / "gd").symlink_to(tmp_path / "gd")
    assert named(verify_tree(root)) == {
        "gd": "is a link, and links are not followed: put there what it points to"
    }


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/dev/zero", "leads outside the folder"),
        ("../outside/dataset.nc", "leads outside the folder"),
        ("gd/../../outside/dataset.nc", "leads outside the folder"),
        ("", "leads outside the folder"),
        ("gd", "Is a directory"),
        ("fifo", "it is no regular file"),
        ("x" * 5000, "File name too long"),
        ("\ud800", "cannot be read"),
    ],
)
def test_an_input_that_is_no_plain_file_of_the_folder_is_named(tmp_path, outside, place, words):
    root = tree(tmp_path / "root")
    os.mkfifo(root / "fifo")
    recorded = json.dumps({"a": {"path": place, "sha256": "0"}})
    forge(root / "gd/rod.nc", inputs=recorded)
    assert words in named(verify_tree(root))["gd/rod.nc"]


FORGED = {
    "settings": ["nope", "[]", "[" * 200_000, "3", np.array([1, 2])],
    "inputs": ["nope", "[]", '{"a": 1}', '{"a": {"path": 1, "sha256": "0"}}', "[" * 200_000],
    "versions": ["nope", "[]", np.array([1.0])],
    "status": [np.array([1, 2])],
    "kind": [np.array([1])],
    "artifact": [np.array([1, 2])],
    "content_sha256": [np.array([1, 2])],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, marks=[pytest.mark.slow] * (place > 0))
        for name, values in FORGED.items()
        for place, value in enumerate(values)
    ],
)
def test_an_attribute_of_another_form_is_named(tmp_path, name, value):
    root = tree(tmp_path / "root")
    forge(root / "gd/comparison.nc", **{name: value})
    found = named(verify_tree(root))
    assert found.keys() == {"gd/comparison.nc"}
    assert f"the attribute {name} " in found["gd/comparison.nc"]


def test_a_place_of_a_file_cannot_move_the_cursor(tmp_path):
    root = tree(tmp_path / "root")
    forge(root / "gd/comparison.nc", artifact="x\n\x1b[2Kall intact\u202e")
    (problem,) = verify_tree(root)
    assert problem.what == r"was written as x\n\x1b[2Kall intact\u202e: moved or swapped"
