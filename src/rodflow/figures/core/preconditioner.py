"""The inner product a . P b in which the leading eigenvectors of an optimizer are orthogonal."""

import numpy as np
import xarray as xr

from rodflow.config.values import Settings
from rodflow.store.results import DISCRETE, StoredRun


def preconditioner(trajectory: xr.Dataset, optimizer: Settings) -> xr.DataArray:
    """The diagonal of P, [snapshot, parameter], or [snapshot] where it is one number for all weights.

    The inverse of the critical gain where that is stored (optimizers whose threshold has no
    formula), sqrt(second moment) + eps where there is a second moment, and 1 otherwise; as
    `rodflow.stages.run.preconditioner`, from which the eigenvectors are. Equation: docs/theory.md, section 2.

    Args:
        trajectory: with `gain` or `second_moment` at its snapshots, or neither.
        optimizer: the hyperparameters of the run.
    """
    if "gain" in trajectory:
        return 1 / trajectory["gain"].astype(np.float64)
    if "second_moment" in trajectory:
        root: xr.DataArray = trajectory["second_moment"].astype(np.float64) ** 0.5
        return root + optimizer["eps"]
    return xr.ones_like(trajectory["snapshot"], np.float64)


def preconditioner_spread(run: StoredRun) -> xr.Dataset:
    """Geometric mean and quartiles of P over the weights, along the discrete run, [snapshot].

    Weights that never get a gradient, as those of a pixel that is black in all images, are left out: their second
    moment stays 0. The attribute `left_out` says which fraction of all they are.
    """
    trajectory, given = run.trajectory(DISCRETE), run.settings["optimizer"]
    kept: np.ndarray | slice = slice(None)
    left_out = 0.0
    moment = trajectory.get("second_moment")
    if moment is not None and "parameter" in moment.dims:
        moved = (moment > 0).any("snapshot").values
        if moved.any():
            kept, left_out = moved, float(1 - moved.mean())
    rows = []
    for place in range(trajectory.sizes["snapshot"]):  # one by one, since they are in float64
        values = np.ravel(preconditioner(trajectory.isel(snapshot=[place]), given).values)[kept]
        with np.errstate(invalid="ignore"):  # of a run that diverges
            rows.append([np.exp(np.log(values).mean()), *np.quantile(values, [0.25, 0.75])])
    table = np.reshape(rows, (-1, 3))
    names = ("geometric_mean", "lower_quartile", "upper_quartile")
    return xr.Dataset(
        {name: ("snapshot", table[:, column]) for column, name in enumerate(names)},
        {"snapshot": trajectory["snapshot"].values},
        {"left_out": left_out},
    )
