"""The first burst of a run: its sharpness from the onset until below the threshold again, and as long on each side.

A model that carries the oscillation overshoots the threshold as the run does, because an oscillation that has to grow
first is late. One that takes it for settled does not.
"""

from typing import NamedTuple

import xarray as xr


class Burst(NamedTuple):
    """Steps of the first burst.

    Attributes:
        first, last: what is looked at, from one length of the burst before it to one after it, within the run.
        above: snapshots in a row at which the sharpness is at the threshold or above.
    """

    first: int
    last: int
    above: int


def first_burst(ratio: xr.DataArray) -> Burst | None:
    """The first burst of a process; None where the threshold is not reached, or not left again.

    Args:
        ratio: sharpness over threshold, [snapshot].
    """
    known = ratio.dropna("snapshot")
    steps, above = known["snapshot"].values, known.values >= 1
    if not above.any():
        return None
    start = int(above.argmax())
    count = int((~above[start:]).argmax())
    if count == 0:
        return None
    length = steps[start + count] - steps[start]
    first, last = steps[start] - length, steps[start + count] + length
    return Burst(int(max(first, steps[0])), int(min(last, steps[-1])), count)


def overshoot(ratio: xr.DataArray, burst: Burst) -> float:
    """How far above the threshold a process gets in these steps, over the threshold; negative: it stays below.

    Args:
        ratio: sharpness over threshold, [snapshot].
        burst: of the run.
    """
    return float(ratio.sel(snapshot=slice(burst.first, burst.last)).max()) - 1
