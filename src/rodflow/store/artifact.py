"""NetCDF files that are complete or absent, say where they come from, and show when they change.

An artifact is an xarray dataset stored by :func:`write`. Its global attributes record what it is,
the settings and inputs that it was made from, and what made it; ``settings``, ``inputs`` and
``versions`` are JSON. Three digests protect it, each answering its own question:

``data_sha256``
    variables and coordinates: name, dimensions, type, values, attributes. Two runs of the same
    settings on one machine agree in it, because nothing in it depends on the clock.
``content_sha256``
    the data and every other global attribute, the volatile ones (``date_created``,
    ``wall_time_s``) included. Like ``data_sha256`` it does not depend on compression, chunks or the
    order of variables.
the seal
    the SHA-256 of all bytes of the file before it, in its last 73 bytes, which HDF5 leaves
    alone. It is compared before HDF5 sees the file, since one flipped byte in a place that
    HDF5 does not protect itself (a heap of strings) can send the HDF5 library into an endless loop.

Any tool opens the files (``xarray.open_dataset``, ``ncdump``). This module reads and audits them:

    artifact.write(dataset, root / "gd/discrete.nc", kind="trajectory", root=root,
                   settings=run.settings, inputs={"dataset": root / "dataset.nc"})
    dataset = artifact.read(root / "gd/discrete.nc", kind="trajectory")
    problems = artifact.verify_tree(root) + artifact.check_manifest(root)

The module imports no JAX, so that the audit starts fast.
"""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import io
import itertools
import json
import math
import os
import platform
import secrets
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import h5netcdf
import netCDF4
import numpy as np
import xarray as xr

from rodflow.errors import RodflowError
from rodflow.store.checkpoint import let_go

StrPath = str | os.PathLike[str]

MANIFEST = "manifest.json"
"""Name of the manifest in the results root."""

_PACKAGES = (
    "rodflow jax jaxlib flax optax diffrax equinox numpy xarray h5netcdf h5py netcdf4".split()
)
_REQUIRED = (
    "Conventions kind artifact status settings settings_sha256 inputs versions code_revision "
    "date_created data_sha256 content_sha256"
).split()
_OPTIONAL = ["device", "wall_time_s"]
_SEAL = "\nsha256:{}\n"
_SEAL_SIZE = len(_SEAL.format("0" * 64))
_CHUNK = 4 * 2**20  # bytes of a chunk, before compression
_RERUN = "delete it and run again"
_WRITE_REMEDIES = {
    errno.ENOSPC: "free some space and run again",
    errno.EDQUOT: "free some of the quota and run again",
    errno.ENOTDIR: "move the file that stands where a folder is needed",
    errno.EEXIST: "move the file that stands where a folder is needed",
    errno.EISDIR: "move the folder that has its name",
    errno.ENOENT: "another process wrote the same file: run one at a time",
}


# Files are read by whole chunks, once: a cache for those of each variable would hold up to the whole file.
netCDF4.set_chunk_cache(size=2**20)


class ArtifactError(RodflowError, RuntimeError):
    """A file that cannot be written, read or trusted: one line with the file and a remedy."""

    def __init__(self, path: StrPath, what: str, remedy: str = _RERUN) -> None:
        super().__init__(os.fspath(path), " ".join(what.split()), remedy)

    @property
    def what(self) -> str:
        """What is wrong, without the file and the remedy."""
        return self.args[1]

    def __str__(self) -> str:
        path, what, remedy = self.args
        return f"{path}: {what}; {remedy}"


@dataclass(frozen=True)
class Problem:
    """A finding of an audit.

    Attributes:
        path: the file, relative to the results root.
        what: what is wrong with it.
    """

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


# Writing


def write(
    dataset: xr.Dataset,
    path: StrPath,
    *,
    kind: str,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, StrPath] | None = None,
    root: StrPath | None = None,
    wall_time: float | None = None,
    status: str = "completed",
    device: str | None = None,
) -> str:
    """Store a dataset with its provenance; the file appears complete or not at all.

    Numbers keep every bit, NaN payloads included; booleans are stored as int8. Variables with a
    dimension ``snapshot`` have one chunk a snapshot, so that reading one does not read the file.
    What is stored is read back and compared before it takes the file's name.

    Variables are written, read and digested a few megabytes at a time: one that is mapped from a
    file, such as a column of a :class:`rodflow.store.checkpoint.Checkpoint`, is never in memory as a whole.
    What the disk refuses is kept from the HDF5 library, which would be left with an open file that
    it can neither write nor close, and is raised as an ordinary error afterwards.

    Args:
        dataset: integers, floats (32 or 64 bits), booleans or text; attributes likewise.
        path: the file; missing folders are made, an existing file is replaced.
        kind: what the file holds: "dataset", "trajectory", "sharpness", "comparison", ...
        settings: everything that determines the content, as JSON values.
        inputs: the files that it was made from, by name.
        root: the results root. The file's own path and those of its inputs are recorded relative
            to it; without it, relative to the file's folder.
        wall_time: what making it took, in seconds.
        status: "completed" or "diverged at step n".
        device: what it was computed on.

    Returns:
        The SHA-256 of the file, in hexadecimal.

    Raises:
        ArtifactError: the file cannot be written, an input cannot be read, or the dataset holds
            something that NetCDF cannot store without changing it.
    """
    path = Path(path)
    root = path.parent if root is None else root
    try:
        settings_text = _canonical({} if settings is None else settings)
    except (TypeError, ValueError) as error:
        raise ArtifactError(path, f"settings: {error}", "pass plain finite JSON values") from None
    sources = {
        name: {"path": _relative(source, root), "sha256": sha256(source)}
        for name, source in (inputs or {}).items()
    }
    provenance: dict[str, Any] = {
        "Conventions": "CF-1.11",
        "kind": kind,
        "artifact": _relative(path, root),
        "status": status,
        "settings": settings_text,
        "settings_sha256": _sha256(settings_text),
        "inputs": _canonical(sources),
        "versions": _canonical(versions()),
        "code_revision": code_revision(),
        "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if device is not None:
        provenance["device"] = device
    if wall_time is not None:
        provenance["wall_time_s"] = float(wall_time)
    try:
        stored = _plain(dataset)
        own = {k: v for k, v in stored.attrs.items() if k not in (*_REQUIRED, *_OPTIONAL)}
        stored.attrs = provenance | own
        stored.attrs["data_sha256"] = _data_sha256(stored)
        stored.attrs["content_sha256"] = _content_sha256(stored)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise _cannot_be_stored(path, error) from error
    with _placed(path) as temporary:
        try:
            _write_netcdf(stored, temporary)
            with _decoded(temporary) as copy:
                fault = _fault(copy)
        except (ImportError, MemoryError, OSError):
            raise
        except Exception as error:
            raise _cannot_be_stored(path, error) from error
        if fault:
            remedy = "store the part as plain numbers or text"
            raise ArtifactError(path, f"NetCDF would change the dataset: {fault}", remedy)
        digest = hashlib.sha256()
        with temporary.open("r+b") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
            seal = _SEAL.format(digest.hexdigest()).encode()
            file.write(seal)
        digest.update(seal)
    return digest.hexdigest()


def _cannot_be_stored(path: Path, error: Exception) -> ArtifactError:
    remedy = "give it variables and attributes that are numbers or text"
    return ArtifactError(path, f"cannot be stored as NetCDF: {error}", remedy)


def write_bytes(path: StrPath, *parts: bytes) -> None:
    """Store bytes in a file that appears complete or not at all.

    Raises:
        ArtifactError: the folder or the file cannot be written.
    """
    with _placed(Path(path)) as temporary, temporary.open("wb") as file:
        file.writelines(parts)


@contextmanager
def _placed(path: Path) -> Iterator[Path]:
    """A file to write, which then takes the name of another one.

    It is a temporary file in the same folder, ``.<name>.<token>.tmp``, that reaches the disk before
    it is renamed. What a killed writer of the same file left behind is removed.

    Raises:
        ArtifactError: the folder or the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            leftover.unlink(missing_ok=True)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        remedy = _WRITE_REMEDIES.get(error.errno or 0, "make its folder writable and run again")
        raise ArtifactError(
            path, f"cannot be written: {error.strerror or error}", remedy
        ) from error


# Reading


def read(path: StrPath, *, kind: str | None = None) -> xr.Dataset:
    """The dataset of an artifact, in memory, its values exactly as they were written.

    Nothing is decoded: no scaling, no fill values, no times. Every byte is checked against the
    seal; the digests are :func:`verify`'s.

    Args:
        path: the file.
        kind: the kind that it must have, if given.

    Raises:
        ArtifactError: the file is missing, truncated or altered, is no artifact, or is of another
            kind.
    """
    with open_lazily(path, kind=kind) as dataset, _unreadable(path):
        return dataset.load()


@contextmanager
def open_lazily(path: StrPath, *, kind: str | None = None) -> Iterator[xr.Dataset]:
    """As :func:`read`, but values are read from the file where they are asked for, as long as it is open.

    Raises:
        ArtifactError: as :func:`read`.
    """
    with _checked(path, kind, create_default_indexes=True) as dataset:
        yield dataset


def verify(path: StrPath, *, kind: str | None = None) -> None:
    """Check every byte, the provenance and all digests of an artifact.

    Raises:
        ArtifactError: as :func:`read`, or a digest does not fit; the message names the part.
    """
    with _opened(path, kind) as dataset:
        if fault := _fault(dataset):
            raise ArtifactError(path, fault)


def sha256(path: StrPath) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        ArtifactError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(
            path, f"cannot be read: {error.strerror or error}", "make it first"
        ) from error


def settings(dataset: xr.Dataset) -> dict[str, Any]:
    """The settings that a dataset from :func:`read` was made with."""
    return json.loads(dataset.attrs["settings"])


def different_settings(
    one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key and both values of every setting in which two differ; None where one lacks it."""
    values, others = dict(_leaves(one)), dict(_leaves(other))
    for key in sorted(values.keys() | others.keys()):
        if values.get(key) != others.get(key):
            yield key, values.get(key), others.get(key)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else key)
    else:
        yield place, value


def inputs(dataset: xr.Dataset) -> dict[str, dict[str, str]]:
    """The inputs that a dataset was made from: name -> ``path`` (relative to root), ``sha256``."""
    return json.loads(dataset.attrs["inputs"])


# Auditing a results tree


def check_inputs(path: StrPath, root: StrPath) -> list[str]:
    """What differs between the recorded inputs of an artifact and these files now; a line each.

    Raises:
        ArtifactError: the artifact itself cannot be read.
    """
    with _opened(path) as dataset:
        return _stale(dataset, root, sha256)


def verify_tree(root: StrPath, each: Callable[..., Iterable[list[Problem]]] = map) -> list[Problem]:
    """Every artifact below the results root that is damaged, misplaced or out of date.

    Checks each file as :func:`verify` does, that it stands where it was written (two swapped files
    do not), that its inputs are the files it was made from, and that no killed run left a
    temporary file or what it would continue from.

    Args:
        root: the results folder.
        each: how a function is called for every file, such as the `map` of a pool of processes.
    """
    paths = _artifacts(root)
    digests: dict[str, str] = {}
    for path in paths:
        with suppress(ArtifactError):  # what cannot be read is named below
            digests[str(path)] = sha256(path)
    found = each(functools.partial(_problems, root=root, digests=digests), paths)
    problems = [problem for own in found for problem in own]
    if not paths:
        problems.append(Problem(".", f"no artifact below {os.fspath(root)}"))
    for path in sorted(Path(root).rglob(".*.tmp")):
        problems.append(Problem(_relative(path, root), "left by a killed run: delete it"))
    for path in sorted(Path(root).rglob(".*.partial")):
        what = "left by a killed run: run again, which continues there, or delete it"
        problems.append(Problem(_relative(path, root), what))
    return problems


def _problems(path: Path, root: StrPath, digests: Mapping[str, str]) -> list[Problem]:
    """What is wrong with one artifact of a results tree, whose files have these digests."""
    place = _relative(path, root)

    def digest(file: Path) -> str:
        return digests.get(str(file)) or sha256(file)

    try:
        with _opened(path) as dataset:
            lines = [fault] if (fault := _fault(dataset)) else _stale(dataset, root, digest)
            if not fault and (written := dataset.attrs["artifact"]) != place:
                lines.insert(0, f"was written as {written}: moved or swapped")
    except ArtifactError as error:
        lines = [error.what]
    return [Problem(place, line) for line in lines]


def manifest(root: StrPath) -> dict[str, Any]:
    """Every artifact below the results root and every file of a figure, with the digest of the list itself.

    Returns:
        ``artifacts``, relative path -> ``sha256``, ``bytes``, ``kind`` ("figure" for those in the
        folder ``figures``, which carry no seal of their own) and ``status``; and
        ``manifest_sha256``, over the canonical JSON of ``artifacts``.

    Raises:
        ArtifactError: a file cannot be read.
    """
    artifacts = {}
    for path in _listed(root):
        figure = {"kind": "figure", "status": "completed"}
        attributes = _attributes(path) if path.suffix == ".nc" else figure
        artifacts[_relative(path, root)] = {
            "sha256": sha256(path),
            "bytes": path.stat().st_size,
            "kind": attributes["kind"],
            "status": attributes["status"],
        }
    return {"artifacts": artifacts, "manifest_sha256": _sha256(_canonical(artifacts))}


def write_manifest(root: StrPath) -> Path:
    """Store the manifest as ``manifest.json`` in the results root.

    Raises:
        ArtifactError: an artifact cannot be read, or the manifest not be written.
    """
    path = Path(root) / MANIFEST
    write_bytes(path, json.dumps(manifest(root), indent=1, sort_keys=True).encode() + b"\n")
    return path


def check_manifest(root: StrPath) -> list[Problem]:
    """What differs between the stored manifest and the results tree: changed, deleted, added."""
    try:
        listed = json.loads((Path(root) / MANIFEST).read_bytes())
        intact = listed["manifest_sha256"] == _sha256(_canonical(listed["artifacts"]))
        recorded = {place: entry["sha256"] for place, entry in listed["artifacts"].items()}
    except FileNotFoundError:
        return [Problem(MANIFEST, "missing")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [Problem(MANIFEST, f"is not a manifest: {' '.join(str(error).split())}")]
    if not intact:
        return [Problem(MANIFEST, "was edited: its entries differ from manifest_sha256")]
    present = {_relative(path, root): path for path in _listed(root)}
    problems = []
    for place in sorted(present.keys() | recorded.keys()):
        if place not in present:
            problems.append(Problem(place, "missing, though the manifest lists it"))
        elif place not in recorded:
            problems.append(Problem(place, "not in the manifest"))
        else:
            try:
                if sha256(present[place]) != recorded[place]:
                    problems.append(Problem(place, "differs from its SHA-256 in the manifest"))
            except ArtifactError as error:
                problems.append(Problem(place, error.what))
    return problems


# Provenance of the code


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that numbers depend on; None where not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


@functools.cache
def code_revision(source: Path = Path(__file__)) -> str:
    """Git revision of the tree that a source file is tracked in.

    Ends in "-dirty" where tracked files differ from that revision; "unknown" where the file is not
    tracked (an installed copy) or there is no git.
    """
    # A hook of some other repository may be what runs us.
    hooks = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    environment = {k: v for k, v in os.environ.items() if k not in hooks}
    answer = ""
    for arguments in (
        ["ls-files", "--error-unmatch", source.name],
        ["describe", "--always", "--dirty", "--abbrev=64", "--exclude=*"],
    ):
        command = ["git", "--no-optional-locks", "-C", str(source.parent), *arguments]
        try:
            answer = subprocess.run(
                command, capture_output=True, text=True, timeout=10, check=True, env=environment
            ).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return "unknown"
    return answer


# How a dataset is stored


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset as it will be read back, without what an earlier file said of its storage."""
    dataset = dataset.drop_encoding()
    for name, variable in list(dataset.variables.items()):
        if variable.dtype == bool:
            dataset[name] = variable.astype(np.int8)
    for name, variable in dataset.variables.items():
        kind, size = variable.dtype.kind, variable.dtype.itemsize
        if kind == "O" and not all(isinstance(text, str) for text in variable.values.flat):
            raise TypeError(f"{name} holds objects that are no text")
        if kind not in "iufUTO" or (kind == "f" and size not in (4, 8)):
            raise TypeError(f"{name} has the type {variable.dtype}")
        variable.attrs = {k: _attribute(v, f"{name}.{k}") for k, v in variable.attrs.items()}
    dataset.attrs = {k: _attribute(v, k) for k, v in dataset.attrs.items()}
    return dataset


def _attribute(value: Any, name: str = "") -> str | list[str] | np.ndarray:
    """An attribute as NetCDF has it: text, a list of texts, or a vector of numbers."""
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.ndim <= 1 and array.dtype.kind in "UT":
        texts = array.reshape(-1).tolist()
        return texts[0] if len(texts) == 1 else texts
    if array.ndim <= 1 and array.dtype.kind in "biuf":
        return array.reshape(-1).astype(np.int8 if array.dtype == bool else array.dtype)
    raise TypeError(f"the attribute {name} is a {type(value).__name__}")


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """Chunks and filters of a variable.

    Shuffled zlib at level 1 saves 12% of float32 weights (unshuffled 7%, and slower); level 4 takes
    15% longer and level 6 twice as long, for less than one percent more. Fletcher32 costs nothing
    measurable and lets other readers notice damage.
    """
    if variable.dtype.kind not in "iuf":
        return {}
    encoding: dict[str, Any] = {"_FillValue": None}
    if variable.size and variable.ndim:
        chunks = list(variable.shape)
        if "snapshot" in variable.dims:
            axis = variable.dims.index("snapshot")
            chunks[: axis + 1] = [1] * (axis + 1)
        else:
            row = variable.nbytes // chunks[0]
            chunks[0] = min(chunks[0], max(1, _CHUNK // row))
        filters = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        encoding |= filters | {"chunksizes": tuple(chunks)}
    return encoding


def _write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a dataset to a file, in the HDF5 1.10 format, which checksums its own metadata.

    Raises:
        OSError: the disk refuses.
    """
    with _Patient(path) as file:
        try:
            versions = {"libver": ("v110", "v110")}
            store = xr.backends.H5NetCDFStore.open(file, mode="w", driver_kwds=versions)
            try:
                encoding = {
                    name: _encoding(variable) for name, variable in dataset.variables.items()
                }
                dataset.dump_to_store(store, encoding=encoding, writer=_ByBlocks(dataset, file))
            finally:
                store.close()
        except Exception:
            if file.error is None:
                raise
        if file.error is not None:
            raise file.error


class _Patient(io.FileIO):
    """A file that takes everything: the first error is kept, and what is written after it is lost.

    Attributes:
        error: what the disk refused.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r+")
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        view = memoryview(content).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self.tell() if size is None else size


class _ByBlocks(xr.backends.common.ArrayWriter):
    """Writes variables block by block, and stops when the disk refuses."""

    __slots__ = ("dataset", "file")

    def __init__(self, dataset: xr.Dataset, file: _Patient) -> None:
        super().__init__()
        self.dataset, self.file = dataset, file

    def add(self, source: Any, target: Any, region: Any = None) -> None:
        if source.dtype.kind not in "iuf":
            return super().add(source, target, region)
        for place, block in _blocks(self.dataset.variables[target.variable_name]):
            target[place] = block
            if self.file.error is not None:
                raise self.file.error


def _blocks(variable: xr.Variable) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
    """Parts of a variable with their places, in the order of its bytes: whole chunks, of a few megabytes."""
    for place in _places(variable):
        block = variable[place].values
        yield place, block
        let_go(block)


def _places(variable: xr.Variable) -> Iterator[tuple[Any, ...]]:
    if variable.nbytes <= _CHUNK or not variable.ndim:
        yield (...,)
        return
    axis = variable.dims.index("snapshot") if "snapshot" in variable.dims else 0
    row = variable.nbytes // math.prod(variable.shape[: axis + 1])
    rows = max(1, _CHUNK // row)
    for before in itertools.product(*(range(size) for size in variable.shape[:axis])):
        for first in range(0, variable.shape[axis], rows):
            yield (*(slice(at, at + 1) for at in before), slice(first, first + rows))


def _decoded(source: StrPath, *, create_default_indexes: bool = False) -> xr.Dataset:
    """The dataset in a file, its values and attributes as stored and not yet read.

    By netCDF4, which opens a file in a fifth of h5netcdf's time; h5netcdf writes, for it takes a file object.
    """
    return xr.open_dataset(
        source,
        engine="netcdf4",
        mask_and_scale=False,
        decode_times=False,
        decode_timedelta=False,
        concat_characters=False,
        create_default_indexes=create_default_indexes,
    )


# What is checked


@contextmanager
def _opened(path: StrPath, kind: str | None = None) -> Iterator[xr.Dataset]:
    """An artifact as :func:`_checked`, of which whatever goes wrong is a fault of the file."""
    dataset = _checked(path, kind)
    with _unreadable(path), dataset:
        yield dataset


def _checked(
    path: StrPath, kind: str | None = None, *, create_default_indexes: bool = False
) -> xr.Dataset:
    """An artifact (of this kind), its seal and attributes checked, its variables not yet read."""
    _check_seal(path)
    with _unreadable(path):
        dataset = _decoded(path, create_default_indexes=create_default_indexes)
        try:
            if missing := [name for name in _REQUIRED if name not in dataset.attrs]:
                raise ArtifactError(path, f"lacks the attribute {missing[0]}")
            if kind is not None and (found := dataset.attrs["kind"]) != kind:
                raise ArtifactError(path, f"is of the kind {found!r}, not {kind!r}")
        except BaseException:
            dataset.close()
            raise
    return dataset


@contextmanager
def _unreadable(path: StrPath) -> Iterator[None]:
    """Errors in here are a fault of the file."""
    try:
        yield
    except (ArtifactError, ImportError, MemoryError):
        raise
    except Exception as error:
        raise ArtifactError(path, f"cannot be read as NetCDF: {error}") from error


def _attributes(path: StrPath) -> dict[str, str]:
    """Kind and status of an artifact whose seal is intact, without a look at its variables."""
    _check_seal(path)
    try:
        with h5netcdf.File(path) as file:
            return {name: str(file.attrs[name]) for name in ("kind", "status")}
    except Exception as error:
        raise ArtifactError(path, f"cannot be read as NetCDF: {error}") from error


def _check_seal(path: StrPath) -> None:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            left = os.fstat(file.fileno()).st_size - _SEAL_SIZE
            while left > 0 and (block := file.read(min(left, 2**20))):
                digest.update(block)
                left -= len(block)
            seal = file.read()
    except OSError as error:
        remedy = "run the stage that makes it" if isinstance(error, FileNotFoundError) else _RERUN
        raise ArtifactError(path, f"cannot be read: {error.strerror or error}", remedy) from error
    expected = _SEAL.format(digest.hexdigest()).encode()
    if seal != expected:
        if len(seal) == _SEAL_SIZE and seal[:8] == expected[:8]:
            raise ArtifactError(path, "damaged: its bytes differ from the SHA-256 at its end")
        raise ArtifactError(
            path, "has no seal at its end: truncated, changed by another program, or no artifact"
        )


def _fault(dataset: xr.Dataset) -> str | None:
    """The first part of an artifact that does not fit its digest."""
    attributes = dataset.attrs
    if _sha256(str(attributes["settings"])) != attributes["settings_sha256"]:
        return "the attribute settings differs from settings_sha256"
    if _data_sha256(dataset) != attributes["data_sha256"]:
        return "a variable or coordinate differs from data_sha256"
    if _content_sha256(dataset) != attributes["content_sha256"]:
        return "a global attribute differs from content_sha256"
    return None


def _stale(dataset: xr.Dataset, root: StrPath, digest: Callable[[Path], str]) -> list[str]:
    """The inputs of an artifact that are not the files it was made from, a line each."""
    lines = []
    for name, recorded in inputs(dataset).items():
        try:
            if digest(Path(root, recorded["path"])) != recorded["sha256"]:
                lines.append(f"input {name}: {recorded['path']} is not the file it was made from")
        except ArtifactError as error:
            lines.append(f"input {name}: {recorded['path']} {error.what}")
    return lines


# Digests


def _data_sha256(dataset: xr.Dataset) -> str:
    digest = hashlib.sha256()
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        text = variable.dtype.kind not in "iuf"
        header = {
            "name": name,
            "coordinate": name in dataset.coords,
            "dims": variable.dims,
            "shape": variable.shape,
            "dtype": "text" if text else variable.dtype.newbyteorder("<").str,
            "attributes": {k: _hashable(v) for k, v in variable.attrs.items()},
        }
        digest.update(_canonical(header).encode() + b"\n")
        if text:
            digest.update(_canonical(variable.values.tolist()).encode())
        else:
            for _, block in _blocks(variable):
                digest.update(_raw(block))
    return digest.hexdigest()


def _content_sha256(dataset: xr.Dataset) -> str:
    # The data come in through the attribute data_sha256.
    attributes = {k: _hashable(v) for k, v in dataset.attrs.items() if k != "content_sha256"}
    return _sha256(_canonical(attributes))


def _hashable(value: Any) -> Any:
    value = _attribute(value)
    if isinstance(value, np.ndarray):
        return {value.dtype.newbyteorder("<").str: _raw(value).hex()}
    return value


def _raw(values: np.ndarray) -> memoryview:
    """The bytes of an array, little-endian, the last dimension fastest."""
    values = values.astype(values.dtype.newbyteorder("<"), order="C", copy=False)
    return values.reshape(-1).view(np.uint8).data


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Paths


def _relative(path: StrPath, root: StrPath) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _artifacts(root: StrPath) -> list[Path]:
    return sorted(Path(root).rglob("*.nc"))


def _listed(root: StrPath) -> list[Path]:
    """What a manifest lists: all artifacts, and the files of the figures."""
    drawn = (path for path in Path(root, "figures").glob("[!.]*") if path.suffix != ".nc")
    return sorted([*_artifacts(root), *drawn])
