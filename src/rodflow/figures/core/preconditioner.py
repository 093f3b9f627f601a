"""The inner product a . P b in which the leading eigenvectors of an optimizer are orthogonal."""

from typing import Any

import numpy as np
import xarray as xr


def preconditioner(trajectory: xr.Dataset, optimizer: dict[str, Any]) -> xr.DataArray:
    """The diagonal of P, [snapshot, parameter], or [snapshot] where it is one number for all weights.

    The inverse of the alternating gain where that is stored (optimizers whose threshold has no
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
