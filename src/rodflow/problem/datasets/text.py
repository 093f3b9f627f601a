"""A text beside the config, character by character: what comes next after each."""

from __future__ import annotations

import numpy as np
import xarray as xr

from rodflow.config.declarations import CONTEXT, DataSet, value, whole
from rodflow.config.values import Settings
from rodflow.problem.arrays import of_arrays, own_paths
from rodflow.problem.labelled import DatasetError, one_line

DATASET = DataSet(
    title="A text file: sequences of characters, the target of each the next one.",
    label="text",
    order=12,
    settings={
        "text": value(
            str, "The file, UTF-8, relative to the config; ~ is the home folder.", min_length=1
        ),
        "context": CONTEXT,
        "samples": whole("How many sequences, from the first on; null: all.", None, ge=1),
    },
    gives="text",
    numbers=lambda settings: 64 * settings["context"],
)


def load(text: str, own: Settings, context: int, samples: int | None = None) -> xr.Dataset:
    """See `rodflow.problem.labelled.load`; `own` says where the file is, and its hash."""
    (path,) = own_paths(own)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as text: {one_line(error)}") from error
    return sequences(content, context, samples, title=f"characters of {text}", source=text)


def sequences(content: str, context: int, samples: int | None, **attributes: str) -> xr.Dataset:
    """Sequences that follow one another, with the next character of each as its target.

    Args:
        content: the text.
        context: characters in a sequence.
        samples: how many sequences, from the first on; None: all.
        attributes: of the data set, `source` among them.

    Returns:
        `input(sample, input_1)` and `target(sample, target_1)`, int32, places in the vocabulary; the attribute
        `vocabulary` has the characters of the sequences in order.

    Raises:
        DatasetError: the text is too short.
    """
    known = (len(content) - 1) // context if content else 0
    if known < (samples or 1):
        wanted = (
            f"dataset.context is {context}" if samples is None else f"dataset.samples is {samples}"
        )
        raise DatasetError(
            f"{wanted}; {attributes['source']} has {known} sequences of {context} characters"
        )
    used = content[: (samples or known) * context + 1]
    vocabulary = sorted(set(used))
    places = {sign: place for place, sign in enumerate(vocabulary)}
    tokens = np.array([places[sign] for sign in used], np.int32)
    shape = (-1, context)
    data = of_arrays(tokens[:-1].reshape(shape), tokens[1:].reshape(shape), None, **attributes)
    return data.assign_attrs(classes=len(vocabulary), vocabulary="".join(vocabulary))
