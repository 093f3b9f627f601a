"""Images in a folder beside the config, each class in a folder of its name within."""

from __future__ import annotations

from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
import xarray as xr

from rodflow.config.declarations import DataSet, choice, value, whole
from rodflow.config.values import Settings
from rodflow.problem.arrays import own_paths
from rodflow.problem.labelled import DatasetError, labelled, one_line, select

DATASET = DataSet(
    title="PNG or JPEG images in a folder, each class in a folder of its name within.",
    label="images",
    order=11,
    settings={
        "folder": value(
            str, "The folder, relative to the config; ~ is the home folder.", min_length=1
        ),
        "size": whole("Side in pixels to which images are scaled.", 32, ge=1, le=1024),
        "colours": choice("Colour channels: 1 for grey, 3 for red, green and blue.", 3, 1, 3),
        "samples": whole("How many images, of each class in turn; null: all.", None, ge=1),
        "scaling": choice(
            "Pixels of mean 0 and variance 1 (standard), or between 0 and 1 (unit).",
            "standard",
            "standard",
            "unit",
        ),
    },
    numbers=lambda settings: settings["colours"] * settings["size"] ** 2,
)

_SUFFIXES = (".png", ".jpg", ".jpeg")


def load(
    folder: str,
    own: Settings,
    size: int = 32,
    colours: int = 3,
    samples: int | None = None,
    scaling: str = "standard",
) -> xr.Dataset:
    """See `rodflow.problem.labelled.load`; `own` says where the folder is, and its hash.

    Images are in the order of their names, of each class in turn, so that the first ones are of all classes.
    """
    (path,) = own_paths(own)
    classes = sorted(one.name for one in path.iterdir() if one.is_dir() and _images(one))
    if not classes:
        raise DatasetError(
            f"{path}: has no folder with PNG or JPEG images; make one for each class"
        )
    turns = zip_longest(*([(k, one) for one in _images(path / n)] for k, n in enumerate(classes)))
    named = [one for one in chain.from_iterable(turns) if one is not None]
    labels = np.array([label for label, _ in named], np.int32)
    chosen, kept, names = select(labels, classes, None, samples, path)
    images = np.stack([_pixels(named[at][1], size, colours) for at in chosen])
    return labelled(
        images,
        kept,
        names,
        chosen,
        over="channel",
        scaling=scaling,
        brightest=255,
        attributes={
            "title": f"images of {folder}, {size} x {size} pixels",
            "source": folder,
            "down_sampling": "box filter",
        },
    )


def _images(folder: Path) -> list[Path]:
    """Its images; what is no file, such as a FIFO, would be waited for."""
    return sorted(
        one for one in folder.iterdir() if one.suffix.lower() in _SUFFIXES and one.is_file()
    )


def _pixels(path: Path, size: int, colours: int) -> np.ndarray:
    """One image, [row, column, channel], from 0 to 255."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            scaled = image.convert("L" if colours == 1 else "RGB").resize(
                (size, size), Image.Resampling.BOX
            )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path}: cannot be read as an image: {one_line(error)}") from error
    return np.asarray(scaled, np.float64).reshape(size, size, colours)
