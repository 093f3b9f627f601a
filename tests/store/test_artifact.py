"""Artifacts: what survives storage, what is recorded, and which damage is found and named."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from rodflow.store import artifact
from rodflow.store.files import ArtifactError, sha256
from rodflow.store.manifest import check_manifest, write_manifest
from stored import SETTINGS, Clock, edit, named, store, trajectory

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
    assert artifact.inputs(read) == {"dataset": {"path": "dataset.nc", "sha256": sha256(data)}}
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
    assert digest == sha256(tmp_path / "x.nc")


def test_any_tool_opens_the_file(tmp_path):
    path = store(tmp_path / "x.nc")
    with xr.open_dataset(path) as opened:
        assert opened.loss.equals(trajectory().loss)
        assert opened.attrs["kind"] == "trajectory"


def test_import_needs_neither_jax_nor_scipy():
    code = "import sys, rodflow.store.artifact; assert not {'jax', 'scipy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


# Digests and layout


def test_same_content_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "datetime", Clock)
    assert store(tmp_path / "a/x.nc").read_bytes() == store(tmp_path / "b/x.nc").read_bytes()


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
    write_manifest(tmp_path, accept=True)
    whole = path.read_bytes()
    draw = random.Random(0)
    for place in [*draw.sample(range(len(whole)), 60), *range(len(whole) - 73, len(whole), 8)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        for check in (artifact.read, artifact.verify):
            with pytest.raises(ArtifactError, match=r"x\.nc: "):
                check(path)
        assert named(check_manifest(tmp_path)).keys() == {"x.nc"}
    path.write_bytes(whole)
    artifact.verify(path)
    assert not check_manifest(tmp_path)


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


# Writing goes wrong


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


def test_missing_input_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"dataset\.nc: cannot be read"):
        store(tmp_path / "x.nc", inputs={"dataset": tmp_path / "dataset.nc"})


def test_settings_that_are_not_json_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match=r"x\.nc: settings: "):
        store(tmp_path / "x.nc", settings={"learning_rate": np.nan})


# Auditing a tree
