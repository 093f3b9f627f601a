"""Bytes of a dataset: chunks, blocks, full disks, and files that HDF5 would follow elsewhere."""

import hashlib
import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray as xr

from rodflow.store import artifact, netcdf
from rodflow.store.files import ArtifactError
from stored import store, trajectory


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


def test_full_disk_leaves_the_process_clean(tmp_path):
    """Wherever in the file it is full: in the variables, in what HDF5 writes at the end, in the seal."""
    code = """
import os, pathlib, resource, signal, sys, h5py, numpy, xarray
from rodflow.store import artifact, netcdf
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
    monkeypatch.setattr(netcdf, "CHUNK", 7 * 500 * 8)
    parts = [place for place, _ in netcdf.blocks(dataset.variables["whole"])]
    assert len(parts) == 3 * 6
    path = store(tmp_path / "x.nc", dataset)
    artifact.verify(path)
    monkeypatch.undo()
    artifact.verify(path)
    read = artifact.read(path)
    np.testing.assert_array_equal(read.whole, values)
    np.testing.assert_array_equal(read.one, values[1])


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


# Files that are valid HDF5 and no artifact


def seal(path):
    image = path.read_bytes()
    path.write_bytes(image + f"\nsha256:{hashlib.sha256(image).hexdigest()}\n".encode())


def in_another_file(file, folder):
    (folder / "secret").write_bytes(bytes(80))
    file.create_dataset("x", (10,), "f8", external=[(str(folder / "secret"), 0, 80)])


def a_link_to_another_file(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["y"] = np.arange(5)
    file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "/y")


def a_link_within(file, folder):
    file["x"] = h5py.SoftLink("/loss")


def parts_of_other_files(file, folder):
    layout = h5py.VirtualLayout((5,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "y", (5,))
    file.create_virtual_dataset("x", layout)


def never_written(file, folder):
    file.create_dataset("x", (10**12,), "f8", chunks=(10**6,), compression=1)


def a_group_in_itself(file, folder):
    file.create_group("x")["x"] = file["/"]


FORMS = {
    in_another_file: "keeps 'x' in another file",
    a_link_to_another_file: "holds the link 'x'",
    a_link_within: "holds the link 'x'",
    parts_of_other_files: "keeps 'x' in another file",
    never_written: "claims 80000000",
    a_group_in_itself: "holds 'x', which is no variable",
}


@pytest.mark.parametrize(("form", "words"), [*FORMS.items()])
def test_what_leads_out_of_a_file_or_was_never_written_is_refused(tmp_path, form, words):
    path = store(tmp_path / "x.nc")
    with h5py.File(path, "r+") as file:
        form(file, tmp_path)
    seal(path)
    for check in (artifact.read, artifact.verify):
        with pytest.raises(ArtifactError, match=rf"x\.nc: {words}"):
            check(path)


def test_numbers_that_compress_as_well_as_any_are_read(tmp_path):
    path = store(tmp_path / "x.nc", xr.Dataset({"x": ("i", np.zeros(10**7))}))
    assert path.stat().st_size < 10**7 * 8 / 200
    artifact.verify(path)


# A file system without locks


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory):
    """A library that answers every call of flock as NFS without its lock daemon does."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a compiler and Linux")
    folder = tmp_path_factory.mktemp("no_locks")
    source = folder / "flock.c"
    source.write_text("#include <errno.h>\nint flock(int f, int o) {errno = ENOLCK; return -1;}\n")
    library = folder / "flock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


CODE = """
import sys, xarray
from rodflow.store import artifact
artifact.write(xarray.Dataset({"x": ("i", [1, 2])}), sys.argv[1], kind="t")
artifact.verify(sys.argv[1])
"""


def test_files_are_written_and_read_where_there_are_no_locks(tmp_path, no_locks):
    environment = {k: v for k, v in os.environ.items() if k != netcdf.LOCKING}
    environment["LD_PRELOAD"] = str(no_locks)
    command = [sys.executable, "-c", CODE, tmp_path / "x.nc"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_who_insists_on_locks_where_there_are_none_is_told_so(tmp_path, no_locks):
    environment = os.environ | {"LD_PRELOAD": str(no_locks), netcdf.LOCKING: "TRUE"}
    command = [sys.executable, "-c", CODE, tmp_path / "x.nc"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"set {netcdf.LOCKING}=FALSE" in done.stderr.splitlines()[-1]
