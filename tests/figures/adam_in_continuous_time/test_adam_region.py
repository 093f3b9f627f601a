"""The figure of the decays with which updates of Adam are bounded."""

import numpy as np
import pytest
import xarray as xr

import synthetic_results
from drawn import lines, words
from rodflow.figures.adam_in_continuous_time import adam_region as figure
from rodflow.figures.core.style import Drawing


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return synthetic_results.adam_region()


@pytest.fixture(scope="module")
def drawing(data: xr.Dataset) -> Drawing:
    return figure.draw(data)


def test_updates_and_bounds_are_drawn_with_bias_correction(
    drawing: Drawing, data: xr.Dataset
) -> None:
    axes = drawing.figure.axes[2]
    (bound,) = lines(axes, "bound at c = 0.99")
    expected = (data["bound"] * data["correction"]).sel(point=0, step=bound.get_xdata())
    np.testing.assert_array_equal(bound.get_ydata(), expected)
    (worst,) = lines(axes, "update at c = 0.99")
    assert np.isin(worst.get_ydata(), expected).all() and len(worst.get_ydata()) > 5


def test_growth_rates_are_drawn_as_measured_and_predicted_as_0_inside(
    drawing: Drawing, data: xr.Dataset
) -> None:
    axes = drawing.figure.axes[3]
    for time in data["time"].values:
        (points,) = lines(axes, f"measured, {time} time")
        np.testing.assert_array_equal(points.get_ydata(), data["growth_rate"].sel(time=time))
    (predicted,) = lines(axes, "$-C/2$")
    inside = np.asarray(predicted.get_xdata()) > 0.9 / 1.1
    assert np.all((np.asarray(predicted.get_ydata()) == 0) == inside)


def test_training_shows_the_largest_update_of_every_seed(
    drawing: Drawing, data: xr.Dataset
) -> None:
    for seed in data["seed"].values:
        (points,) = lines(drawing.figure.axes[4], f"seed {seed}")
        expected = data["training_update"].sel(seed=seed).max("training_step")
        np.testing.assert_array_equal(points.get_ydata(), expected)


def test_points_inside_on_and_outside_the_boundary_are_named(drawing: Drawing) -> None:
    text = words(drawing)
    for name in ("inside, $c$ = 0.99", "boundary, $c$ = 0.81", "outside, $c$ = 0.7"):
        assert name in text
