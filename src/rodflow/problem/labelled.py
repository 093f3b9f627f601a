"""Labelled image sets by name, standardised, with their provenance.

    data = load({"name": "digits", "samples": 1000})
    data["image"]  # (sample, row, column, channel), float32, mean 0 and variance 1
    data["target"]  # (sample, class), float32, one-hot

`rodflow.problem.datasets` has a module for each. This one imports no JAX, and the libraries that read a data set only
when it is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from rodflow.config.catalogue import DATASETS
from rodflow.config.reference import is_own
from rodflow.config.values import Settings
from rodflow.errors import RodflowError
from rodflow.problem.arrays import own_data

SCALINGS = ("standard", "unit")


class DatasetError(RodflowError, ValueError):
    """A data set that cannot be had as asked: one line with what, its value and the remedy."""


def load(settings: Settings) -> xr.Dataset:
    """The data set that the settings describe.

    Args:
        settings: ``name`` (a module of `rodflow.problem.datasets`), ``samples`` (how many images, from the
            first on in stored order; null takes all), ``classes`` (keep only these, names or
            numbers, and number them anew in this order; null keeps all) and ``size`` (pixels of a
            side; CIFAR-10 is averaged over square blocks) and ``scaling`` (``standard``: mean 0 and
            variance 1; ``unit``: between 0 and 1); ``test`` (how many images are held out, see
            `with_test`; null for none). For ``cifar10`` also ``archive`` (path
            of a local archive) and ``sha256`` (hash that the archive must have). A data set that takes other
            settings declares them in its module; for one of one's own see `rodflow.problem.arrays.own_data`.

    Returns:
        Variables ``image(sample, row, column, channel)`` float32, standardised: over all its
        values for digits (some of whose pixels never change), by channel for other images;
        ``label(sample)`` int32; ``target(sample, class)`` float32, one-hot. Coordinates: ``class``,
        what the label means, and ``sample``, the image's place in the stored order. Attributes:
        source, licence, citation, the hash of the archive, what was selected, and the ``means``
        and ``standard_deviations`` that standardise it, in units of the stored pixels. Of arrays, a
        text or code of one's own: ``input`` and ``target``, see `rodflow.problem.arrays.of_arrays`.

    Raises:
        DatasetError: a setting, the archive or the download is not as it must be.
        OwnError: code of one's own fails, a file has changed, or what they give is no data set.
        PathError: a path is in a home folder that there is not.
    """
    options = dict(settings)
    if is_own(options.get("name")):
        return own_data(options)
    name = options.pop("name", None)
    if name not in DATASETS:
        raise DatasetError(f"name is {name!r}; it must be one of {', '.join(DATASETS)}")
    read = DATASETS.load(name).load
    allowed = [*signature(read).parameters]
    for key, value in options.items():
        if key not in allowed:
            raise DatasetError(f"{key} is {value!r}, but {name} takes only {', '.join(allowed)}")
    return read(**options)


def select(
    labels: np.ndarray,
    names: Sequence[str],
    classes: Sequence[str | int] | None,
    samples: int | None,
    where: object,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Indices of the chosen images, their labels from 0 on, and the names of the labels.

    Args:
        labels: of all images, places in `names`.
        names: of all classes.
        classes: those to keep, by name or by place, in the order in which they are numbered anew; None keeps all.
        samples: how many images of these classes, the first ones in stored order; None: all.
        where: what they are in, in words, for the error.

    Raises:
        DatasetError: a class is unknown or there twice, none is named, or there are not so many images.
    """
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


def labelled(
    images: Float[np.ndarray, "sample row column channel"],
    labels: np.ndarray,
    names: list[str],
    places: np.ndarray,
    *,
    over: str | None,
    scaling: str,
    brightest: float,
    attributes: Mapping[str, object],
) -> xr.Dataset:
    """The data set as `load` gives it, standardised over all values or for each entry of a dimension, or in [0, 1].

    Args:
        images, places: the chosen ones, in units of the stored pixels, and where they are in the stored order, from 0.
        labels, names: places of their classes among the chosen ones, and what these are called.
        over, attributes: name of that dimension, None for all values; attributes of the data set.
        scaling, brightest: `standard`, mean 0 and variance 1, or `unit`, divided by the largest possible pixel.

    Raises:
        DatasetError: the scaling is another one, or the pixels to be standardised are equal.
    """
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
        {
            **attributes,
            "selection": f"first {len(places)} images of the classes {', '.join(names)} "
            "in stored order",
            "scaling": how,
            "means": np.atleast_1d(means),
            "standard_deviations": np.atleast_1d(deviations),
        },
    )


def with_test(
    data: xr.Dataset,
    images: Float[np.ndarray, "sample row column channel"],
    labels: np.ndarray,
    places: np.ndarray,
    where: str,
) -> xr.Dataset:
    """A data set with images that nothing is trained on, scaled by the numbers of those that are.

    Args:
        data: of `labelled`.
        images: in the units of the stored pixels.
        labels: places of their classes among the chosen ones.
        places: in the stored order.
        where: what they are, in words.

    Returns:
        With ``test_image``, ``test_label`` and ``test_target``, whose first dimension is ``test_sample``.
    """
    scaled = (images - data.attrs["means"]) / data.attrs["standard_deviations"]
    one_hot = np.eye(data.sizes["class"], dtype=np.float32)[labels]
    words = {"units": "1"}
    variables = {
        "test_image": (
            ("test_sample", "row", "column", "channel"),
            scaled.astype(np.float32),
            words | {"long_name": "scaled intensity, by the numbers of the training images"},
        ),
        "test_label": (
            "test_sample",
            labels,
            words | {"long_name": "place of the class among the chosen ones"},
        ),
        "test_target": (
            ("test_sample", "class"),
            one_hot,
            words | {"long_name": "one-hot encoded class"},
        ),
    }
    place = words | {"long_name": "place in the stored order, from 0"}
    return data.assign(variables).assign_coords(
        test_sample=("test_sample", places.astype(np.int32), place)
    ).assign_attrs(test_selection=where)  # fmt: skip


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def one_line(error: Exception) -> str:
    """What an error says, without line feeds."""
    return " ".join(str(error).split())
