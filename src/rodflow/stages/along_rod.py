"""What the rods of a trajectory see along themselves: a curvature, and how far they lie in the leading eigenvectors.

It belongs to the sharpness stage, whose artifact holds it row by row: see `rodflow.dynamics.amplitude` for what is
measured. A snapshot costs two gradients and one Hessian product.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from rodflow.dynamics.amplitude import is_closed, quotient, secant
from rodflow.linalg.curvature import Loss
from rodflow.optimizers.table import Entry
from rodflow.stages.run import preconditioner
from rodflow.store.trajectory import described

MEASURES: Mapping[str, tuple[Callable[..., Array], str]] = {
    "secant": (secant, "secant (g(Z + X) - g(Z - X)) . X / (2 X . P X) along the rod"),
    "quotient": (quotient, "Rayleigh quotient X . H X / X . P X of the rod at its centre"),
}
"""Name -> what computes it, and what it is in words."""


def along_rod(
    loss: Loss, optimizer: Entry, hyperparameters: Mapping[str, float], data: xr.Dataset
) -> xr.Dataset:
    """Secant and Rayleigh quotient of each rod in the metric of P, and both over the threshold, [snapshot].

    Args:
        loss: the full-batch loss of the flat weights.
        optimizer: what is known of the optimizer: its preconditioner and its threshold.
        hyperparameters: of the optimizer.
        data: a trajectory, which may be read snapshot by snapshot.

    Returns:
        NaN where the rod is closed. Nothing at all of a process without rods.
    """
    if "half_extent" not in data:
        return xr.Dataset()
    needed = _needed(data)
    found = np.full((len(MEASURES), data.sizes["snapshot"]), np.nan)
    for index in range(data.sizes["snapshot"]):
        here = needed.isel(snapshot=index).load()
        centre, extent = (jnp.asarray(here[name].values) for name in ("weights", "half_extent"))
        if is_closed(centre, extent):
            continue
        scale = jnp.asarray(preconditioner(optimizer, hyperparameters, here))
        found[:, index] = [f(loss, centre, extent, scale) for f, _ in MEASURES.values()]
    limit = optimizer.limit(**hyperparameters)
    rows = dict(zip(MEASURES, found, strict=True))
    values = {name: ("snapshot", row, described(MEASURES[name][1])) for name, row in rows.items()}
    values |= {
        f"{name}_over_threshold": (
            "snapshot",
            row / limit,
            described(f"{MEASURES[name][1]}, over the stability threshold"),
        )
        for name, row in rows.items()
    }
    return xr.Dataset(values, {"snapshot": data["snapshot"]})


def in_span(
    optimizer: Entry,
    hyperparameters: Mapping[str, float],
    data: xr.Dataset,
    directions: Float[np.ndarray, "snapshot parameter direction"],
    values: Float[np.ndarray, "snapshot direction"],
) -> xr.Dataset:
    """Which part of each rod lies in the span of the leading eigenvectors, and how far down these reach, [snapshot].

    The part is of the squared length in the coordinates P^{1/2} w, in which the eigenvectors u are orthogonal:
    sum (u . P^{1/2} X)^2 / X . P X. A rod may lie in every direction that is at the edge. So the part says something
    where the least of the values is well below the threshold, and none at the edge is left out.

    Args:
        optimizer, hyperparameters: as for `along_rod`.
        data: a trajectory of rods.
        directions: P^{1/2} u of the eigenvectors that were followed, more than are stored.
        values: their eigenvalues.

    Returns:
        NaN where the rod is closed.
    """
    needed = _needed(data)
    part = np.full(data.sizes["snapshot"], np.nan)
    for index in range(data.sizes["snapshot"]):
        here = needed.isel(snapshot=index).load()
        centre, extent = (here[name].values for name in ("weights", "half_extent"))
        if is_closed(jnp.asarray(centre), jnp.asarray(extent)):
            continue
        scale = preconditioner(optimizer, hyperparameters, here).astype(np.float64)
        squared = np.sum(np.where(extent == 0, 0, scale) * extent.astype(np.float64) ** 2)
        part[index] = np.sum((directions[index].T @ extent.astype(np.float64)) ** 2) / squared
    least = np.min(values, axis=1) / optimizer.limit(**hyperparameters)
    words = {
        "rod_in_span": "part of the squared rod in the span of the eigenvectors that were followed",
        "span_reaches": "least of their eigenvalues over the stability threshold",
    }
    rows = zip(words.items(), (part, least), strict=True)
    variables = {name: ("snapshot", row, described(text)) for (name, text), row in rows}
    return xr.Dataset(variables, {"snapshot": data["snapshot"]})


def _needed(data: xr.Dataset) -> xr.Dataset:
    names = ("weights", "half_extent", "second_moment", "gain")
    return data[[name for name in names if name in data]]
