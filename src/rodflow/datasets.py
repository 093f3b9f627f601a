"""Labelled image sets by name, standardised, with their provenance.

    data = load({"name": "digits", "samples": 1000})
    data["image"]  # (sample, row, column, channel), float32, mean 0 and variance 1
    data["target"]  # (sample, class), float32, one-hot

`digits` ships with scikit-learn. `cifar10` is read from its binary archive, chosen over the Python
one because reading it runs no pickle: a local one that the settings or ``RODFLOW_CIFAR10`` name,
else the official one, which pooch fetches once into a cache that all runs share. An archive is
read in memory, from front to back; nothing in it is ever unpacked to the disk.

The module imports no JAX, and the libraries that read a data set only when it is asked for.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, UInt8

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"

CIFAR10_ARCHIVES = {
    "official": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "first 1,000 records of each batch": (
        "c834bfc3235de3b3a0fae06cf903f45f35b848d9e4a21ba4824c129f251f94d2"
    ),
}
"""Archives that are accepted without a ``sha256`` in the settings, and their SHA-256."""

SCALINGS = ("standard", "unit")

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
_PLANES = (3, 32, 32)  # channel, row, column
_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue plane


class DatasetError(ValueError):
    """A data set that cannot be had as asked: one line with what, its value and the remedy."""


def load(settings: Mapping[str, Any]) -> xr.Dataset:
    """The data set that the settings describe.

    Args:
        settings: ``name`` (``digits`` or ``cifar10``), ``samples`` (how many images, from the
            first on in stored order; null takes all), ``classes`` (keep only these, names or
            numbers, and number them anew in this order; null keeps all) and ``size`` (pixels of a
            side; CIFAR-10 is averaged over square blocks) and ``scaling`` (``standard``: mean 0 and
            variance 1; ``unit``: between 0 and 1). For ``cifar10`` also ``archive`` (path
            of a local archive) and ``sha256`` (hash that the archive must have).

    Returns:
        Variables ``image(sample, row, column, channel)`` float32, standardised: over all its
        values for digits (some of whose pixels never change), by channel for CIFAR-10;
        ``label(sample)`` int32; ``target(sample, class)`` float32, one-hot. Coordinates: ``class``,
        what the label means, and ``sample``, the image's place in the stored order. Attributes:
        source, licence, citation, the hash of the archive, what was selected, and the ``means``
        and ``standard_deviations`` that standardise it, in units of the stored pixels.

    Raises:
        DatasetError: a setting, the archive or the download is not as it must be.
    """
    options = dict(settings)
    name = options.pop("name", None)
    readers = {"digits": _digits, "cifar10": _cifar10}
    if name not in readers:
        raise DatasetError(f"name is {name!r}; it must be one of {', '.join(readers)}")
    allowed = ["samples", "classes", "size", "scaling"] + ["archive", "sha256"] * (
        name == "cifar10"
    )
    for key, value in options.items():
        if key not in allowed:
            raise DatasetError(f"{key} is {value!r}, but {name} takes only {', '.join(allowed)}")
    return readers[name](**options)


def _digits(
    samples: int | None = None,
    classes: Sequence[int] | None = None,
    size: int = 8,
    scaling: str = "standard",
) -> xr.Dataset:
    import sklearn.datasets
    from sklearn.datasets import data as stored

    if size != 8:
        raise DatasetError(f"size is {size!r}; the digits have 8 x 8 pixels, so it must be 8")
    digits = sklearn.datasets.load_digits()
    names = [str(name) for name in digits.target_names]
    chosen, labels, kept = _select(digits.target, names, classes, samples, "digits")
    archive = Path(stored.__path__[0]) / "digits.csv.gz"
    return _labelled(
        digits.images[chosen][..., np.newaxis],
        labels,
        kept,
        chosen,
        over=None,
        scaling=scaling,
        brightest=16,
        attributes={
            "title": "Optical recognition of handwritten digits, 8 x 8 pixels",
            "source": "scikit-learn, sklearn.datasets.load_digits; "
            "test part of https://archive.ics.uci.edu/dataset/80",
            "license": "CC BY 4.0",
            "references": "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, "
            "UCI Machine Learning Repository, doi:10.24432/C50P49",
            "archive": archive.name,
            "archive_sha256": _sha256(archive),
        },
    )


def _cifar10(
    samples: int | None = None,
    classes: Sequence[str | int] | None = None,
    size: int = 32,
    scaling: str = "standard",
    archive: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
) -> xr.Dataset:
    if size not in (32, 16, 8):
        raise DatasetError(f"size is {size!r}; CIFAR-10 comes at 32, 16 or 8")
    given = archive or os.environ.get("RODFLOW_CIFAR10")
    path = Path(given) if given else fetch(sha256=sha256 or CIFAR10_ARCHIVES["official"])
    digest = _accepted(path, sha256)
    planes, all_labels = read_cifar10(path)
    chosen, labels, kept = _select(all_labels, CIFAR10_CLASSES, classes, samples, path)
    block = 32 // size
    images = planes[chosen].transpose(0, 2, 3, 1)
    images = images.reshape(-1, size, block, size, block, 3).mean((2, 4))
    dataset = _labelled(
        images,
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
    return dataset.assign_coords(
        channel=("channel", ["red", "green", "blue"], {"long_name": "colour"})
    )


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

    cache = cache or os.environ.get("RODFLOW_CACHE") or pooch.os_cache("rodflow")
    name = PurePosixPath(url).name
    local = "or name a local archive in dataset.archive or RODFLOW_CIFAR10"
    try:
        return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=name, path=cache))
    except (requests.RequestException, OSError) as error:
        why = _one_line(error)
        raise DatasetError(f"{url} cannot be fetched ({why}); check the network {local}") from error
    except ValueError as error:
        why = f"{url} does not have SHA-256 {sha256} ({_one_line(error)})"
        raise DatasetError(f"{why}; try again {local}") from error


def read_cifar10(
    path: Path,
) -> tuple[UInt8[np.ndarray, "sample channel row column"], UInt8[np.ndarray, " sample"]]:
    """Pixels and labels of all training batches of a binary archive, in the official order.

    Reference: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version".

    Raises:
        DatasetError: not a gzipped tar archive, a member that is a link or lies outside it, a
            missing batch, a truncated record, or a label above 9.
    """
    batches: dict[str, np.ndarray] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                _refuse_unsafe(member, path)
                name = PurePosixPath(member.name).name
                if name in _BATCHES and (content := archive.extractfile(member)) is not None:
                    batches[name] = _records(content.read(), f"{path}: {name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        why = f"{path} cannot be read as a gzipped tar archive ({_one_line(error)})"
        raise DatasetError(f"{why}; fetch it again from {CIFAR10_URL}") from error
    missing = [name for name in _BATCHES if name not in batches]
    if missing:
        why = f"{path} has no {', '.join(missing)}"
        raise DatasetError(f"{why}; take the binary version, {CIFAR10_URL}")
    records = np.concatenate([batches[name] for name in _BATCHES])
    return records[:, 1:].reshape(-1, *_PLANES), records[:, 0]


def _refuse_unsafe(member: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        problem = "lies outside the archive"
    elif not (member.isfile() or member.isdir()):
        problem = "is neither a file nor a folder"
    else:
        return
    why = f"{path}: member {member.name!r} {problem}"
    raise DatasetError(f"{why}; take the official archive, {CIFAR10_URL}")


def _records(content: bytes, where: str) -> UInt8[np.ndarray, "sample byte"]:
    if not content or len(content) % _RECORD:
        why = f"{where} has {len(content)} bytes, which is no multiple of a record's {_RECORD}"
        raise DatasetError(f"{why}; it is truncated, fetch the archive again")
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    wrong = np.flatnonzero(records[:, 0] > 9)
    if wrong.size:
        why = f"{where} has label {records[wrong[0], 0]} in record {wrong[0]}"
        raise DatasetError(f"{why}; labels are 0 to 9, fetch the archive again")
    return records


def _accepted(path: Path, sha256: str | None) -> str:
    """The hash of the archive, which is the one asked for or else a known one."""
    try:
        digest = _sha256(path)
    except OSError as error:
        why = f"archive {path} cannot be read ({error.strerror})"
        raise DatasetError(f"{why}; give the path of {CIFAR10_URL}") from error
    if digest not in ([sha256.lower()] if sha256 else CIFAR10_ARCHIVES.values()):
        expected = sha256 or " or ".join(CIFAR10_ARCHIVES.values())
        why = f"archive {path} has SHA-256 {digest}, expected {expected}"
        raise DatasetError(f"{why}; fetch it again, or if it is meant give dataset.sha256")
    return digest


def _select(
    labels: np.ndarray,
    names: Sequence[str],
    classes: Sequence[str | int] | None,
    samples: int | None,
    where: object,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Indices of the chosen images, their labels from 0 on, and the names of the labels."""
    if classes is None:
        kept = list(range(len(names)))
    else:
        known: dict[object, int] = {name: k for k, name in enumerate(names)}
        known |= {k: k for k in range(len(names))}
        unknown = [entry for entry in classes if entry not in known]
        kept = [known[entry] for entry in classes if entry in known]
        if unknown or not kept or len(set(kept)) < len(kept):
            why = f"classes is {list(classes)!r}; it must be null or a list without repetition"
            raise DatasetError(f"{why} of {', '.join(names)}")
    chosen = np.flatnonzero(np.isin(labels, kept))
    samples = chosen.size if samples is None else samples
    if not 1 <= samples <= chosen.size:
        why = f"samples is {samples!r}; {where} has {chosen.size} images of the chosen classes"
        raise DatasetError(f"{why}, so it must be 1 to {chosen.size}")
    chosen = chosen[:samples]
    renumbered = np.zeros(len(names), np.int32)
    renumbered[kept] = np.arange(len(kept))
    return chosen, renumbered[labels[chosen]], [names[k] for k in kept]


def _labelled(
    images: Float[np.ndarray, "sample row column channel"],
    labels: np.ndarray,
    names: list[str],
    places: np.ndarray,
    *,
    over: str | None,
    scaling: str,
    brightest: float,
    attributes: dict[str, Any],
) -> xr.Dataset:
    """The data set, standardised over all values or for each entry of the dimension `over`, or in [0, 1]."""
    dimensions = ("sample", "row", "column", "channel")
    if scaling not in SCALINGS:
        raise DatasetError(f"scaling is {scaling!r}; it must be one of {', '.join(SCALINGS)}")
    if scaling == "unit":
        means, deviations = np.zeros(()), np.full((), brightest)
        how = f"pixels divided by {brightest}, the brightest possible"
    else:
        axes = tuple(k for k, dimension in enumerate(dimensions) if dimension != over)
        means, deviations = images.mean(axes), images.std(axes)
        how = f"mean 0, variance 1 {f'by {over}' if over else 'of all values'}, over the selection"
    if not np.all(deviations > 0):
        why = f"standard deviation of the {images.shape[0]} chosen images is {deviations}"
        raise DatasetError(f"{why}; choose more samples, equal pixels cannot be standardised")
    standardised = ((images - means) / deviations).astype(np.float32)
    target = np.eye(len(names), dtype=np.float32)[labels]
    variables = {
        "image": (dimensions, standardised, {"long_name": "scaled intensity"}),
        "label": ("sample", labels, {"long_name": "place of the class among the chosen ones"}),
        "target": (("sample", "class"), target, {"long_name": "one-hot encoded class"}),
    }
    for _, _, own in variables.values():
        own["units"] = "1"
    place = {"long_name": "place in the stored order, from 0", "units": "1"}
    return xr.Dataset(
        variables,
        {
            "sample": ("sample", places.astype(np.int32), place),
            "class": ("class", names, {"long_name": "class"}),
        },
        attributes
        | {
            "selection": f"first {len(places)} images of the classes {', '.join(names)} "
            "in stored order",
            "scaling": how,
            "means": np.atleast_1d(means),
            "standard_deviations": np.atleast_1d(deviations),
        },
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
