"""When a rod is open, and what is held then."""

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.open_rod import FEWEST, held, snapshots_open

STEPS = np.arange(101)
SNAPSHOTS = np.arange(0, 101, 10)


def length(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, {"step": STEPS})


def test_a_rod_is_open_from_half_its_longest_on_where_it_exceeds_a_tenth() -> None:
    """It is a fifth at 30, which is not open yet; half at 40; a twentieth at 70."""
    values = np.full(101, 1e-6)
    values[25:35], values[35:65], values[65:75], values[75:] = 0.2, 1.0, 0.05, 0.2
    assert [*snapshots_open(length(values), SNAPSHOTS, 20)] == [40, 50, 60, 80, 90, 100]


def test_what_is_before_the_start_does_not_count() -> None:
    values = np.where(STEPS < 20, 100.0, 1.0)
    assert [*snapshots_open(length(values), SNAPSHOTS, 20)] == [*SNAPSHOTS[2:]]


def test_a_rod_without_length_never_opens() -> None:
    assert not snapshots_open(length(np.full(101, np.nan)), SNAPSHOTS, 20).size


def test_a_run_that_ended_before_the_start_has_no_open_rod() -> None:
    assert not snapshots_open(length(np.ones(101)).isel(step=slice(15)), SNAPSHOTS, 20).size


def test_held_is_the_mean_and_the_quantiles_of_the_open_snapshots() -> None:
    values = xr.DataArray(np.linspace(0, 1, 11), {"snapshot": SNAPSHOTS})
    found = held(values, np.array([40, 50, 60, 70, 80]))
    assert (found.mean, found.low, found.high, found.size) == pytest.approx((0.6, 0.44, 0.76, 5))


def test_of_too_few_snapshots_nothing_is_said() -> None:
    values = xr.DataArray(np.ones(11), {"snapshot": SNAPSHOTS})
    found = held(values.where(values["snapshot"] > 80), SNAPSHOTS)
    assert found.size == FEWEST - 1
    assert np.isnan(found.mean)
