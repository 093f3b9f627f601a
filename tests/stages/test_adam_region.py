"""The largest update of Adam: the bound, who attains it, and where it grows."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import synthetic_results
from representatives import now
from rodflow.analysis import adam_bound
from rodflow.problem import labelled
from rodflow.stages import adam_region

PAIRS = [(0.9, 0.999), (0.9, 0.9), (0.9, 0.81), (0.9, 0.7), (0.5, 0.9), (0.99, 0.9)]
INSIDE = [pair for pair in PAIRS if pair[0] ** 2 < pair[1] - 1e-9]


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def sizes(gradients: np.ndarray, b: float, c: float) -> np.ndarray:
    """|m|/sqrt(v) after every step."""
    return np.abs(adam_region.updates(jnp.asarray(gradients), b, c))


def adam_updates(gradients: np.ndarray, b: float, c: float) -> np.ndarray:
    """What optax subtracts with a learning rate of 1, one weight."""
    adam = optax.adam(1.0, b, c, eps=0.0)
    state, found = adam.init(jnp.zeros(1)), []
    for g in gradients:
        change, state = adam.update(jnp.full(1, g), state)
        found.append(-float(change[0]))
    return np.array(found)


@pytest.mark.parametrize(("b", "c"), PAIRS)
def test_the_worst_gradients_attain_the_bound_at_every_step(b: float, c: float) -> None:
    steps = np.arange(1, 61)
    found = sizes(adam_bound.worst_gradients(b, c, 60), b, c)
    np.testing.assert_allclose(found, adam_bound.bound(b, c, steps), rtol=1e-11)


@pytest.mark.parametrize(("b", "c"), PAIRS)
def test_with_bias_correction_it_is_the_bound_of_what_optax_does(b: float, c: float) -> None:
    found = adam_updates(adam_bound.worst_gradients(b, c, 20), b, c)
    bound = adam_bound.bound(b, c, np.arange(1, 21), corrected=True)
    np.testing.assert_allclose(found, bound, rtol=1e-9)
    assert np.all(bound >= 1 - 1e-12) and bound[0] == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(("b", "c"), PAIRS)
def test_random_gradients_stay_below_the_bound(b: float, c: float) -> None:
    noise = np.random.default_rng(0).standard_normal((50, 60))
    noise[25:] *= adam_bound.worst_gradients(b, c, 60)
    bound = adam_bound.bound(b, c, np.arange(2, 61))
    found = np.array(jax.vmap(lambda g: jnp.abs(adam_region.updates(g, b, c)))(noise))
    assert np.all(found[:, 1:] < bound)


@pytest.mark.parametrize(("b", "c"), now(PAIRS, PAIRS[0], PAIRS[3]))
def test_no_gradients_have_a_larger_update_by_the_largest_eigenvalue(b: float, c: float) -> None:
    assert adam_region.largest_by_eigenvalue(b, c, 8) == pytest.approx(adam_bound.bound(b, c, 8))


@pytest.mark.parametrize(("b", "c"), PAIRS)
def test_it_is_bounded_for_all_time_exactly_where_q_is_below_1(b: float, c: float) -> None:
    limit = adam_bound.bound(b, c, np.inf)
    assert np.isfinite(limit) == (adam_bound.quotient(b, c) < 1 - 1e-12) == ((b, c) in INSIDE)
    later = adam_bound.bound(b, c, np.array([10, 100, 1000.0]))
    assert np.all(np.diff(later) > -1e-12) and later[-1] <= limit * (1 + 1e-12)
    if (b, c) not in INSIDE:
        assert later[-1] > 2.9 * later[-2]


def test_at_the_boundary_it_grows_like_the_root_of_time() -> None:
    found = adam_bound.bound(0.9, 0.9**2, np.array([1.0, 4.0, 100.0]))
    np.testing.assert_allclose(found, found[0] * np.array([1, 2, 10]), rtol=1e-9)


def test_in_continuous_time_the_region_ends_on_a_curve_above_that_of_discrete_time() -> None:
    b = np.linspace(0.1, 0.99, 20)
    np.testing.assert_allclose(adam_bound.condition(b, b / (2 - b)), 0, atol=1e-12)
    assert np.all(b / (2 - b) > b**2)


def test_for_slow_decays_discrete_and_continuous_time_agree_to_first_order() -> None:
    errors = []
    for slow in (10.0, 20.0, 40.0):
        b, c = (tau * slow / (1 + tau * slow) for tau in (2.0, 0.5))
        rate = adam_bound.condition(b, c)
        errors.append(abs(-np.log(adam_bound.quotient(b, c)) / rate - 1))
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 2, rtol=0.1)
    slow = 1 - 1e-5
    discrete = adam_bound.bound(slow, 0.9999, 3e4, corrected=True)
    continuous = adam_bound.bound_in_continuous_time(slow, 0.9999, 3e4, corrected=True)
    assert discrete == pytest.approx(continuous, rel=1e-3)


@pytest.mark.slow
def test_the_differential_equations_attain_their_bound() -> None:
    b, c = np.array([0.9, 0.9, 0.5]), np.array([0.99, 0.7, 0.9])
    times = np.array([1.0, 5.0, 40.0])
    found = adam_region.continuous_updates(b, c, times)
    bound = adam_bound.bound_in_continuous_time(b[:, None], c[:, None], times[None])
    np.testing.assert_allclose(found, bound, rtol=1e-6)


def test_scaled_moments_are_those_of_the_gradients_themselves() -> None:
    b, c, steps = 0.9, 0.7, 30
    plain = sizes((c / b) ** np.arange(1.0, steps + 1), b, c)
    scaled = adam_region.updates(jnp.ones(steps), b, c, c / b)
    np.testing.assert_allclose(scaled, plain, rtol=1e-12)


@pytest.fixture(scope="module")
def region() -> xr.Dataset:
    """Three points of the path, with a small network."""
    small = {
        "model": {"kind": "mlp", "hidden": [4], "activation": "tanh"},
        "samples": 40,
        "steps": 12,
    }
    images = labelled.load({"name": "digits", "samples": 40, "scaling": "unit"})
    return adam_region.adam_region(images, (0.99, 0.75, 0.5), {**adam_region.TRAINING, **small})


@pytest.mark.slow
def test_ascent_over_all_gradients_ends_at_the_bound(region: xr.Dataset) -> None:
    ratio = region["climbed"] / region["bound"].sel(step=region.attrs["climbed_steps"])
    np.testing.assert_allclose(ratio, 1, rtol=1e-6)


@pytest.mark.slow
def test_outside_the_worst_case_grows_at_the_predicted_rate(region: xr.Dataset) -> None:
    outside = region.isel(point=[1, 2])
    np.testing.assert_allclose(outside["growth_rate"], outside["predicted_rate"], rtol=1e-6)
    np.testing.assert_allclose(region["growth_rate"].isel(point=0), 0, atol=1e-9)


@pytest.mark.slow
def test_every_update_is_at_most_the_worst_and_constant_gradients_give_1(
    region: xr.Dataset,
) -> None:
    over = region["update"] / region["bound"]
    np.testing.assert_allclose(over.sel(gradients="worst"), 1, rtol=1e-9)
    assert float(over.max()) <= 1 + 1e-9
    corrected = region["update"].sel(gradients="constant") * region["correction"]
    np.testing.assert_allclose(corrected, 1, rtol=1e-9)


@pytest.mark.slow
def test_updates_of_training_are_below_the_bound_and_1_at_first(region: xr.Dataset) -> None:
    bound = (region["bound"] * region["correction"]).sel(step=region["training_step"])
    found = region["training_update"]
    assert found.shape == (3, 3, 12) and float((found / bound).max()) <= 1 + 1e-9
    np.testing.assert_allclose(found.isel(training_step=0), 1, rtol=1e-5)
    assert bool((region["training_loss"][..., -1] < region["training_loss"][..., 0]).all())


@pytest.mark.slow
def test_the_dataset_is_labelled_and_made_up_ones_have_its_form(region: xr.Dataset) -> None:
    for name in [*region.data_vars, *region.coords]:
        assert region[name].attrs["long_name"] and region[name].attrs["units"] == "1"
    made_up = synthetic_results.adam_region()
    assert {name: made_up[name].dims for name in made_up} == {n: region[n].dims for n in region}
    assert {*made_up.attrs} <= {*region.attrs}
