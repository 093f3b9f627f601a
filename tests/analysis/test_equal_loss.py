"""The curvature of runs where their losses are equal."""

import math

import numpy as np
import xarray as xr

from rodflow.analysis.equal_loss import NOWHERE, curvature_at, equal_loss

STEPS = np.arange(1001)


def falling(rate: float) -> xr.DataArray:
    """A loss that falls exponentially and oscillates."""
    values = np.exp(-rate * STEPS) * (1 + 0.5 * (-1.0) ** STEPS)
    return xr.DataArray(values, dims="step", coords={"step": STEPS})


def sharpness(slope: float) -> xr.DataArray:
    """One whose logarithm rises evenly."""
    at = STEPS[::10]
    return xr.DataArray(np.exp(slope * at), dims="snapshot", coords={"snapshot": at})


def test_equal_loss_is_that_which_every_run_reaches() -> None:
    slow, fast = falling(0.001), falling(0.01)
    assert math.isclose(equal_loss([slow, fast]), equal_loss([slow]))
    assert equal_loss([fast]) < equal_loss([slow])


def test_a_run_twice_as_fast_has_a_loss_at_half_the_step() -> None:
    loss = 0.3
    slow, fast = (curvature_at(loss, falling(rate), sharpness(0.01)) for rate in (0.002, 0.004))
    assert abs(slow.step - 2 * fast.step) <= 30  # the average lags by half of its window
    assert math.isclose(math.log(slow.sharpness), 0.01 * (slow.step - 25), abs_tol=0.05)


def test_a_run_that_never_has_the_loss_is_nowhere() -> None:
    assert np.isnan(curvature_at(1e-9, falling(0.001), sharpness(0.01))).all()
    assert np.isnan(NOWHERE).all()


def test_a_sharpness_that_is_not_positive_is_nowhere() -> None:
    assert np.isnan(curvature_at(0.3, falling(0.002), 0 * sharpness(0.01))).all()


def test_a_run_shorter_than_the_average_has_no_loss() -> None:
    short = falling(0.001).isel(step=slice(20))
    assert math.isnan(equal_loss([short, falling(0.001)]))
