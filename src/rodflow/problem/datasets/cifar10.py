"""CIFAR-10, from its binary archive, which is chosen over the Python one because reading it runs no pickle.

A local archive that the settings or ``RODFLOW_CIFAR10`` name, else the official one, which pooch fetches once into a
cache that all runs share. An archive is read in memory, from front to back; nothing in it is ever unpacked to the disk.
It may be somebody else's: no more of it is unpacked than the official one holds, whatever sizes it claims, and it is
read to its end, where its checksum is.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8

from rodflow.config.declarations import DataSet, choice, choices, test, text, whole
from rodflow.config.paths import placed
from rodflow.problem.labelled import DatasetError, labelled, one_line, select, sha256_of, with_test

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DATASET = DataSet(
    title="CIFAR-10, the training images.",
    label="CIFAR-10",
    order=2,
    settings={
        "samples": whole(
            "How many images, from the first on; the set has 50000, 5000 a class.",
            1000,
            ge=1,
            le=50000,
        ),
        "classes": choices(
            "Keep only these classes; null keeps all ten.",
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
            least=2,
        ),
        "size": choice(
            "Side of an image in pixels; below 32, averages over square blocks.", 32, 32, 16, 8
        ),
        "scaling": choice(
            "Pixels of mean 0 and variance 1 (standard), or between 0 and 1 (unit).",
            "standard",
            "standard",
            "unit",
        ),
        "test": test(10000),
        "sha256": text(
            "64 hexadecimal digits, the SHA-256 of the archive; null: that of a known one.",
            pattern="^[0-9a-fA-F]{64}$",
        ),
        "archive": text(
            "Path of the binary archive; ~ is the home folder; null fetches the official one.",
            min_length=1,
        ),
    },
    per_class=5000,
    places=("archive",),
    numbers=lambda settings: 3 * settings["size"] ** 2,
)

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"

CIFAR10_ARCHIVES = {
    "official": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "first 1,000 records of each batch": (
        "c834bfc3235de3b3a0fae06cf903f45f35b848d9e4a21ba4824c129f251f94d2"
    ),
}
"""Archives that are accepted without a ``sha256`` in the settings, and their SHA-256."""

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""Names of the labels 0 to 9, as in the archive's ``batches.meta.txt``."""

_BATCHES = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
_TEST_BATCHES = ("test_batch.bin",)
_PLANES = (3, 32, 32)  # channel, row, column
_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue plane
_RECORDS = 10_000  # in a batch of the official archive, which has a sixth one for the tests
_UNPACKED = 6 * _RECORDS * _RECORD + 2**20  # bytes: the batches, and texts and headers


def load(
    samples: int | None = None,
    classes: Sequence[str | int] | None = None,
    size: int = 32,
    scaling: str = "standard",
    archive: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    test: int | None = None,
) -> xr.Dataset:
    """See `rodflow.problem.labelled.load`."""
    if size not in (32, 16, 8):
        raise DatasetError(f"size is {size!r}; CIFAR-10 comes at 32, 16 or 8")
    path = at_hand(archive) or fetch(sha256=sha256 or CIFAR10_ARCHIVES["official"])
    digest = _accepted(path, sha256)
    planes, all_labels = read_cifar10(path)
    chosen, labels, kept = select(all_labels, CIFAR10_CLASSES, classes, samples, path)
    block = 32 // size
    dataset = labelled(
        _averaged(planes[chosen], size),
        labels,
        kept,
        chosen,
        over="channel",
        scaling=scaling,
        brightest=255,
        attributes={
            "title": f"CIFAR-10 training images, {size} x {size} pixels",
            "source": CIFAR10_URL,
            "license": "none stated; the authors ask to cite the reference",
            "references": "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
            "archive": path.name,
            "archive_sha256": digest,
            "down_sampling": f"average over blocks of {block} x {block} pixels",
        },
    )
    if test is not None:
        planes, all_labels = read_cifar10(path, _TEST_BATCHES)
        chosen, labels, _ = select(
            all_labels, CIFAR10_CLASSES, classes, test, f"{path}: test batch"
        )
        where = f"first {test} images of these classes in the test batch"
        dataset = with_test(dataset, _averaged(planes[chosen], size), labels, chosen, where)
    return dataset.assign_coords(
        channel=("channel", ["red", "green", "blue"], {"long_name": "colour"})
    )


def at_hand(archive: str | os.PathLike[str] | None) -> Path | None:
    """Where a local archive is, that the settings or else ``RODFLOW_CIFAR10`` name; None: neither does.

    Raises:
        PathError: it is in a home folder that there is not.
    """
    if archive:
        return placed(archive, key="dataset.archive")
    given = os.environ.get("RODFLOW_CIFAR10")
    return placed(given, key="RODFLOW_CIFAR10") if given else None


def _averaged(
    planes: UInt8[np.ndarray, "sample channel row column"], size: int
) -> Float[np.ndarray, "sample row column channel"]:
    """Images of this size, each pixel the mean of a square block."""
    block = 32 // size
    images = planes.transpose(0, 2, 3, 1)
    return cast(np.ndarray, images.reshape(-1, size, block, size, block, 3).mean((2, 4)))


def fetch(
    url: str = CIFAR10_URL,
    sha256: str = CIFAR10_ARCHIVES["official"],
    cache: str | os.PathLike[str] | None = None,
) -> Path:
    """The archive at `url` in the cache, downloaded unless it is there already.

    Args:
        url: where it is.
        sha256: the hash that it must have; anything else is not kept.
        cache: folder; the default is ``RODFLOW_CACHE``, else the user's cache of the system.

    Raises:
        DatasetError: no network, the server refuses, or what it sends has another hash.
    """
    import pooch
    import requests

    given = os.environ.get("RODFLOW_CACHE")
    kept = placed(given, key="RODFLOW_CACHE") if given else pooch.os_cache("rodflow")
    name = PurePosixPath(url).name
    local = "or name a local archive in dataset.archive or RODFLOW_CIFAR10"
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=name, path=cache or kept))
    except (requests.RequestException, OSError) as error:
        why = one_line(error)
        raise DatasetError(f"{url} cannot be fetched ({why}); check the network {local}") from error
    except ValueError as error:
        why = f"{url} does not have SHA-256 {sha256} ({one_line(error)})"
        raise DatasetError(f"{why}; try again {local}") from error


def read_cifar10(
    path: Path, names: Sequence[str] = _BATCHES
) -> tuple[UInt8[np.ndarray, "sample channel row column"], UInt8[np.ndarray, " sample"]]:
    """Pixels and labels of batches of a binary archive, from 0 to 255 and from 0 to 9, batch after batch.

    Reference: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".

    Args:
        path: of the gzipped tar archive.
        names: file names of the batches, in the order that their images get; default: all training batches.

    Raises:
        DatasetError: not a gzipped tar archive, damaged, or larger than the official one; a member that is a link, has
            holes or lies outside it; a batch that is missing, there twice or too long; a truncated record, or a label
            above 9.
    """
    batches: dict[str, np.ndarray] = {}
    try:
        with gzip.GzipFile(path) as unpacked:
            content = io.BufferedReader(_Bounded(unpacked, path), 2**20)
            with tarfile.open(fileobj=content, mode="r|") as archive:
                for member in archive:
                    _refuse_unsafe(member, path)
                    name = PurePosixPath(member.name).name
                    if name not in names:
                        continue
                    where = f"{path}: {name}"
                    if name in batches:
                        raise DatasetError(f"{where} is there twice; {_OFFICIAL}")
                    _refuse_size(member.size, where)
                    if (file := archive.extractfile(member)) is not None:
                        batches[name] = _records(file.read(), where)
            while content.read(2**20):  # at the very end gzip compares its checksum
                pass
    except DatasetError:
        raise
    except Exception as error:  # of whatever kind: a header of an archive may say anything
        why = f"{path} cannot be read as a gzipped tar archive ({one_line(error)})"
        raise DatasetError(f"{why}; fetch it again from {CIFAR10_URL}") from error
    missing = [name for name in names if name not in batches]
    if missing:
        why = f"{path} has no {', '.join(missing)}"
        raise DatasetError(f"{why}; take the binary version, {CIFAR10_URL}")
    records = np.concatenate([batches.pop(name) for name in names])
    return records[:, 1:].reshape(-1, *_PLANES), records[:, 0]


_OFFICIAL = f"take the official archive, {CIFAR10_URL}"


class _Bounded(io.RawIOBase):
    """The content of an archive, of which no more is unpacked than the official one holds.

    Reading more raises a DatasetError.
    """

    def __init__(self, unpacked: gzip.GzipFile, path: Path) -> None:
        self._unpacked, self._path = unpacked, path
        self._left = _UNPACKED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        content = self._unpacked.read(min(len(view), self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DatasetError(f"{self._path} unpacks to more than {_UNPACKED} bytes; {_OFFICIAL}")
        view[: len(content)] = content
        return len(content)


def _refuse_unsafe(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        problem = "lies outside the archive"
    elif not (member.isfile() or member.isdir()):
        problem = "is neither a file nor a folder"
    elif member.issparse():
        problem = "has holes"
    else:
        return
    raise DatasetError(f"{path}: member {member.name!r} {problem}; {_OFFICIAL}")


def _refuse_size(size: int, where: str) -> None:
    """Refuse a batch by the size that its header claims, before any of it is read."""
    if size > _RECORDS * _RECORD:
        why = f"{where} has {size} bytes, which is more than {_RECORDS} records"
        raise DatasetError(f"{why}; {_OFFICIAL}")
    if not size or size % _RECORD:
        why = f"{where} has {size} bytes, which is no multiple of a record's {_RECORD}"
        raise DatasetError(f"{why}; it is truncated, fetch the archive again")


def _records(content: bytes, where: str) -> UInt8[np.ndarray, "sample byte"]:
    _refuse_size(len(content), where)
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    wrong = np.flatnonzero(records[:, 0] > 9)
    if wrong.size:
        why = f"{where} has label {records[wrong[0], 0]} in record {wrong[0]}"
        raise DatasetError(f"{why}; labels are 0 to 9, fetch the archive again")
    return records


def _accepted(path: Path, sha256: str | None) -> str:
    """The hash of the archive, which is the one asked for or else a known one."""
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        digest = sha256_of(path)
    except OSError as error:
        why = f"archive {path} cannot be read ({error.strerror})"
        raise DatasetError(f"{why}; give the path of {CIFAR10_URL}") from error
    if digest not in ([sha256.lower()] if sha256 else CIFAR10_ARCHIVES.values()):
        expected = sha256 or " or ".join(CIFAR10_ARCHIVES.values())
        why = f"archive {path} has SHA-256 {digest}, expected {expected}"
        raise DatasetError(f"{why}; fetch it again, or if it is meant give dataset.sha256")
    return digest
