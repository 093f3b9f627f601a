"""The first burst of the sharpness."""

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.burst import Burst, first_burst, overshoot


def series(*values: float) -> xr.DataArray:
    """Values at the snapshots 100, 110, ..."""
    return xr.DataArray([*values], {"snapshot": 100 + 10 * np.arange(len(values))}, ["snapshot"])


BURST = series(0.7, 0.8, 0.9, 1.01, 1.03, 0.95, 0.9, 0.95, 1.05, 1.1, 0.8)


def test_it_is_as_long_again_on_each_side_of_the_first_time_above() -> None:
    assert first_burst(BURST) == Burst(110, 170, 2)


def test_it_ends_with_the_run() -> None:
    assert first_burst(series(1.0, 1.2, 1.1, 0.9)) == Burst(100, 130, 3)


def test_snapshots_without_sharpness_do_not_count() -> None:
    assert first_burst(series(0.9, np.nan, 1.1, np.nan, 0.9)) == Burst(100, 140, 1)


@pytest.mark.parametrize("values", [(0.8, 0.9), (0.9, 1.0, 1.1), (np.nan,)])
def test_there_is_none_where_the_threshold_is_not_reached_or_not_left(values) -> None:
    assert first_burst(series(*values)) is None


def test_overshoot_is_of_the_first_burst_alone() -> None:
    burst = first_burst(BURST)
    assert burst is not None
    assert overshoot(BURST, burst) == pytest.approx(0.03)
    assert overshoot(0.9 * BURST, burst) == pytest.approx(0.9 * 1.03 - 1)
