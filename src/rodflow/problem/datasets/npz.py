"""Arrays of a NumPy archive beside the config: inputs and targets of any shape."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

import numpy as np
import xarray as xr

from rodflow.config.declarations import DataSet, value, whole
from rodflow.config.values import Settings
from rodflow.problem.arrays import of_arrays, own_paths
from rodflow.problem.labelled import DatasetError, one_line

DATASET = DataSet(
    title="Arrays of a NumPy archive, as they are; whole numbers stay whole.",
    label="arrays",
    order=10,
    settings={
        "npz": value(
            str, "The archive, relative to the config; ~ is the home folder.", min_length=1
        ),
        "inputs": value(str, "Name of the inputs in it, one row a sample.", "x"),
        "targets": value(str, "Name of the targets in it, one row a sample.", "y"),
        "samples": whole("How many samples, the first ones; null: all.", None, ge=1),
    },
    gives="arrays",
)


_FAULTS = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,  # of a header that claims more than there is
    RuntimeError,  # encrypted, or packed in another way
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What NumPy, zipfile and the parser of headers say of a file that is none, or is damaged."""


def load(
    npz: str, inputs: str, targets: str, own: Settings, samples: int | None = None
) -> xr.Dataset:
    """See `rodflow.problem.labelled.load`; `own` says where the file is, and its hash."""
    (path,) = own_paths(own)
    try:
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in (inputs, targets) if name not in stored]
            if missing:
                raise DatasetError(
                    f"{path}: has no array {missing[0]}; it has {', '.join(stored)}: see dataset.inputs and .targets"
                )
            found = stored[inputs], stored[targets]
    except DatasetError:
        raise
    except _FAULTS as error:
        raise DatasetError(f"{path}: is no NumPy archive of numbers: {one_line(error)}") from error
    return of_arrays(*found, samples, title=f"{inputs} and {targets} of {npz}", source=npz)
