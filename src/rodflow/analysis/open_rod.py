"""What a run holds while its rod is open, from labelled series alone.

A rod *opens* at the first step from t0 on at which it is half as long as the longest from there
(`rodflow.analysis.comparison.oscillation_onset`). It is *open* at the snapshots from then on at which it is longer than
a tenth of the longest. Both were fixed before any run was looked at.
"""

import numpy as np
import xarray as xr

from rodflow.analysis.comparison import oscillation_onset
from rodflow.analysis.edge import CLOSED, Spread, spread_of

FEWEST = 3
"""Snapshots of an open rod below which nothing is said of a run."""


def snapshots_open(length: xr.DataArray, snapshots: np.ndarray, since: int) -> np.ndarray:
    """Those of some snapshots at which a rod is open.

    Args:
        length: of the rod, [step].
        snapshots: their steps, increasing.
        since: t0.
    """
    kept = np.intersect1d(snapshots, length["step"])
    later = length.sel(step=slice(since, None))
    if np.isnan(opened := oscillation_onset(length, since)):
        return kept[:0]
    longest = float(later.max())
    kept = kept[kept >= opened]
    return kept[length.sel(step=kept).values > CLOSED * longest]


def held(values: xr.DataArray, snapshots: np.ndarray) -> Spread:
    """How a quantity, [snapshot], is spread over some of its snapshots; NaN where fewer than `FEWEST` are finite.

    Args:
        values: the quantity, [snapshot].
        snapshots: steps of those that count, such as from `snapshots_open`; a step that `values` lacks does not.
    """
    chosen = values.sel(snapshot=np.intersect1d(snapshots, values["snapshot"])).values
    found = spread_of(chosen[np.isfinite(chosen)])
    return found if found.size >= FEWEST else spread_of(chosen[:0])._replace(size=found.size)
