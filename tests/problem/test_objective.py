"""The full-batch loss: its value by hand, its gradient, its weights, and what jit makes of it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree

from rodflow.problem import networks, objective
from rodflow.problem.layers import ModelError
from rodflow.problem.objective import ObjectiveError

MLP = {"kind": "mlp", "hidden": [5]}
KINDS = [
    MLP,
    {"kind": "cnn", "channels": [2, 3]},
    {"kind": "vit", "width": 4, "depth": 1, "heads": 2, "patch": 4},
]
each_kind = pytest.mark.parametrize("model", KINDS, ids=lambda model: model["kind"])


def dataset(samples: int = 7, classes: int = 3, seed: int = 0) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(samples, 8, 8, 1)).astype(np.float32)
    target = np.eye(classes, dtype=np.float32)[rng.integers(classes, size=samples)]
    return xr.Dataset(
        {
            "image": (("sample", "row", "column", "channel"), image),
            "target": (("sample", "class"), target),
        }
    )


def test_mse_is_half_the_squared_error_summed_over_classes():
    loss, weights = objective.build(dataset(), MLP, "mse", seed=0)
    errors = np.asarray(loss.logits(weights)) - dataset()["target"].values
    by_hand = sum(0.5 * sum(e**2 for e in row) for row in errors) / len(errors)
    assert loss(weights) == pytest.approx(by_hand, rel=1e-6)


def test_cross_entropy_of_zero_logits_is_the_log_of_the_number_of_classes():
    loss, weights = objective.build(dataset(classes=3), MLP, "cross_entropy", seed=0)
    assert loss(jnp.zeros_like(weights)) == pytest.approx(np.log(3), rel=1e-6)


def test_cross_entropy_is_minus_the_log_of_the_right_probability():
    loss, weights = objective.build(dataset(), MLP, "cross_entropy", seed=0)
    exponentials = np.exp(np.asarray(loss.logits(weights), np.float64))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    right = probabilities[dataset()["target"].values == 1]
    assert loss(weights) == pytest.approx(-np.log(right).mean(), rel=1e-5)


def test_logits_are_those_of_the_model():
    loss, weights = objective.build(dataset(), MLP, "mse", seed=3)
    network = networks.build(MLP, 3)
    image = dataset()["image"].values
    parameters = networks.initialise(network, image, seed=3)
    expected = network.apply({"params": parameters}, image)
    np.testing.assert_array_equal(loss.logits(weights), expected)


@pytest.mark.parametrize(
    ("model", "criterion"),
    [(MLP, "cross_entropy"), *((model, "mse") for model in KINDS)],
    ids=["mlp-cross_entropy", "mlp-mse", "cnn-mse", "vit-mse"],
)
def test_gradient_agrees_with_finite_differences(model, criterion):
    with jax.enable_x64(True):
        loss, weights = objective.build(dataset(), model, criterion, seed=0, dtype=jnp.float64)
        value_and_gradient = jax.jit(jax.value_and_grad(loss))
        direction = np.random.default_rng(2).normal(size=weights.shape)
        step = 1e-6
        ahead, _ = value_and_gradient(weights + step * direction)
        behind, _ = value_and_gradient(weights - step * direction)
        _, gradient = value_and_gradient(weights)
        assert gradient @ direction == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-6)


def test_the_loss_of_a_run_is_that_of_its_own_number_of_images():
    settings = {"dataset": {"samples": 3}, "model": MLP, "criterion": "mse", "seed": 1}
    loss, weights = objective.of_run(dataset(), settings)
    all_images, same = objective.build(dataset(), MLP, "mse", seed=1)
    np.testing.assert_array_equal(weights, same)
    assert loss(weights) == all_images.of(jnp.arange(3))(weights)


@each_kind
def test_flat_weights_make_the_round_trip(model):
    loss, weights = objective.build(dataset(), model, "mse", seed=0)
    again, unravel = ravel_pytree(loss.unravel(weights))
    np.testing.assert_array_equal(again, weights)
    jax.tree.map(np.testing.assert_array_equal, unravel(weights), loss.unravel(weights))


@each_kind
def test_weights_and_loss_have_the_precision_asked_for(model):
    single, start = objective.build(dataset(), model, "mse", seed=0)
    with jax.enable_x64(True):
        double, precise = objective.build(dataset(), model, "mse", seed=0, dtype=jnp.float64)
        low, high = eqx.filter_jit(single)(start), eqx.filter_jit(double)(precise)
        assert (start.dtype, low.dtype) == (jnp.float32, jnp.float32)
        assert (precise.dtype, high.dtype) == (jnp.float64, jnp.float64)
        np.testing.assert_array_equal(precise, start.astype(jnp.float64))
        assert high == pytest.approx(float(low), rel=1e-5)


@each_kind
def test_data_are_arguments_of_a_jitted_function_not_constants_in_it(model):
    loss, weights = objective.build(dataset(), model, "mse", seed=0)
    program = jax.make_jaxpr(lambda loss, weights: jax.grad(loss)(weights))(loss, weights)
    assert sum(np.size(constant) for constant in program.consts) == 0
    assert [v.shape for v in program.in_avals] == [(7, 8, 8, 1), (7, 3), weights.shape]


def test_a_second_objective_of_the_same_shapes_is_not_compiled_again():
    gradient = jax.jit(lambda loss, weights: jax.grad(loss)(weights))
    for seed in (0, 1):
        loss, weights = objective.build(dataset(seed=seed), MLP, "mse", seed=seed)
        gradient(loss, weights)
    assert gradient._cache_size() == 1


def test_order_of_dimensions_does_not_matter():
    turned = dataset().transpose("class", "channel", "column", "row", "sample")
    loss, weights = objective.build(dataset(), MLP, "mse", seed=0)
    other, _ = objective.build(turned, MLP, "mse", seed=0)
    assert other(weights) == loss(weights)


def test_an_unknown_criterion_is_said_in_one_line():
    with pytest.raises(ObjectiveError, match=r"^criterion is 'mae'; it must be one of mse, cross"):
        objective.build(dataset(), MLP, "mae", seed=0)


def test_double_precision_that_jax_has_disabled_is_refused():
    with pytest.raises(ObjectiveError, match=r"^dtype is float64, which JAX has disabled; set"):
        objective.build(dataset(), MLP, "mse", seed=0, dtype=jnp.float64)


def test_a_model_that_cannot_be_built_is_named():
    with pytest.raises(ModelError, match=r"^kind is 'rnn'"):
        objective.build(dataset(), {"kind": "rnn"}, "mse", seed=0)
