"""Where a run is at the edge of stability, by one rule, and what is measured there.

The *window* reaches from the opening of the rod to the end of the run. The rod opens at the first step, from the onset
of the threshold on, at which it is half as long as the longest from there (`comparison.oscillation_onset`). It is
*closed* at a step where it is shorter than a tenth of the longest in the window. A run whose rod is closed on more than
half of the window's steps is not at the edge, whatever its sharpness: it is a run below its threshold.

No claim about the edge chooses another window. The rule is in `docs/evidence.md`.
"""

import math
from typing import NamedTuple

import numpy as np
import xarray as xr

from rodflow.analysis.comparison import oscillation_onset

CLOSED = 0.1
"""A rod shorter than this part of the longest one is closed."""

MOSTLY = 0.5
"""Part of the window on which the rod may be closed."""

NEAR = 0.1
"""Distance of sharpness over threshold from 1 that counts as being at the threshold."""


class Window(NamedTuple):
    """What is said of the edge is said of these steps.

    Attributes:
        first: the step at which the rod opens.
        last: the last step of the run.
        closed: part of the steps on which the rod is closed.
    """

    first: int
    last: int
    closed: float

    @property
    def at_edge(self) -> bool:
        """Whether the rod is open on at least half of the steps."""
        return self.closed <= MOSTLY


class Spread(NamedTuple):
    """How values that are taken at even times are spread over a window.

    Attributes:
        mean: time average.
        low, high: quantiles of 10% and 90%.
        near: part of the time within `NEAR` of 1.
        size: how many values there are.
    """

    mean: float
    low: float
    high: float
    near: float
    size: int


class Errors(NamedTuple):
    """Tracking errors of a flow. NaN where there are none.

    Attributes:
        smooth: median before the onset.
        median: median from the onset on.
        largest: the largest from the onset on.
    """

    smooth: float
    median: float
    largest: float


def window(rod_length: xr.DataArray, onset: float) -> Window | None:
    """The window of a run; None of a run that never reaches its threshold, or has no rod.

    Args:
        rod_length: half-extent of the iterates, [step].
        onset: the first snapshot at which the sharpness reaches the threshold; NaN if it never does.
    """
    if math.isnan(onset):
        return None
    known = rod_length.dropna("step").astype(np.float64)
    opening = oscillation_onset(known, int(onset))
    if math.isnan(opening):
        return None
    inside = known.sel(step=slice(opening, None))
    closed = float((inside < CLOSED * inside.max()).mean())
    return Window(int(opening), int(inside["step"][-1]), closed)


def spread(values: xr.DataArray, where: Window) -> Spread:
    """How a snapshot series, such as sharpness over threshold, is spread over a window. NaN of nothing.

    Args:
        values: the series, [snapshot].
        where: the window, to which both of its ends belong.
    """
    return spread_of(values.sel(snapshot=slice(where.first, where.last)).values)


def spread_of(values: np.ndarray) -> Spread:
    """How values at even times are spread; those that are no number do not count. NaN of nothing."""
    found = values[~np.isnan(values)].astype(np.float64)
    if not found.size:
        return Spread(math.nan, math.nan, math.nan, math.nan, 0)
    low, high = np.quantile(found, (0.1, 0.9))
    near = float((np.abs(found - 1) <= NEAR).mean())
    return Spread(float(found.mean()), float(low), float(high), near, found.size)


def errors(tracking_error: xr.DataArray, onset: float) -> Errors:
    """Tracking errors before and from the onset of the threshold on.

    Args:
        tracking_error: of a flow, [snapshot].
        onset: of the discrete run; NaN if it never reaches its threshold, so that all of it is smooth.
    """
    known = tracking_error.dropna("snapshot")
    late = known["snapshot"].values >= onset
    before, after = known.values[~late], known.values[late]
    return Errors(
        float(np.median(before)) if before.size else math.nan,
        float(np.median(after)) if after.size else math.nan,
        float(after.max()) if after.size else math.nan,
    )
