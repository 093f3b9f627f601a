"""Numbers of minibatch training: trends, the law of the gap, orders, and losses of run and model."""

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.minibatches import (
    gap_exponent,
    inversions,
    late_mean,
    modelled_loss,
    run_loss,
    trend,
)


def series(values: np.ndarray, every: int = 10) -> xr.DataArray:
    return xr.DataArray(values, {"snapshot": every * np.arange(1, values.size + 1)}, "snapshot")


def test_a_straight_line_changes_by_its_slope_over_the_last_third() -> None:
    found = trend(series(np.linspace(0, 3, 91)[1:]), 900)
    assert found.change == pytest.approx(1.0, rel=0.05)
    assert not found.settled


def test_noise_without_a_trend_is_settled_mostly() -> None:
    """With four degrees of freedom a trend of two standard errors has a probability of 12%."""
    random = np.random.default_rng(0)
    share = np.mean([trend(series(random.standard_normal(120)), 1200).settled for _ in range(400)])
    assert 0.83 < share < 0.93


def test_noise_on_a_slope_that_it_does_not_hide_is_not_settled() -> None:
    random = np.random.default_rng(0)
    values = np.linspace(0, 30, 120) + random.standard_normal(120)
    assert not trend(series(values), 1200).settled


def test_too_few_snapshots_have_no_trend() -> None:
    found = trend(series(np.ones(12)), 120)
    assert np.isnan(found.change)
    assert not found.settled


def test_a_gap_that_goes_as_one_over_the_batch_has_the_power_minus_one() -> None:
    sizes = [10, 30, 100, 300]
    levels = [0.96 * (1 - 4 / size) for size in sizes]
    assert gap_exponent(sizes, levels, 0.96) == pytest.approx(-1)


def test_a_level_above_that_of_the_full_batch_has_no_power() -> None:
    assert np.isnan(gap_exponent([10, 30, 100], [0.5, 0.9, 1.1], 1.0))


def test_inversions_count_the_pairs_in_another_order() -> None:
    run = {10: 0.1, 30: 0.2, 100: 0.3}
    assert inversions(run, {10: 1.0, 30: 2.0, 100: 3.0}) == 0
    assert inversions(run, {10: 2.0, 30: 1.0, 100: 3.0}) == 1
    assert inversions(run, {10: 3.0, 30: 2.0, 100: 1.0}) == 3


def test_the_loss_of_a_run_on_batches_is_the_full_one_and_of_any_other_its_own() -> None:
    steps, snapshots = np.arange(21), np.array([10, 20])
    own = xr.Dataset({"loss": ("step", steps / 10)}, {"step": steps, "snapshot": snapshots})
    np.testing.assert_array_equal(run_loss(own), [1.0, 2.0])
    batches = own.assign(full_loss=("snapshot", [5.0, 6.0]))
    np.testing.assert_array_equal(run_loss(batches), [5.0, 6.0])
    assert late_mean(run_loss(batches), 20) == 6.0


def test_the_loss_of_a_model_is_the_mean_of_its_copies() -> None:
    flow = xr.Dataset({"loss_plus": ("step", [1.0, 3.0]), "loss_minus": ("step", [3.0, 5.0])})
    np.testing.assert_array_equal(modelled_loss(flow), [2.0, 4.0])
