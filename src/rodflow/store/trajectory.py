"""A trajectory as a labelled data set: one process of one run.

Dimensions: `step` (every step observed), `snapshot` (the steps at which weights are kept), `parameter` (the flat
weights) and, in a discrete run, `consecutive` (the three states from which flows start) and, of a network with
scale-invariant kernels, `kernel`. What a flow shows at every step besides, its declaration says in words.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from rodflow.config.catalogue import FLOWS
from rodflow.config.declarations import ROD
from rodflow.errors import RodflowError

Variable = tuple[str | tuple[str, ...], np.ndarray, Mapping[str, str]]
"""Dimensions, values and attributes, as xarray takes them."""

LONG_NAMES = {
    "loss": "full-batch loss at the weights or at the flow's centre",
    "gradient_norm": "norm of the full-batch gradient",
    "rod_length": ROD["rod_length"],
    "squared_norm": "squared norm ||W[t]||^2 of a scale-invariant kernel",
    "squared_update": "squared norm ||W[t+1] - W[t]||^2 of the step from here, of a scale-invariant kernel",
    "radial": "component <W[t], W[t+1] - W[t]> of the step from here along a scale-invariant kernel, times its norm",
    "alignment": "cosine <W, g> / (|W| |g|) of a scale-invariant kernel and the gradient that the step from here sees",
    "weights": "flat weights: midpoint (w[t-1] + 2 w[t] + w[t+1]) / 4 of the iterates, or centre of the flow",
    "half_extent": "half-extent of the weights: (2 w[t] - w[t-1] - w[t+1]) / 4 of the iterates, or X_w of the flow",
    "multiplier": "multiplier ||(F(Z + X) - F(Z - X)) / 2|| / ||X|| of the rod, in the weights; NaN of a closed one",
    "iterate": "flat weights w[t] of the optimizer itself",
    "full_loss": "full-batch loss at the iterate of a run on minibatches",
    "batch_sharpness": "mean over batches of g . H g / |g|^2, with gradient and Hessian of the batch, at the iterate",
    "test_loss": "loss on the test set, at the optimizer's own weights or at the flow's centre",
    "test_accuracy": "share of the test set that is classified right, at the same weights",
    "second_moment": "bias-corrected second moment of the optimizer",
    "gain": "critical gain of the optimizer's linearised map, the inverse of its preconditioner",
    "angle": "angle by which the first unstable mode turns in a step, in radians; pi where it alternates",
}
"""What the variables are that a discrete run has, or any process. All are dimensionless."""


class TrajectoryError(RodflowError, ValueError):
    """A recording that cannot be labelled; one line says what is missing and where."""


def trajectory(
    steps: np.ndarray,
    series: Mapping[str, np.ndarray],
    snapshot_steps: np.ndarray,
    snapshots: Mapping[str, np.ndarray],
    *,
    process: str,
    title: str,
    attributes: Mapping[str, str | float] | None = None,
    kernels: Sequence[str] = (),
) -> xr.Dataset:
    """Label a recording.

    Args:
        steps: [step] int, the steps of the series.
        series: name -> [step] or [step, kernel] float.
        snapshot_steps: [snapshot] int, the steps of the snapshots.
        snapshots: name -> [snapshot] or [snapshot, parameter] float.
        process: "discrete" or the name of a flow.
        title: one line that says what it is.
        attributes: further global attributes.
        kernels: names of the scale-invariant kernels, if some series are of them.

    Raises:
        TrajectoryError: a variable is one that neither every process has nor the flow declares.
    """
    words = {**LONG_NAMES, **(FLOWS[process].series if process in FLOWS else {})}
    for name in (*series, *snapshots):
        if name not in words:
            raise TrajectoryError(
                f"{process} shows {name}, which has no words; name it in `series` of its declaration FLOW"
            )
    data: dict[str, Variable] = {
        name: (("step", "kernel")[: values.ndim], values, described(words[name]))
        for name, values in series.items()
    }
    for name, values in snapshots.items():
        data[name] = (("snapshot", "parameter")[: values.ndim], values, described(words[name]))
    coordinates: dict[str, Variable] = {
        "step": ("step", steps.astype(np.int64), described("optimizer step")),
        "snapshot": (
            "snapshot",
            snapshot_steps.astype(np.int64),
            described("optimizer step at which weights are kept"),
        ),
    }
    if kernels:
        what = "parameters, as wholes, on whose scale the loss does not depend"
        coordinates["kernel"] = ("kernel", np.asarray(kernels, str), described(what))
    return xr.Dataset(data, coordinates, {"title": title, "process": process, **(attributes or {})})


def with_states(data: xr.Dataset, leaves: list[tuple[str, np.ndarray]], start: int) -> xr.Dataset:
    """Add the optimizer states at start - 1, start and start + 1, leaf by leaf.

    Args:
        data: a discrete run.
        leaves: (name in the state, values with a leading axis of three), in the order of the state's pytree. What is
            neither a number nor as long as the weights is stored as one row of entries.
        start: the middle step.
    """
    states = {}
    for index, (name, values) in enumerate(leaves):
        rows = values.reshape(len(values), -1) if values.ndim > 1 else values
        entries = "parameter" if rows[0].size == data.sizes["parameter"] else f"entry_{index}"
        states[f"state_{index}"] = (
            ("consecutive", entries)[: rows.ndim],
            rows,
            described(f"optimizer state around the start of the flows: {name}"),
        )
    coordinate = (
        "consecutive",
        np.arange(start - 1, start + 2),
        described("optimizer step of the states around the start of the flows"),
    )
    return data.assign(states).assign_coords(consecutive=coordinate)


def states(data: xr.Dataset) -> list[np.ndarray]:
    """The leaves that `with_states` stored, in order, each with a leading axis of three; empty if there are none."""
    found: list[np.ndarray] = []
    while (name := f"state_{len(found)}") in data:
        found.append(data[name].values)
    return found


def described(what: str) -> dict[str, str]:
    """The attributes of a variable or coordinate without a dimension: what it is, and unit 1."""
    return {"long_name": what, "units": "1"}
