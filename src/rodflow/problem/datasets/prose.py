"""Prose that needs no file: pages of the Python language reference that every Python has with it (`pydoc_data`).

The pages are those that Python 3.11, 3.12 and 3.13 have with the same words. Another Python may have others, so the
text is held against a hash.
"""

from __future__ import annotations

import hashlib
import platform

import xarray as xr

from rodflow.config.declarations import CONTEXT, DataSet, text, whole
from rodflow.problem.datasets.text import sequences
from rodflow.problem.labelled import DatasetError

DATASET = DataSet(
    title="Pages of the Python language reference: sequences of characters, the target of each the next one.",
    label="prose",
    order=3,
    settings={
        "context": CONTEXT,
        "samples": whole("How many sequences, from the first on.", 256, ge=1),
        "sha256": text(
            "64 hexadecimal digits, the SHA-256 of the text; null: that of Python 3.11 to 3.13.",
            pattern="^[0-9a-fA-F]{64}$",
        ),
    },
    gives="text",
    numbers=lambda settings: 64 * settings["context"],
)

PAGES = (
    *("comparisons", "import", "calls", "exceptions", "with", "for", "in", "context-managers"),
    *("slicings", "id-classes", "global"),
)
SHA256 = "286b0270b769c009efd42f54cc6c8dd605e9ef19ea70fccdde6546eb906a31a7"
"""Of the pages, their words separated by single blanks and the pages by line ends."""


def load(context: int = 32, samples: int | None = 256, sha256: str | None = None) -> xr.Dataset:
    """See `rodflow.problem.labelled.load`."""
    from pydoc_data.topics import topics

    pages = [" ".join(topics.get(page, "").split()) for page in PAGES]
    content = "\n".join(pages)
    found, expected = hashlib.sha256(content.encode()).hexdigest(), (sha256 or SHA256).lower()
    if found != expected:
        raise DatasetError(
            f"the reference pages of Python {platform.python_version()} have SHA-256 {found}, expected {expected}; "
            f"take Python 3.11 to 3.13, or if they are meant give dataset.sha256"
        )
    return sequences(
        content,
        context,
        samples,
        title="pages of the Python language reference",
        source=f"pydoc_data.topics of Python {platform.python_version()}: {', '.join(PAGES)}",
        license="PSF License Version 2",
        archive_sha256=found,
    )
