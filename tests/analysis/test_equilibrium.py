"""Numbers of the edge-of-stability papers, on series that were made to have them."""

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.equilibrium import at_edge, growth, moving_average, restlessness


def snapshots(*values: float, every: int = 10) -> xr.DataArray:
    return xr.DataArray([*values], {"snapshot": every * np.arange(len(values))}, ["snapshot"])


def steps(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, {"step": np.arange(len(values))}, ["step"])


RATIO = snapshots(0.5, 1.1, 0.9, 1.0, 0.8, 0.2)


def test_with_squared_error_the_edge_is_from_the_onset_to_the_end() -> None:
    assert at_edge(RATIO, "mse")["snapshot"].values.tolist() == [10, 20, 30, 40, 50]


def test_with_cross_entropy_the_edge_ends_where_the_threshold_is_last_reached() -> None:
    assert at_edge(RATIO, "cross_entropy")["snapshot"].values.tolist() == [10, 20, 30]


def test_the_edge_begins_where_it_is_asked_to() -> None:
    found = at_edge(RATIO, "cross_entropy", since=20)
    assert found["snapshot"].values.tolist() == [30]


@pytest.mark.parametrize("criterion", ["mse", "cross_entropy"])
def test_below_the_threshold_there_is_no_edge(criterion: str) -> None:
    assert at_edge(snapshots(0.5, 0.9), criterion).size == 0


def test_missing_snapshots_are_left_out_of_the_edge() -> None:
    found = at_edge(snapshots(1.0, np.nan, 1.0, np.nan), "mse")
    assert found["snapshot"].values.tolist() == [0, 20]


def test_the_moving_average_of_a_line_is_the_line_half_a_window_before() -> None:
    average = moving_average(steps(np.arange(20.0)), window=5)
    np.testing.assert_allclose(average, average["step"] - 2)


def test_a_loss_that_jumps_to_and_fro_while_it_falls_rises_on_every_other_step() -> None:
    step = np.arange(400)
    found = restlessness(steps(2 - step / 400 + 0.1 * (-1.0) ** step), 100, 399)
    assert found.rising == pytest.approx(0.5)
    assert found.falling == 1


def test_a_loss_that_grows_is_not_falling_on_average() -> None:
    assert restlessness(steps(1 + np.arange(200.0)), 60, 199) == (1.0, 0.0)


def test_rounding_is_no_rise() -> None:
    step = np.arange(200)
    rising, falling = restlessness(steps(1 + 5e-8 * (-1.0) ** step), 60, 199)
    assert rising == 0
    assert np.isnan(falling)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_growth_is_that_of_the_exponential_through_the_values(factor: float) -> None:
    swing = np.tile([1.01, 1 / 1.01, 1 / 1.01, 1.01], 10)
    values = factor ** np.linspace(0, 1, 40) * swing
    assert growth(snapshots(*values)) == pytest.approx(factor, rel=2e-3)


def test_two_values_have_no_trend() -> None:
    assert np.isnan(growth(snapshots(1.0, 2.0)))
