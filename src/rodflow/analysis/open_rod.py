"""What a run holds while its rod is open, from labelled series alone.

A rod *opens* at the first step from t0 on at which it is half as long as the longest from there
(`rodflow.analysis.comparison.oscillation_onset`). It is *open* at the snapshots from then on at which it is longer than
a tenth of the longest. Both were fixed before any run was looked at.
"""

from typing import NamedTuple

import numpy as np
import xarray as xr

from rodflow.analysis.comparison import oscillation_onset

OPEN = 0.1
"""Of the longest rod, what a rod must exceed to be open."""

FEWEST = 3
"""Snapshots of an open rod below which nothing is said of a run."""


class Held(NamedTuple):
    """What a quantity does over the snapshots of an open rod.

    Attributes:
        mean: over them.
        low, high: its quantiles at 10 and 90%.
        found: how many there are. With fewer than `FEWEST` the others are NaN.
    """

    mean: float
    low: float
    high: float
    found: int


def snapshots_open(length: xr.DataArray, snapshots: np.ndarray, since: int) -> np.ndarray:
    """Those of some snapshots at which a rod is open.

    Args:
        length: of the rod, [step].
        snapshots: their steps, increasing.
        since: t0.
    """
    kept = np.intersect1d(snapshots, length["step"])
    later = length.sel(step=slice(since, None))
    if not later.size or np.isnan(opened := oscillation_onset(length, since)):
        return kept[:0]
    longest = float(later.max())
    kept = kept[kept >= opened]
    return kept[length.sel(step=kept).values > OPEN * longest]


def held(values: xr.DataArray, snapshots: np.ndarray) -> Held:
    """Mean and quantiles of a quantity, [snapshot], at some of its snapshots; those without a number do not count."""
    chosen = values.sel(snapshot=np.intersect1d(snapshots, values["snapshot"])).values
    chosen = chosen[np.isfinite(chosen)].astype(np.float64)
    if chosen.size < FEWEST:
        return Held(np.nan, np.nan, np.nan, chosen.size)
    low, high = np.quantile(chosen, [0.1, 0.9])
    return Held(float(chosen.mean()), float(low), float(high), chosen.size)
