"""scikit-learn's 8 x 8 digits, which are installed with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from rodflow.config.declarations import DataSet, choice, test, whole
from rodflow.problem.labelled import DatasetError, labelled, select, sha256_of, with_test

DATASET = DataSet(
    title="scikit-learn's digits.",
    label="digits",
    order=1,
    settings={
        "samples": whole(
            "How many images, from the first on; the set has 1797.", 1000, ge=1, le=1797
        ),
        "size": choice("Side of an image in pixels; the digits have only one.", 8, 8),
        "scaling": choice(
            "Pixels of mean 0 and variance 1 (standard), or between 0 and 1 (unit).",
            "standard",
            "standard",
            "unit",
        ),
        "test": test(1796),
    },
)


def load(
    samples: int | None = None,
    classes: Sequence[int] | None = None,
    size: int = 8,
    scaling: str = "standard",
    test: int | None = None,
) -> xr.Dataset:
    """See `rodflow.problem.labelled.load`."""
    import sklearn.datasets
    from sklearn.datasets import data as stored

    if size != 8:
        raise DatasetError(f"size is {size!r}; the digits have 8 x 8 pixels, so it must be 8")
    digits = sklearn.datasets.load_digits()
    names = [str(name) for name in digits.target_names]
    chosen, labels, kept = select(digits.target, names, classes, samples, "digits")
    archive = Path(stored.__path__[0]) / "digits.csv.gz"
    data = labelled(
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
            "archive_sha256": sha256_of(archive),
        },
    )
    if test is None:
        return data
    every, label, _ = select(digits.target, names, classes, None, "digits")
    left = every.size - chosen.size
    if test > left:
        raise DatasetError(
            f"test is {test}; the digits have {left} images beside the {chosen.size} samples: ask for so many at most"
        )
    held = slice(chosen.size, chosen.size + test)
    where = f"the {test} images of these classes that follow in stored order"
    return with_test(
        data, digits.images[every[held]][..., np.newaxis], label[held], every[held], where
    )
