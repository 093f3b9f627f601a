"""A trajectory as a labelled data set: one process of one run.

Dimensions: `step` (every step observed), `snapshot` (the steps at which weights are kept), `parameter` (the flat
weights) and, in a discrete run, `consecutive` (the three states from which flows start) and, of a network with
scale-invariant kernels, `kernel`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

LONG_NAMES = {
    "loss": "full-batch loss at the weights or at the flow's centre",
    "loss_plus": "full-batch loss at the rod's end Z + X",
    "loss_minus": "full-batch loss at the rod's end Z - X",
    "gradient_norm": "norm of the full-batch gradient",
    "rod_length": "norm of the weights' half-extent ||X_w||",
    "averaged_loss": "loss averaged over the oscillation, L + <H, Sigma> / 2",
    "averaged_squared_gradient": "squared gradient averaged over the oscillation, |g|^2 + tr H Sigma H",
    "oscillation": "root mean square of the oscillation of the weights, (tr Sigma)^(1/2)",
    "squared_norm": "squared norm ||W[t]||^2 of a scale-invariant kernel",
    "squared_update": "squared norm ||W[t+1] - W[t]||^2 of the step from here, of a scale-invariant kernel",
    "radial": "component <W[t], W[t+1] - W[t]> of the step from here along a scale-invariant kernel, times its norm",
    "alignment": "cosine <W, g> / (|W| |g|) of a scale-invariant kernel and the gradient that the step from here sees",
    "tracked": "directions near the threshold that take part in the complementarity problem",
    "untracked": "1 where a direction is at the threshold that takes no part in it",
    "unsolved": "complementarity problems of the unit of time that were not solved",
    "gradients": "gradients evaluated in the unit of time",
    "hessian_products": "Hessian-vector products formed in the unit of time",
    "third_derivatives": "third derivatives of the loss along two directions formed in the unit of time",
    "weights": "flat weights: midpoint (w[t-1] + 2 w[t] + w[t+1]) / 4 of the iterates, or centre of the flow",
    "half_extent": "half-extent of the weights: (2 w[t] - w[t-1] - w[t+1]) / 4 of the iterates, or X_w of the flow",
    "iterate": "flat weights w[t] of the optimizer itself",
    "second_moment": "bias-corrected second moment of the optimizer",
    "gain": "alternating gain of the optimizer's linearised map, the inverse of its preconditioner",
}
"""What the variables of a trajectory are. All are dimensionless."""


def trajectory(
    steps: np.ndarray,
    series: Mapping[str, np.ndarray],
    snapshot_steps: np.ndarray,
    snapshots: Mapping[str, np.ndarray],
    *,
    process: str,
    title: str,
    attributes: Mapping[str, Any] | None = None,
    kernels: Sequence[str] = (),
) -> xr.Dataset:
    """Label a recording.

    Args:
        steps: [step] int; series: name -> [step] or [step, kernel] float.
        snapshot_steps: [snapshot] int; snapshots: name -> [snapshot] or [snapshot, parameter] float.
        process: "discrete" or the name of a flow.
        title: one line that says what it is.
        attributes: further global attributes.
        kernels: names of the scale-invariant kernels, if some series are of them.
    """
    data: dict[str, Any] = {
        name: (("step", "kernel")[: values.ndim], values, _describe(name))
        for name, values in series.items()
    }
    for name, values in snapshots.items():
        data[name] = (("snapshot", "parameter")[: values.ndim], values, _describe(name))
    coordinates: dict[str, Any] = {
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
        leaves: (name in the state, values with a leading axis of three), in the order of the state's pytree.
        start: the middle step.
    """
    states = {
        f"state_{index}": (
            ("consecutive", "parameter")[: values.ndim],
            values,
            described(f"optimizer state around the start of the flows: {name}"),
        )
        for index, (name, values) in enumerate(leaves)
    }
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


def _describe(name: str) -> dict[str, str]:
    return described(LONG_NAMES[name])


def described(what: str) -> dict[str, str]:
    """The attributes of a variable or coordinate without a dimension: what it is, and unit 1."""
    return {"long_name": what, "units": "1"}
