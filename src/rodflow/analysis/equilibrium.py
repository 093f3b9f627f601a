"""Numbers of the edge-of-stability papers, from labelled series alone: what figures draw and claims judge.

A run is *at the edge* from the snapshot at which its sharpness reaches the threshold: with squared error to its end,
with cross-entropy, where the sharpness falls once every sample is fitted, to the last time the threshold is reached.

Sources: Cohen et al. 2021 (arXiv 2103.00065) and 2022 (2207.14484).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

WINDOW = 50
"""Steps of the moving average in which the short-term ups and downs of a loss cancel."""


def at_edge(ratio: xr.DataArray, criterion: str, since: int = 0) -> xr.DataArray:
    """The part of sharpness over threshold, [snapshot], at which a run is at the edge; empty if it never is.

    Args:
        ratio: sharpness over threshold.
        criterion: "mse" or "cross_entropy".
        since: the first snapshot that counts.
    """
    later = ratio.dropna("snapshot").sel(snapshot=slice(since, None))
    reached = later["snapshot"].values[later.values >= 1]
    if not reached.size:
        return later.isel(snapshot=slice(0, 0))
    last = last_reached(ratio) if criterion == "cross_entropy" else None
    return later.sel(snapshot=slice(reached[0], last))


def last_reached(ratio: xr.DataArray) -> float:
    """The last snapshot at which the sharpness reaches the threshold; NaN if it never does."""
    reached = ratio["snapshot"].values[ratio.values >= 1]
    return float(reached[-1]) if reached.size else float("nan")


def moving_average(loss: xr.DataArray, window: int = WINDOW) -> xr.DataArray:
    """Means over `window` steps, [step], each at the last of them.

    Args:
        loss: or another series, [step].
        window: how many steps each mean is over.

    Returns:
        In float64, from the step on at which a window is full; empty of a shorter series.
    """
    if loss.sizes["step"] < window:
        return loss.astype(np.float64).isel(step=slice(0))
    return loss.astype(np.float64).rolling(step=window).mean().dropna("step")


class Restlessness(NamedTuple):
    """How a loss moves.

    Attributes:
        rising: fraction of the steps on which it rises.
        falling: of those steps, the fraction on which its moving average falls; NaN if it never rises.
    """

    rising: float
    falling: float


def restlessness(loss: xr.DataArray, first: float, last: float) -> Restlessness:
    """How a loss, [step], moves from step to step between two steps, and in the long run.

    Rises within the rounding of float32 do not count, nor steps before the first two moving averages.

    Args:
        loss: of the iterates, [step].
        first, last: the steps between which changes count, each at the later of its two steps.
    """
    here = loss.astype(np.float64)
    change = here.diff("step").sel(step=slice(first, last))
    rounding = np.finfo(np.float32).eps * here.sel(step=change["step"])
    steady = moving_average(loss).diff("step")
    change, rounding, steady = xr.align(change, rounding, steady, join="inner")
    rises = (change > rounding).values
    if not rises.any():
        return Restlessness(0.0, float("nan"))
    return Restlessness(float(rises.mean()), float((steady.values[rises] < 0).mean()))


def growth(values: xr.DataArray) -> float:
    """By which factor positive values, [snapshot], grow from their first to their last step, in the long run.

    From the straight line of least squares through their logarithms. NaN of fewer than three.
    """
    if values.size < 3:
        return float("nan")
    steps = values["snapshot"].values.astype(np.float64)
    slope = np.polyfit(steps, np.log(values.values.astype(np.float64)), 1)[0]
    return float(np.exp(slope * (steps[-1] - steps[0])))


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean of seeds and its standard error, which is NaN of one seed."""
    several = len(values) > 1
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if several else np.nan
    return float(np.mean(values)), float(error)
