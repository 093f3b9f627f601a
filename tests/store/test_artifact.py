"""Artifacts: what survives storage, what is recorded, and which damage is found and named."""

import errno
import hashlib
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray as xr

from rodflow.store import artifact
from rodflow.store.artifact import ArtifactError

SETTINGS = {"optimizer": {"name": "adam", "learning_rate": 0.005}, "seed": 0}


def trajectory(snapshots: int = 4, parameters: int = 500) -> xr.Dataset:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(snapshots, parameters)).astype(np.float32)
    return xr.Dataset(
        {
            "weights": (("snapshot", "parameter"), weights, {"long_name": "weights", "units": "1"}),
            "loss": ("step", rng.random(20), {"long_name": "training loss", "units": "1"}),
        },
        coords={"snapshot": 5 * np.arange(snapshots), "step": np.arange(20)},
        attrs={"process": "discrete"},
    )


def store(path: Path, dataset: xr.Dataset | None = None, **provenance) -> Path:
    provenance = {"kind": "trajectory", "settings": SETTINGS} | provenance
    artifact.write(trajectory() if dataset is None else dataset, path, **provenance)
    return path


def tree(root: Path) -> Path:
    """A results root: a data set, two trajectories of it, a comparison of the two."""
    options = {"root": root, "settings": SETTINGS}
    data = store(root / "dataset.nc", kind="dataset", **options)
    runs = {}
    for seed, name in enumerate(["discrete", "rod"]):
        dataset = trajectory() + seed
        runs[name] = store(root / f"gd/{name}.nc", dataset, inputs={"dataset": data}, **options)
    store(root / "gd/comparison.nc", kind="comparison", inputs=runs, **options)
    return root


def edit(path: Path, change, *, seal: bool = True) -> None:
    """Change a stored file as another program would, and seal it again unless told not to."""
    with h5netcdf.File(path, "r+") as file:
        change(file)
    if seal:
        image = path.read_bytes()
        path.write_bytes(image + f"\nsha256:{hashlib.sha256(image).hexdigest()}\n".encode())


def named(problems) -> dict[str, str]:
    return {problem.path: problem.what for problem in problems}


# What survives


def test_dataset_comes_back_as_it_was(tmp_path):
    dataset = trajectory()
    read = artifact.read(store(tmp_path / "run.nc", dataset), kind="trajectory")
    assert read.drop_attrs(deep=False).identical(dataset.drop_attrs(deep=False))
    assert read.attrs["process"] == "discrete"


@pytest.mark.parametrize(
    "values",
    [
        np.array([0x7FC00001, 0xFFC12345, 0x80000000, 1, 0x7F800000], "u4").view("f4"),
        np.array([np.nan, -np.nan, -0.0, 5e-324, np.inf]),
        np.array([-(2**63), 2**63 - 1]),
        np.array([0, 2**64 - 1], "u8"),
        np.arange(5, dtype="i1"),
        np.array(["digit", "η ≤ 2/λ", ""]),
        np.array([], "f4"),
        np.float32(np.nan),
        np.arange(6.0).reshape(2, 3).T,
    ],
    ids=[
        "f4 payloads",
        "f8",
        "i8",
        "u8",
        "i1",
        "text",
        "empty",
        "scalar",
        "transposed",
    ],
)
@pytest.mark.parametrize("coordinate", [False, True], ids=["variable", "coordinate"])
def test_values_keep_every_bit(tmp_path, values, coordinate):
    dims = [f"d{i}" for i in range(np.ndim(values))]
    dataset = xr.Dataset({"x": (dims, values)})
    path = store(tmp_path / "x.nc", dataset.set_coords("x") if coordinate else dataset)
    read = artifact.read(path)
    assert ("x" in read.coords) == coordinate
    assert read.x.shape == np.shape(values)
    if values.dtype.kind == "U":
        assert read.x.values.tolist() == values.tolist()
    else:
        assert read.x.dtype == values.dtype
        assert read.x.values.tobytes() == values.tobytes()
    artifact.verify(path)


def test_index_of_floats_keeps_its_type(tmp_path):
    time = np.linspace(0, 1, 7, dtype=np.float32)
    dataset = xr.Dataset({"loss": ("time", time**2)}, coords={"time": time})
    read = artifact.read(store(tmp_path / "x.nc", dataset))
    assert read.time.dtype == np.float32
    assert read.loss.sel(time=time[3]) == time[3] ** 2


def test_booleans_are_stored_as_int8(tmp_path):
    flags = np.array([True, False])
    dataset = xr.Dataset({"reached": ("run", flags)}, {"run": [3, 4], "held": ("run", flags)})
    dataset.attrs["diverged"] = False
    read = artifact.read(store(tmp_path / "x.nc", dataset))
    assert read.reached.dtype == read.coords["held"].dtype == read.attrs["diverged"].dtype == "int8"
    assert dataset.reached.dtype == bool


@pytest.mark.parametrize(
    "value",
    ["", "Größe ∇²L", "two\nlines", ["a", "β"], 3, -0.5, np.float32(0.1), np.nan, [1, 2], [0.5, 1]],
    ids=repr,
)
def test_attributes_come_back(tmp_path, value):
    dataset = trajectory().assign_attrs(note=value)
    dataset.loss.attrs["note"] = value
    read = artifact.read(path := store(tmp_path / "x.nc", dataset))
    np.testing.assert_array_equal(read.attrs["note"], value)
    np.testing.assert_array_equal(read.loss.attrs["note"], value)
    artifact.verify(path)


def test_attributes_that_xarray_would_decode_stay(tmp_path):
    attributes = {"units": "seconds", "scale_factor": 2.0, "missing_value": 0}
    dataset = xr.Dataset({"wall": ("run", np.arange(3), attributes)})
    read = artifact.read(store(tmp_path / "x.nc", dataset))
    assert read.wall.attrs == attributes
    assert read.wall.values.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("dataset", "word"),
    [
        (xr.Dataset({"z": ("x", np.ones(2, complex))}), "complex128"),
        (xr.Dataset({"z": ("x", np.ones(2, np.float16))}), "float16"),
        (xr.Dataset({"z": ("x", np.array(["2026-01-01"], "M8[s]"))}), "datetime64"),
        (xr.Dataset({"z": ("x", np.array([1, None], object))}), "z"),
        (xr.Dataset(attrs={"note": {"a": 1}}), "note"),
        (xr.Dataset(attrs={"note": None}), "note"),
        (xr.Dataset(attrs={"note": "a\0b"}), "NULL"),
        (xr.Dataset({"z": ("x", [1], {"note": [[1], [2]]})}), "z.note"),
    ],
    ids=["complex", "half", "date", "object", "dict", "none", "zero", "matrix"],
)
def test_what_netcdf_cannot_hold_is_refused(tmp_path, dataset, word):
    with pytest.raises(ArtifactError, match=rf"x\.nc: cannot be stored.*{word}"):
        store(tmp_path / "x.nc", dataset)
    assert not list(tmp_path.iterdir())


# What is recorded


def test_provenance_is_recorded(tmp_path):
    data = store(tmp_path / "dataset.nc", kind="dataset")
    path = store(
        tmp_path / "gd/rod.nc",
        inputs={"dataset": data},
        root=tmp_path,
        wall_time=1.5,
        status="diverged at step 7",
        device="cpu",
    )
    read = artifact.read(path)
    assert read.attrs["Conventions"] == "CF-1.11"
    assert read.attrs["artifact"] == "gd/rod.nc"
    assert read.attrs["status"] == "diverged at step 7"
    assert read.attrs["device"] == "cpu"
    assert read.attrs["wall_time_s"] == 1.5
    assert artifact.settings(read) == SETTINGS
    assert artifact.inputs(read) == {
        "dataset": {"path": "dataset.nc", "sha256": artifact.sha256(data)}
    }
    assert json.loads(read.attrs["versions"])["xarray"] == xr.__version__
    assert str(tmp_path) not in str(read.attrs)


def test_provenance_of_an_earlier_file_is_replaced(tmp_path):
    first = artifact.read(store(tmp_path / "a.nc", device="gpu", wall_time=1.0))
    second = artifact.read(store(tmp_path / "b.nc", first, kind="comparison"))
    assert second.attrs["kind"] == "comparison"
    assert "device" not in second.attrs
    assert "wall_time_s" not in second.attrs


def test_write_returns_the_digest_of_the_file(tmp_path):
    digest = artifact.write(trajectory(), tmp_path / "x.nc", kind="trajectory")
    assert digest == artifact.sha256(tmp_path / "x.nc")


def test_any_tool_opens_the_file(tmp_path):
    path = store(tmp_path / "x.nc")
    with xr.open_dataset(path) as opened:
        assert opened.loss.equals(trajectory().loss)
        assert opened.attrs["kind"] == "trajectory"


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


def test_import_needs_neither_jax_nor_scipy():
    code = "import sys, rodflow.store.artifact; assert not {'jax', 'scipy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# Digests and layout


def test_same_data_same_digest(tmp_path):
    dataset = trajectory()
    shuffled = dataset[["loss", "weights"]]
    first = artifact.read(store(tmp_path / "a.nc", dataset, wall_time=1.0))
    second = artifact.read(store(tmp_path / "b.nc", shuffled, wall_time=2.0))
    assert list(first) != list(second)
    assert first.attrs["data_sha256"] == second.attrs["data_sha256"]
    assert first.attrs["content_sha256"] != second.attrs["content_sha256"]


def test_digests_do_not_depend_on_compression(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "datetime", Clock)
    first = artifact.read(store(tmp_path / "a/x.nc"))
    monkeypatch.setattr(artifact, "_encoding", lambda variable: {"_FillValue": None})
    second = artifact.read(store(tmp_path / "b/x.nc"))
    assert first.weights.encoding["zlib"]
    assert not second.weights.encoding["zlib"]
    assert first.attrs["content_sha256"] == second.attrs["content_sha256"]


def test_same_content_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "datetime", Clock)
    assert store(tmp_path / "a/x.nc").read_bytes() == store(tmp_path / "b/x.nc").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign(loss=d.loss + 1e-16),
        lambda d: d.assign(loss=d.loss.astype(np.float32)),
        lambda d: d.assign(loss=d.loss.assign_attrs(units="bit")),
        lambda d: d.rename(loss="cost"),
        lambda d: d.rename(parameter="coordinate"),
        lambda d: d.set_coords("loss"),
        lambda d: d.assign_coords(step=d.step + 1),
        lambda d: d.transpose(),
    ],
    ids=["value", "type", "attribute", "name", "dimension", "role", "index", "order"],
)
def test_different_data_different_digest(tmp_path, change):
    first = artifact.read(store(tmp_path / "a.nc"))
    second = artifact.read(store(tmp_path / "b.nc", change(trajectory())))
    assert first.attrs["data_sha256"] != second.attrs["data_sha256"]


def test_reading_one_snapshot_does_not_read_the_file(tmp_path):
    path = store(tmp_path / "x.nc", trajectory(snapshots=50, parameters=20_000))
    with path.open("rb", buffering=0) as raw, (counted := Counted(raw)), h5py.File(counted) as file:
        assert file["weights"].chunks == (1, 20_000)
        counted.bytes = 0
        assert file["weights"][7].shape == (20_000,)
    assert counted.bytes < 2 * 20_000 * 4


def test_large_variables_without_snapshots_are_split(tmp_path):
    path = store(
        tmp_path / "x.nc", xr.Dataset({"images": (("sample", "pixel"), np.ones((3000, 512)))})
    )
    with h5py.File(path) as file:
        assert file["images"].chunks == (1024, 512)


# Damage


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"absent\.nc: .*No such file.*; run the stage"):
        artifact.read(tmp_path / "absent.nc")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_named(tmp_path, part):
    path = store(tmp_path / "x.nc")
    os.truncate(path, int(part * path.stat().st_size))
    for check in (artifact.read, artifact.verify):
        with pytest.raises(ArtifactError, match=r"x\.nc: .*truncated.*; delete it and run again"):
            check(path)


def test_a_flipped_byte_is_found_anywhere(tmp_path):
    path = store(tmp_path / "x.nc")
    artifact.write_manifest(tmp_path)
    whole = path.read_bytes()
    draw = random.Random(0)
    for place in [*draw.sample(range(len(whole)), 60), *range(len(whole) - 73, len(whole), 8)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        for check in (artifact.read, artifact.verify):
            with pytest.raises(ArtifactError, match=r"x\.nc: "):
                check(path)
        assert named(artifact.check_manifest(tmp_path)).keys() == {"x.nc"}
    path.write_bytes(whole)
    artifact.verify(path)
    assert not artifact.check_manifest(tmp_path)


def test_foreign_netcdf_is_refused(tmp_path):
    path = tmp_path / "x.nc"
    trajectory().to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ArtifactError, match="no artifact"):
        artifact.read(path)
    edit(path, lambda file: None)
    with pytest.raises(ArtifactError, match="lacks the attribute Conventions"):
        artifact.read(path)


def test_foreign_kind_is_refused(tmp_path):
    path = store(tmp_path / "x.nc", kind="sharpness")
    for check in (artifact.read, artifact.verify):
        with pytest.raises(ArtifactError, match=r"x\.nc: .*'sharpness', not 'trajectory'"):
            check(path, kind="trajectory")


def test_file_changed_by_another_program_is_named(tmp_path):
    path = store(tmp_path / "x.nc")
    edit(path, lambda file: file.attrs.update(status="edited"), seal=False)
    with pytest.raises(ArtifactError, match="changed by another program"):
        artifact.read(path)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda f: f.attrs.update(settings='{"seed":1}'), "settings differs from settings_sha256"),
        (lambda f: f.attrs.update(status="diverged"), "global attribute"),
        (lambda f: f.attrs.update(wall_time_s=0.1), "global attribute"),
        (lambda f: f.attrs.update(extra=1), "global attribute"),
        (lambda f: f.attrs.update(data_sha256="0"), "differs from data_sha256"),
        (lambda f: f.attrs.update(content_sha256="0"), "content_sha256"),
        (lambda f: f.attrs.pop("inputs"), "lacks the attribute inputs"),
        (lambda f: f["loss"].attrs.update(units="m"), "differs from data_sha256"),
        (lambda f: f["loss"].__setitem__(3, 0.0), "differs from data_sha256"),
        (lambda f: f["step"].__setitem__(3, 0), "differs from data_sha256"),
        (lambda f: f.create_variable("new", ("step",), "f4"), "differs from data_sha256"),
    ],
)
def test_edit_is_named_even_if_sealed_again(tmp_path, change, part):
    path = store(tmp_path / "x.nc", wall_time=1.0)
    edit(path, change)
    with pytest.raises(ArtifactError, match=rf"x\.nc: .*{part}"):
        artifact.verify(path)


def test_errors_are_one_line_and_cross_processes():
    error = ArtifactError("x.nc", "broken\n  twice")
    assert str(error) == "x.nc: broken twice; delete it and run again"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


# Writing goes wrong


def test_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    path = store(tmp_path / "x.nc")
    before = path.read_bytes()

    def interrupted(descriptor):
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store(path, trajectory() + 1)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


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
    assert "left by a killed run" in named(artifact.verify_tree(tmp_path))[left.name]
    store(path)
    assert list(tmp_path.iterdir()) == [path]
    assert not artifact.verify_tree(tmp_path)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "make its folder writable")],
)
def test_disk_that_refuses_is_one_line(tmp_path, monkeypatch, code, remedy):
    def refuse(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ArtifactError, match=rf"x\.nc: .*{os.strerror(code)}; {remedy}"):
        store(tmp_path / "x.nc")
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_the_process_clean(tmp_path):
    """Wherever in the file it is full: in the variables, in what HDF5 writes at the end, in the seal."""
    code = """
import os, pathlib, resource, signal, sys, h5py, numpy, xarray
from rodflow.store import artifact
path = pathlib.Path(sys.argv[1])
data = xarray.Dataset({"w": (("snapshot", "i"), numpy.random.rand(20, 9999)), "t": ("k", ["a"])})
artifact.write(data, path, kind="t")
size = path.stat().st_size
path.unlink()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room in (0, 10, 3000, 10_000, size // 2, size - 2000, size - 80, size - 1):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        artifact.write(data, path, kind="t")
    except artifact.ArtifactError as error:
        print(error)
    assert not os.listdir(path.parent)
    assert not h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
"""
    path = tmp_path / "x.nc"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    assert all(line.startswith(f"{path}: cannot be written: File too large") for line in lines)


def test_a_variable_that_is_mapped_from_a_file_is_stored_in_blocks(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((3, 40, 500))
    values.tofile(tmp_path / "column")
    mapped = np.memmap(tmp_path / "column", values.dtype, mode="r", shape=values.shape)
    dims = ("replica", "snapshot", "parameter")
    dataset = xr.Dataset({"whole": (dims, mapped), "one": (dims[1:], mapped[1])})
    monkeypatch.setattr(artifact, "_CHUNK", 7 * 500 * 8)
    parts = [place for place, _ in artifact._blocks(dataset.variables["whole"])]
    assert len(parts) == 3 * 6
    path = store(tmp_path / "x.nc", dataset)
    artifact.verify(path)
    monkeypatch.undo()
    artifact.verify(path)
    read = artifact.read(path)
    np.testing.assert_array_equal(read.whole, values)
    np.testing.assert_array_equal(read.one, values[1])


def test_lazily_opened_values_are_read_where_they_are_asked_for(tmp_path):
    path = store(tmp_path / "x.nc")
    with artifact.open_lazily(path, kind="trajectory") as opened:
        assert not opened.weights.variable._in_memory
        np.testing.assert_array_equal(opened.weights.sel(snapshot=5), trajectory().weights[1])
        assert not opened.weights.variable._in_memory
    with pytest.raises(ArtifactError, match="'trajectory', not 'sharpness'"):
        with artifact.open_lazily(path, kind="sharpness"):
            pass
    with pytest.raises(ValueError, match="of the caller"):
        with artifact.open_lazily(path):
            raise ValueError("of the caller")


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"x\.nc: cannot be written: Not a directory; move"):
        store(tmp_path / "file/gd/x.nc")


def test_two_writers_of_one_file_lose_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.nc"

    def overtaken(descriptor, sync=os.fsync):
        monkeypatch.setattr(os, "fsync", sync)
        store(path)

    monkeypatch.setattr(os, "fsync", overtaken)
    with pytest.raises(ArtifactError, match="another process"):
        store(path)
    artifact.verify(path)


def test_what_a_killed_run_would_continue_from_is_named(tmp_path):
    root = tree(tmp_path)
    (root / "gd/.rod.nc.partial/run").mkdir(parents=True)
    assert "left by a killed run" in named(artifact.verify_tree(root))["gd/.rod.nc.partial"]


def test_missing_input_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"dataset\.nc: cannot be read"):
        store(tmp_path / "x.nc", inputs={"dataset": tmp_path / "dataset.nc"})


def test_settings_that_are_not_json_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"x\.nc: settings: "):
        store(tmp_path / "x.nc", settings={"learning_rate": np.nan})


# Auditing a tree


def test_intact_tree_has_no_problems(tmp_path):
    root = tree(tmp_path)
    assert artifact.verify_tree(root) == []
    assert artifact.check_inputs(root / "gd/comparison.nc", root) == []


def test_tree_may_move(tmp_path):
    tree(tmp_path / "a")
    artifact.write_manifest(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert artifact.verify_tree(tmp_path / "b") + artifact.check_manifest(tmp_path / "b") == []


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "nowhere.nc").symlink_to(tmp_path / "gone")
    problems = named(artifact.verify_tree(tmp_path))
    assert all("cannot be read" in problems[name] for name in ("folder.nc", "nowhere.nc"))


def test_empty_tree_is_a_problem(tmp_path):
    assert "no artifact" in named(artifact.verify_tree(tmp_path))["."]


def test_damaged_file_and_what_depends_on_it_are_named(tmp_path):
    root = tree(tmp_path)
    os.truncate(root / "gd/rod.nc", 500)
    problems = named(artifact.verify_tree(root))
    assert problems.keys() == {"gd/rod.nc", "gd/comparison.nc"}
    assert "truncated" in problems["gd/rod.nc"]
    assert "input rod: gd/rod.nc" in problems["gd/comparison.nc"]


def test_rewritten_input_is_named(tmp_path):
    root = tree(tmp_path)
    store(root / "gd/rod.nc", trajectory() + 2, root=root, inputs={"dataset": root / "dataset.nc"})
    (line,) = artifact.check_inputs(root / "gd/comparison.nc", root)
    assert line == "input rod: gd/rod.nc is not the file it was made from"


def test_missing_input_of_a_tree_is_named(tmp_path):
    root = tree(tmp_path)
    (root / "dataset.nc").unlink()
    problems = named(artifact.verify_tree(root))
    assert problems.keys() == {"gd/discrete.nc", "gd/rod.nc"}
    assert "dataset.nc cannot be read: No such file" in problems["gd/rod.nc"]


def test_swapped_files_are_named(tmp_path):
    root = tree(tmp_path)
    first, second, spare = root / "gd/rod.nc", root / "gd/discrete.nc", root / "spare"
    first.rename(spare), second.rename(first), spare.rename(second)
    problems = named(artifact.verify_tree(root))
    assert problems["gd/rod.nc"] == "was written as gd/discrete.nc: moved or swapped"
    assert problems["gd/discrete.nc"] == "was written as gd/rod.nc: moved or swapped"


def test_manifest_describes_each_file(tmp_path):
    root = tree(tmp_path)
    listed = artifact.manifest(root)["artifacts"]
    assert listed.keys() == {"dataset.nc", "gd/discrete.nc", "gd/rod.nc", "gd/comparison.nc"}
    path = root / "gd/rod.nc"
    assert listed["gd/rod.nc"] == {
        "sha256": artifact.sha256(path),
        "bytes": path.stat().st_size,
        "kind": "trajectory",
        "status": "completed",
    }


def test_manifest_names_changed_deleted_and_added_files(tmp_path):
    root = tree(tmp_path)
    artifact.write_manifest(root)
    assert artifact.check_manifest(root) == []
    store(root / "gd/rod.nc", trajectory() + 2, root=root, inputs={"dataset": root / "dataset.nc"})
    store(root / "gd/stable.nc", root=root)
    (root / "gd/comparison.nc").unlink()
    assert artifact.verify_tree(root) == []
    assert named(artifact.check_manifest(root)) == {
        "gd/rod.nc": "differs from its SHA-256 in the manifest",
        "gd/stable.nc": "not in the manifest",
        "gd/comparison.nc": "missing, though the manifest lists it",
    }


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda text: text.replace('"completed"', '"diverged"', 1), "was edited"),
        (lambda text: text.replace('"manifest_sha256": "', '"manifest_sha256": "0'), "was edited"),
        (lambda text: text[:100], "is not a manifest"),
        (lambda text: "[]", "is not a manifest"),
        (lambda text: '{"artifacts": [], "manifest_sha256": ""}', "is not a manifest"),
        (lambda text: "", "is not a manifest"),
    ],
    ids=["entry", "digest", "truncated", "list", "lists", "empty"],
)
def test_edited_manifest_is_named(tmp_path, change, what):
    path = artifact.write_manifest(tree(tmp_path))
    path.write_text(change(path.read_text()))
    assert what in named(artifact.check_manifest(tmp_path))[artifact.MANIFEST]


def test_missing_manifest_is_named(tmp_path):
    assert named(artifact.check_manifest(tree(tmp_path))) == {artifact.MANIFEST: "missing"}


class Clock:
    """Stands in for datetime, and stands still."""

    @staticmethod
    def now(zone):
        return Clock

    @staticmethod
    def isoformat(timespec):
        return "2026-01-01T00:00:00+00:00"


class Counted:
    """A file that counts the bytes read from it."""

    def __init__(self, file):
        self.file, self.bytes = file, 0

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def readinto(self, buffer):
        count = self.file.readinto(buffer)
        self.bytes += count
        return count
