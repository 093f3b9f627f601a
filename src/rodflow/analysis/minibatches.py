"""Numbers of minibatch training, from labelled series alone: its level, whether that is settled, the gap's law.

The *level* is the time average of sharpness over threshold in the last quarter of a run. It is *settled* where its
trend over the last third is within twice its standard error (docs/evidence.md, rule 9).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

BLOCKS = 6
"""Parts of the last third whose means the trend is taken through."""


class Trend(NamedTuple):
    """How a series changes over the last third of a run, and the standard error of that."""

    change: float
    error: float

    @property
    def settled(self) -> bool:
        """Whether there is no trend that its error would not explain."""
        return abs(self.change) < 2 * self.error


def trend(values: xr.DataArray, steps: int) -> Trend:
    """The change of a series, [snapshot], over the last third of a run of so many steps; NaN of fewer than six values.

    By the straight line of least squares through the means of six blocks, which are long against what is correlated.

    Args:
        values: the series, [snapshot].
        steps: the length of the run.
    """
    late = values.dropna("snapshot").sel(snapshot=slice(np.ceil(2 * steps / 3), None)).values
    if late.size < BLOCKS:
        return Trend(np.nan, np.nan)
    means = np.array([block.mean() for block in np.array_split(late.astype(np.float64), BLOCKS)])
    at = np.arange(BLOCKS) - (BLOCKS - 1) / 2
    slope = at @ means / (at @ at)
    left = means - means.mean() - slope * at
    error = np.sqrt(left @ left / (BLOCKS - 2) / (at @ at))
    return Trend(float(BLOCKS * slope), float(BLOCKS * error))


def run_loss(series: xr.Dataset) -> xr.DataArray:
    """The full-batch loss of the iterates at the snapshots, of a discrete run on minibatches or on all samples."""
    if "full_loss" in series:
        return series["full_loss"].astype(np.float64)
    kept = np.intersect1d(series["snapshot"], series["step"])
    return series["loss"].sel(step=kept).rename(step="snapshot").astype(np.float64)


def modelled_loss(series: xr.Dataset) -> xr.DataArray:
    """The loss that a flow predicts for the iterates, [step]: the mean over its two copies, or the ends of its rod."""
    return (series["loss_plus"].astype(np.float64) + series["loss_minus"]) / 2


def late_mean(values: xr.DataArray, steps: int) -> float:
    """Time average over the last quarter of a run of so many steps, of values over steps or snapshots.

    Args:
        values: along one dimension, `step` or `snapshot`.
        steps: the length of the run.
    """
    (dim,) = values.dims
    return float(values.sel({dim: slice(np.ceil(0.75 * steps), None)}).mean())


def gap_exponent(sizes: Sequence[float], levels: Sequence[float], full: float) -> float:
    """The power of the batch size with which the gap 1 - level / full closes; -1 is the law of 1 / batch.

    From the line of least squares through the logarithms. NaN where a level is not below that of the full batch, or of
    fewer than three.

    Args:
        sizes: of the batches.
        levels: the level at each.
        full: the level with all samples in a batch.
    """
    gaps = 1 - np.asarray(levels) / full
    if len(gaps) < 3 or (gaps <= 0).any():
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(gaps), 1)[0])


def inversions(one: Mapping[float, float], other: Mapping[float, float]) -> int:
    """How many pairs of batch sizes have their levels in another order in one mapping than in the other.

    Args:
        one, other: batch size -> level; a size that only one of them has does not count.
    """
    sizes = sorted(one.keys() & other.keys())
    pairs = [(a, b) for index, a in enumerate(sizes) for b in sizes[index + 1 :]]
    return sum((one[a] < one[b]) != (other[a] < other[b]) for a, b in pairs)
