"""The curvature that the rods of a trajectory see along themselves, beside the largest one that there is.

It belongs to the sharpness stage, whose artifact holds it row by row: see `rodflow.dynamics.amplitude` for what is
measured. A snapshot costs two gradients and one Hessian product.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

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
    needed = data[[n for n in ("weights", "half_extent", "second_moment", "gain") if n in data]]
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
