"""NetCDF files that are complete or absent, say where they come from, and show when they change.

An artifact is an xarray dataset stored by :func:`write`. Its global attributes record what it is,
the settings and inputs that it was made from, and what made it; ``settings``, ``inputs`` and
``versions`` are JSON. Three digests protect it, each answering its own question:

``data_sha256``, ``content_sha256``
    whether the data, or anything at all, is other than it was: see :mod:`rodflow.store.digests`.
the seal
    the SHA-256 of all bytes of the file before it, in its last 73 bytes, which HDF5 leaves
    alone. It is compared before HDF5 sees the file, since one flipped byte in a place that
    HDF5 does not protect itself (a heap of strings) can send the HDF5 library into an endless loop.

Any tool opens the files (``xarray.open_dataset``, ``ncdump``). This module writes and reads them:

    artifact.write(dataset, root / "gd/discrete.nc", kind="trajectory", root=root,
                   settings=run.settings, inputs={"dataset": root / "dataset.nc"})
    dataset = artifact.read(root / "gd/discrete.nc", kind="trajectory")

:mod:`rodflow.store.integrity` and :mod:`rodflow.store.manifest` look after a whole folder of them.
The module imports no JAX, so that the audit starts fast.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import xarray as xr

from rodflow.config.values import Settings
from rodflow.store.digests import (
    canonical,
    content_sha256,
    data_sha256,
    digest_fault,
    text_sha256,
)
from rodflow.store.files import (
    RERUN,
    ArtifactError,
    StrPath,
    open_plain,
    placed,
    reason,
    relative,
    sha256,
)
from rodflow.store.netcdf import CHUNK, LOCKING, decoded, form_fault, plain, write_netcdf
from rodflow.store.provenance import code_revision, versions

_REQUIRED = (
    "Conventions kind artifact status settings settings_sha256 inputs versions code_revision "
    "date_created data_sha256 content_sha256"
).split()
_OPTIONAL = ["device", "wall_time_s"]
_SEAL = "\nsha256:{}\n"
_SEAL_SIZE = len(_SEAL.format("0" * 64))
_SEAL_FORM = re.compile(rb"\nsha256:[0-9a-f]{64}\n")


# Writing


def write(
    dataset: xr.Dataset,
    path: StrPath,
    *,
    kind: str,
    settings: Settings | None = None,
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
    provenance = _provenance(
        path, path.parent if root is None else root, kind, status, settings, inputs
    )
    if device is not None:
        provenance["device"] = device
    if wall_time is not None:
        provenance["wall_time_s"] = float(wall_time)
    try:
        stored = plain(dataset)
        own = {k: v for k, v in stored.attrs.items() if k not in (*_REQUIRED, *_OPTIONAL)}
        stored.attrs = provenance | own
        stored.attrs["data_sha256"] = data_sha256(stored)
        stored.attrs["content_sha256"] = content_sha256(stored.attrs)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise _cannot_be_stored(path, error) from error
    return _store(stored, path)


def _provenance(
    path: Path,
    root: StrPath,
    kind: str,
    status: str,
    settings: Settings | None,
    inputs: Mapping[str, StrPath] | None,
) -> dict[str, str | float]:
    """The global attributes that every artifact has, but for its digests."""
    try:
        settings_text = canonical({} if settings is None else settings)
    except (TypeError, ValueError) as error:
        raise ArtifactError(path, f"settings: {error}", "pass plain finite JSON values") from None
    sources = {
        name: {"path": relative(source, root), "sha256": sha256(source)}
        for name, source in (inputs or {}).items()
    }
    return {
        "Conventions": "CF-1.11",
        "kind": kind,
        "artifact": relative(path, root),
        "status": status,
        "settings": settings_text,
        "settings_sha256": text_sha256(settings_text),
        "inputs": canonical(sources),
        "versions": canonical(versions()),
        "code_revision": code_revision(),
        "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _store(stored: xr.Dataset, path: Path) -> str:
    """Write a dataset whose attributes are complete, and return the SHA-256 of the file."""
    with placed(path) as temporary:
        try:
            write_netcdf(stored, temporary)
            with unreadable(path), decoded(temporary) as copy:
                fault = digest_fault(copy)
        except (ArtifactError, ImportError, MemoryError, OSError):
            raise
        except Exception as error:
            raise _cannot_be_stored(path, error) from error
        if fault:
            remedy = "store the part as plain numbers or text"
            raise ArtifactError(path, f"NetCDF would change the dataset: {fault}", remedy)
        digest = hashlib.sha256()
        with temporary.open("r+b") as file:
            while block := file.read(CHUNK):
                digest.update(block)
            seal = _SEAL.format(digest.hexdigest()).encode()
            file.write(seal)
        digest.update(seal)
    return digest.hexdigest()


def _cannot_be_stored(path: Path, error: Exception) -> ArtifactError:
    remedy = "give it variables and attributes that are numbers or text"
    return ArtifactError(path, f"cannot be stored as NetCDF: {error}", remedy)


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
    with open_lazily(path, kind=kind) as dataset, unreadable(path):
        return dataset.load()


@contextmanager
def open_lazily(path: StrPath, *, kind: str | None = None) -> Iterator[xr.Dataset]:
    """As :func:`read`, but values are read from the file where they are asked for, as long as it is open.

    Args:
        path, kind: as for :func:`read`.

    Raises:
        ArtifactError: as :func:`read`.
    """
    with opened(path, kind, create_default_indexes=True) as dataset:
        yield dataset


def verify(path: StrPath, *, kind: str | None = None) -> None:
    """Check every byte, the provenance and all digests of an artifact.

    Args:
        path, kind: as for :func:`read`.

    Raises:
        ArtifactError: as :func:`read`, or a digest does not fit; the message names the part.
    """
    with opened(path, kind) as dataset, unreadable(path):
        if fault := digest_fault(dataset):
            raise ArtifactError(path, fault)


def opened(
    path: StrPath, kind: str | None = None, *, create_default_indexes: bool = False
) -> xr.Dataset:
    """An open artifact (of this kind), its seal, form and attributes checked, its variables not yet read.

    Args:
        path, kind: as for :func:`read`.
        create_default_indexes: whether a coordinate of its own dimension is an index, for which its values are read.

    Raises:
        ArtifactError: as :func:`read`.
    """
    check_seal(path)
    with unreadable(path):
        if fault := form_fault(path):
            raise ArtifactError(path, fault)
        dataset = decoded(path, create_default_indexes=create_default_indexes)
        try:
            if fault := header_fault(dataset.attrs):
                raise ArtifactError(path, fault)
            if kind is not None and (found := dataset.attrs["kind"]) != kind:
                raise ArtifactError(path, f"is of the kind {found!r}, not {kind!r}")
        except BaseException:
            dataset.close()
            raise
    return dataset


@contextmanager
def unreadable(path: StrPath) -> Iterator[None]:
    """Errors in here are a fault of the file, or of what HDF5 was told about locks.

    Args:
        path: the file.

    Raises:
        ArtifactError: in place of any error but this one, ImportError and MemoryError.
    """
    try:
        yield
    except (ArtifactError, ImportError, MemoryError):
        raise
    except Exception as error:
        remedy = RERUN
        if isinstance(error, OSError) and os.environ.get(LOCKING, "").upper() not in ("FALSE", "0"):
            remedy = f"if its file system has no locks, set {LOCKING}=FALSE; else {RERUN}"
        raise ArtifactError(path, f"cannot be read as NetCDF: {error}", remedy) from error


def check_seal(path: StrPath) -> None:
    """Compare every byte of a file with the SHA-256 at its end; a file without one is not read to its end.

    Raises:
        ArtifactError: they differ, there is none, or the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_plain(path) as file:
            left = os.fstat(file.fileno()).st_size - _SEAL_SIZE
            file.seek(max(left, 0))
            seal = file.read(_SEAL_SIZE)
            file.seek(0)
            while (
                _SEAL_FORM.fullmatch(seal) and left > 0 and (block := file.read(min(left, 2**20)))
            ):
                digest.update(block)
                left -= len(block)
    except (OSError, ValueError) as error:
        remedy = "run the stage that makes it" if isinstance(error, FileNotFoundError) else RERUN
        raise ArtifactError(path, f"cannot be read: {reason(error)}", remedy) from error
    if not _SEAL_FORM.fullmatch(seal):
        raise ArtifactError(
            path, "has no seal at its end: truncated, changed by another program, or no artifact"
        )
    if seal != _SEAL.format(digest.hexdigest()).encode():
        raise ArtifactError(path, "damaged: its bytes differ from the SHA-256 at its end")


# What an artifact says of itself


def header_fault(attributes: Mapping[str, object]) -> str:
    """What is wrong with the global attributes of a file that should be an artifact, "" if nothing is."""
    texts: dict[str, str] = {}
    for name in _REQUIRED:
        if name not in attributes:
            return f"lacks the attribute {name}"
        text = attributes[name]
        if not isinstance(text, str):
            return f"the attribute {name} is no text"
        texts[name] = text
    for name in ("settings", "inputs", "versions"):
        try:
            value = json.loads(texts[name])
        except (ValueError, RecursionError):
            return f"the attribute {name} is no JSON"
        if not isinstance(value, dict):
            return f"the attribute {name} is no JSON object"
        if name == "inputs" and not all(map(_is_input, value.values())):
            return "the attribute inputs does not name files with their SHA-256"
    return ""


def _is_input(recorded: object) -> bool:
    return isinstance(recorded, dict) and all(
        isinstance(recorded.get(key), str) for key in ("path", "sha256")
    )


def settings(dataset: xr.Dataset) -> Settings:
    """The settings that a dataset from :func:`read` was made with."""
    return json.loads(dataset.attrs["settings"])


def inputs(dataset: xr.Dataset) -> dict[str, dict[str, str]]:
    """The inputs that a dataset was made from: name -> ``path`` (relative to root), ``sha256``."""
    return json.loads(dataset.attrs["inputs"])


def different_settings(
    one: Mapping[str, object], other: Mapping[str, object]
) -> Iterator[tuple[str, object, object]]:
    """Dotted key and both values of every setting in which two differ; None where one lacks it.

    Args:
        one, other: mappings, perhaps of mappings; a setting that is None is not told from one that is not there.
    """
    values, others = dict(_leaves(one)), dict(_leaves(other))
    for key in sorted(values.keys() | others.keys()):
        if values.get(key) != others.get(key):
            yield key, values.get(key), others.get(key)


def _leaves(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{place}.{key}" if place else key)
    else:
        yield place, value
