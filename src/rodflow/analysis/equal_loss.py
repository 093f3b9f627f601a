"""The curvature that runs have reached when their losses are equal, from labelled series alone.

Losses go by their moving average (`rodflow.analysis.equilibrium.moving_average`), since they oscillate. *Equal loss* of
several runs is the largest of their last averages, which all of them reach.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from rodflow.analysis.equilibrium import WINDOW, moving_average


class Place(NamedTuple):
    """Where a run first has a loss.

    Attributes:
        step: the last step of the moving average that is as low.
        sharpness: the geometric mean of the raw sharpness at the snapshots in the `WINDOW` steps before it.
    """

    step: float
    sharpness: float


NOWHERE = Place(float("nan"), float("nan"))


def equal_loss(losses: Sequence[xr.DataArray]) -> float:
    """The largest of the last moving averages of some losses, each [step]; NaN where one is too short for any."""
    averages = [moving_average(loss) for loss in losses]
    if not averages or not all(average.size for average in averages):
        return float("nan")
    return max(float(average[-1]) for average in averages)


def curvature_at(loss: float, losses: xr.DataArray, sharpness: xr.DataArray) -> Place:
    """Where the moving average of a run's loss is first at most so much; `NOWHERE` if it never is.

    Nor is there a place where the raw sharpness is not positive, which has no geometric mean.

    Args:
        loss: see above.
        losses: of the run, [step].
        sharpness: its raw sharpness, [snapshot].
    """
    average = moving_average(losses)
    there = average["step"].values[average.values <= loss]
    if not there.size:
        return NOWHERE
    near = sharpness.sel(snapshot=slice(there[0] - WINDOW, there[0])).values
    if not near.size or not (near > 0).all():
        return NOWHERE
    return Place(float(there[0]), float(np.exp(np.log(near.astype(np.float64)).mean())))
