"""Inputs and targets of any shape as a labelled data set, and data of one's own.

data = of_arrays(inputs, targets, title="my data")
data["input"]  # (sample, input_1, ...), float32 or int32
data["target"]  # (sample, ...)
"""

from pathlib import Path

import numpy as np
import xarray as xr

from rodflow.config.loading import call
from rodflow.config.paths import placed
from rodflow.config.reference import OwnError, file_digest
from rodflow.config.values import Settings


def of_arrays(
    inputs: object, targets: object, samples: int | None = None, **attributes: str
) -> xr.Dataset:
    """A data set of arrays, each with a leading axis of samples.

    Args:
        inputs: numbers; whole ones stay whole, as tokens are.
        targets: likewise, of any shape.
        samples: how many, the first ones; None: all.
        attributes: of the data set.

    Returns:
        Variables `input` and `target`, float32 or int32. The attribute `classes` is one more than the largest target,
        where targets are whole numbers from 0 on.

    Raises:
        OwnError: they are no numbers, not finite, whole numbers beyond 32 bits, not equally many, or fewer than
            `samples`.
    """
    found = {"input": _numbers("inputs", inputs), "target": _numbers("targets", targets)}
    sizes = {name: values.shape[0] for name, values in found.items()}
    if sizes["input"] != sizes["target"]:
        raise OwnError(
            f"inputs has {sizes['input']} samples, targets {sizes['target']}; give one target an input"
        )
    if samples is not None and samples > sizes["input"]:
        raise OwnError(f"dataset.samples is {samples}; the data set has {sizes['input']}")
    known: dict[str, object] = dict(attributes)
    target = found["target"]
    if target.dtype.kind == "i" and target.size and target.min() >= 0:
        known["classes"] = int(target.max()) + 1
    variables = {
        name: (
            ("sample", *(f"{name}_{axis}" for axis in range(1, values.ndim))),
            values[:samples],
            {"long_name": f"{name}s of the model", "units": "1"},
        )
        for name, values in found.items()
    }
    return xr.Dataset(variables, attrs=known)


def own_data(settings: Settings) -> xr.Dataset:
    """The data set of code of one's own, which gives inputs and targets.

    Args:
        settings: `name`, the reference; `samples`; `own`, which identifies code and files and says where they are;
            `files`, if it reads some, which it is given as paths; and its arguments.

    Raises:
        OwnError: the code fails, a file has changed, or what it gives is no data set.
    """
    arguments = dict(settings)
    name, own, samples = arguments.pop("name"), arguments.pop("own"), arguments.pop("samples", None)
    arguments.pop("files", None)
    given = call(name, own, arguments, files=own_paths(own))
    if not isinstance(given, tuple) or len(given) != 2:
        raise OwnError(
            f"{name} gives {type(given).__name__}; it must give inputs and targets, two arrays"
        )
    return of_arrays(*given, samples, title=f"data of {name}", source=name)


def own_paths(own: Settings) -> list[Path]:
    """The files of a data set, in the order of the config, as they were when the settings were made.

    Raises:
        OwnError: one is not there, or has changed since.
    """
    folder = Path(own["folder"])
    for file, known in own.get("files", {}).items():
        if file_digest(folder, file) != known:
            raise OwnError(
                f"{placed(file, folder)}: has changed since the settings were made from it; run again"
            )
    return [placed(file, folder) for file in own.get("files", {})]


def _numbers(name: str, values: object) -> np.ndarray:
    try:
        found = np.asarray(values)
    except ValueError as error:
        raise OwnError(f"{name} is no array: {error}") from error
    if found.ndim == 0 or found.dtype.kind not in "fiub" or not found.size:
        raise OwnError(
            f"{name} has shape {found.shape} and dtype {found.dtype}; give numbers with a leading axis of samples"
        )
    if found.dtype.kind in "iub":
        if np.abs(found.astype(np.float64)).max() >= 2**31:
            raise OwnError(f"{name} has whole numbers beyond 32 bits; number them from 0 on")
        return found.astype(np.int32)
    if not np.isfinite(found).all():
        raise OwnError(f"{name} is not finite; leave such samples out")
    return found.astype(np.float32)
