"""The window at the edge of stability, and what is measured in it, on series that were made to have it."""

import math

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.edge import Window, errors, spread, window


def rod(*values: float) -> xr.DataArray:
    return xr.DataArray([*values], {"step": np.arange(len(values))}, ["step"])


def snapshots(*values: float, every: int = 10) -> xr.DataArray:
    return xr.DataArray([*values], {"snapshot": every * np.arange(len(values))}, ["snapshot"])


def test_the_window_begins_where_the_rod_is_half_as_long_as_the_longest_after_the_onset() -> None:
    found = window(rod(9, 9, 0.1, 0.4, 0.6, 1, 0.8), onset=2)
    assert found is not None and (found.first, found.last) == (4, 6)


def test_a_rod_is_closed_below_a_tenth_of_its_longest() -> None:
    found = window(rod(0, 1, 0.2, 0.11, 0.09), onset=0)
    assert found is not None and found.closed == 0.25


@pytest.mark.parametrize(("closed", "at_edge"), [(2, True), (3, False)])
def test_a_run_is_at_the_edge_while_its_rod_is_open_for_half_of_the_window(
    closed: int, at_edge: bool
) -> None:
    found = window(rod(1, 1, *[0.01] * closed), onset=0)
    assert found is not None and found.at_edge == at_edge


def test_one_burst_is_not_the_edge() -> None:
    lengths = np.exp(-np.abs(np.arange(200) - 20.0))
    found = window(rod(*lengths), onset=0)
    assert found is not None and not found.at_edge


def test_an_oscillation_that_goes_up_and_down_is_the_edge() -> None:
    lengths = 1 + 0.8 * np.sin(np.arange(200) / 3)
    found = window(rod(*lengths), onset=0)
    assert found is not None and found.closed == 0


def test_a_run_below_its_threshold_has_no_window() -> None:
    assert window(rod(1, 2, 3), onset=math.nan) is None


def test_a_run_whose_rod_ends_before_its_onset_has_no_window() -> None:
    assert window(rod(1, 1, 1), onset=7) is None


def test_steps_without_a_rod_are_left_out_of_the_window() -> None:
    found = window(rod(math.nan, 0.2, 1, 1, math.nan), onset=0)
    assert found == Window(2, 3, 0.0)


def test_the_spread_is_that_of_the_window_alone() -> None:
    values = snapshots(50, *np.linspace(0.91, 1.31, 11), 70)
    found = spread(values, Window(5, 115, 0.0))
    assert (found.mean, found.low, found.high) == pytest.approx((1.11, 0.95, 1.27))
    assert (found.near, found.size) == (pytest.approx(5 / 11), 11)


def test_missing_snapshots_take_no_part_in_the_spread() -> None:
    assert spread(snapshots(1, math.nan, 1), Window(0, 20, 0.0)).size == 2
    assert math.isnan(spread(snapshots(math.nan), Window(0, 20, 0.0)).mean)


def test_errors_are_told_apart_at_the_onset() -> None:
    assert errors(snapshots(math.nan, 1, 2, 30, 50, 40), onset=30) == (1.5, 40, 50)


def test_without_an_onset_all_of_a_run_is_smooth() -> None:
    found = errors(snapshots(1, 2, 3), onset=math.nan)
    assert found.smooth == 2 and math.isnan(found.median) and math.isnan(found.largest)
