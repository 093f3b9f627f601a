"""Kernels whose scale the loss does not depend on: which they are, and what is recorded of their norms."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from rodflow.analysis import scale_invariance
from rodflow.audit.claims.scale_invariance import LEAST
from rodflow.dynamics.discrete import Discrete, scale_invariant
from rodflow.optimizers.optimizer_map import OptimizerMap
from rodflow.problem import labelled, networks, objective
from rodflow.problem.layers import ModelError
from rodflow.stages.run import prepare
from rodflow.stages.training import discrete_run, discrete_runs

NETWORK = {"kind": "mlp", "hidden": [6, 5], "activation": "tanh", "normalisation": "layer"}
NETWORKS: dict[str, dict[str, Any]] = {
    "Normalised": NETWORK,
    "NormalisedConvolution": NETWORK | {"kind": "cnn", "channels": [3, 4]},
}
del NETWORKS["NormalisedConvolution"]["hidden"]
KERNELS = ["Normalised_0.kernel", "Normalised_1.kernel"]
OPTIMIZERS: dict[str, dict[str, float]] = {
    "gd": {"learning_rate": 0.05},
    "heavy_ball": {"learning_rate": 0.05, "momentum": 0.8},
    "adam": {"learning_rate": 0.005, "b1": 0.9, "b2": 0.99, "eps": 1e-8},
}
STEPS = 300


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return labelled.load({"name": "digits", "samples": 40, "scaling": "unit", "size": 8})


def settings(optimizer: str, **changes: Any) -> dict[str, Any]:
    return {
        "batch_size": None,
        "criterion": "mse",
        "dataset": {"name": "digits"},
        "model": NETWORK,
        "optimizer": {"name": optimizer, **OPTIMIZERS[optimizer]},
        "seed": 0,
        "snapshots": {"every": 50},
        "start": 50,
        "steps": STEPS,
    } | changes


@pytest.fixture(scope="module")
def runs(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    return {name: discrete_run(dataset, settings(name)) for name in OPTIMIZERS}


def rugged(
    dataset: xr.Dataset, layer: str = "Normalised"
) -> tuple[objective.Objective, np.ndarray]:
    """The objective of a network of such layers, and weights at which no bias is 0 and no scale is 1."""
    loss, weights = objective.build(dataset, NETWORKS[layer], "mse", seed=0)
    noise = np.random.default_rng(0).normal(size=weights.size).astype(np.float32)
    return loss, np.asarray(weights) + 0.2 * noise


@pytest.mark.parametrize("layer", NETWORKS)
def test_the_loss_depends_on_the_scale_of_all_parameters_but_the_hidden_kernels(
    dataset: xr.Dataset, layer: str
) -> None:
    loss, weights = rugged(dataset, layer)
    assert [*loss.scale_invariant] == [f"{layer}_{k}.kernel" for k in range(2)]
    at = eqx.filter_jit(loss)
    value = float(at(weights))
    for path, place in loss.unravel.places.items():
        scaled = weights.copy()
        scaled[place] *= 3
        changed = abs(float(at(scaled)) / value - 1)
        if ".".join(path) in loss.scale_invariant:
            assert changed < 1e-5
        else:
            assert changed > 1e-3, path


def test_the_place_of_each_parameter_in_the_flat_vector_is_that_of_the_tree(
    dataset: xr.Dataset,
) -> None:
    loss, weights = rugged(dataset)
    tree = loss.unravel(jnp.asarray(weights))
    places = loss.unravel.places
    assert sum(place.stop - place.start for place in places.values()) == weights.size
    for (layer, name), place in places.items():
        np.testing.assert_array_equal(np.ravel(tree[layer][name]), weights[place])


@pytest.mark.parametrize("layer", NETWORKS)
def test_the_gradient_of_a_scale_invariant_kernel_is_orthogonal_to_it(
    dataset: xr.Dataset, layer: str
) -> None:
    loss, weights = rugged(dataset, layer)
    gradient = np.asarray(jax.grad(eqx.filter_jit(loss))(jnp.asarray(weights)))
    for place in loss.scale_invariant.values():
        w, g = weights[place], gradient[place]
        assert abs(w @ g) < 1e-6 * np.linalg.norm(w) * np.linalg.norm(g)


@pytest.mark.parametrize("layer", NETWORKS)
def test_a_sample_without_features_leaves_the_gradient_finite(layer: str) -> None:
    network = networks.build(NETWORKS[layer], 3)
    images = np.zeros((2, 4, 4, 1), np.float32)
    start = networks.initialise(network, images, seed=0)

    @jax.jit
    def squared(parameters: Any) -> Any:
        return jnp.sum(network.apply({"params": parameters}, images) ** 2)

    gradient = jax.grad(squared)(start)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize("kind", ["mlp", "cnn", "vit"])
def test_networks_without_normalised_layers_have_no_such_kernels(kind: str) -> None:
    assert networks.scale_invariant(networks.build({"kind": kind}, 3)) == ()


def test_without_normalisation_the_network_is_the_same_as_before(dataset: xr.Dataset) -> None:
    plain = {"kind": "mlp", "hidden": [6]}
    images = dataset["image"].values
    old = networks.initialise(networks.build(plain, 10), images, seed=3)
    new = networks.initialise(networks.build(plain | {"normalisation": "none"}, 10), images, seed=3)
    assert [*old] == ["Dense_0", "Dense_1"]
    jax.tree.map(np.testing.assert_array_equal, old, new)


def test_an_unknown_normalisation_is_refused() -> None:
    message = "normalisation is 'batch'; it must be one of none, layer"
    with pytest.raises(ModelError, match=message):
        networks.build({"kind": "mlp", "normalisation": "batch"}, 3)


# What is recorded


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_norm_changes_by_squared_step_and_radial_part(
    runs: dict[str, xr.Dataset], optimizer: str
) -> None:
    run = runs[optimizer].astype(np.float64)
    after = run["squared_norm"] + run["squared_update"] + 2 * run["radial"]
    np.testing.assert_allclose(run["squared_norm"][1:], after[:-1], rtol=2e-6)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_gradient_is_orthogonal_to_the_kernel_all_along(
    runs: dict[str, xr.Dataset], optimizer: str
) -> None:
    assert float(abs(runs[optimizer]["alignment"]).max()) < 1e-5


def test_series_of_kernels_are_of_the_stored_weights(
    dataset: xr.Dataset, runs: dict[str, xr.Dataset]
) -> None:
    run = runs["adam"]
    loss, _ = objective.build(dataset, NETWORK, "mse", seed=0)
    assert [*run["kernel"].values] == KERNELS
    for name, place in loss.scale_invariant.items():
        kernels = run["iterate"].values[:, place].astype(np.float64)
        own = run["squared_norm"].sel(kernel=name, step=run["snapshot"].values)
        np.testing.assert_allclose(own, (kernels**2).sum(1), rtol=1e-6)


def test_a_run_without_such_kernels_has_none_of_the_series(dataset: xr.Dataset) -> None:
    plain = {"kind": "mlp", "hidden": [6, 5], "activation": "tanh"}
    run = prepare(dataset, settings("gd", model=plain))
    optimizer, weights = run.optimizer, run.weights
    process = Discrete()
    carry = jax.eval_shape(lambda: process.first(optimizer, weights, jax.random.key(0)))
    _, seen = jax.eval_shape(lambda c: process.advance(optimizer, c, jax.random.key(0)), carry)
    assert {*seen} == {"loss", "gradient_norm", "rod_length"}


@pytest.mark.slow
def test_runs_side_by_side_have_the_series_of_their_own_kernels(dataset: xr.Dataset) -> None:
    how = {"steps": 60, "batch_size": 20}
    pair = [settings("gd", **how), settings("gd", **how, seed=1)]
    loss, _ = objective.build(dataset, NETWORK, "mse", seed=0)
    for run in discrete_runs(dataset, pair, side_by_side=True):
        assert run["squared_norm"].sizes == {"step": 61, "kernel": 2}
        for name, place in loss.scale_invariant.items():
            kernels = run["iterate"].values[:, place].astype(np.float64)
            own = run["squared_norm"].sel(kernel=name, step=run["snapshot"].values)
            np.testing.assert_allclose(own, (kernels**2).sum(1), rtol=1e-6)


# What follows from it


def test_under_gradient_descent_the_growth_is_the_sum_of_squared_steps(
    runs: dict[str, xr.Dataset],
) -> None:
    growth = scale_invariance.growth(runs["gd"])
    expected = scale_invariance.squared_steps(runs["gd"])
    assert float(expected[-1].min()) > LEAST * float(runs["gd"]["squared_norm"][0].max())
    np.testing.assert_allclose(growth[-1], expected[-1], rtol=1e-3)
    assert float(abs(growth - expected).max()) < 1e-3 * float(expected[-1].min())


@pytest.mark.slow
def test_momentum_multiplies_the_growth(runs: dict[str, xr.Dataset]) -> None:
    factor = scale_invariance.momentum_factor({"name": "heavy_ball", "momentum": 0.8})
    assert factor == pytest.approx(9)
    growth = scale_invariance.growth(runs["heavy_ball"])[-1]
    expected = factor * scale_invariance.squared_steps(runs["heavy_ball"])[-1]
    np.testing.assert_allclose(growth, expected, rtol=0.01)


def test_there_is_no_formula_for_steps_along_something_else() -> None:
    assert np.isnan(scale_invariance.momentum_factor({"name": "nesterov", "momentum": 0.9}))
    assert scale_invariance.momentum_factor({"name": "rmsprop"}) == 1
    assert scale_invariance.momentum_factor({"name": "adam", "b1": 0.9}) == pytest.approx(19)


def test_the_sum_counts_the_steps_before(runs: dict[str, xr.Dataset]) -> None:
    squares = runs["adam"]["squared_update"].values.astype(np.float64)
    found = scale_invariance.squared_steps(runs["adam"])
    np.testing.assert_allclose(found[0], 0)
    np.testing.assert_allclose(found[3], squares[:3].sum(0))


@pytest.mark.parametrize(("optimizer", "power"), [("gd", 2), ("adam", 1)])
def test_the_direction_turns_by_the_rate_over_a_power_of_the_norm(
    dataset: xr.Dataset, optimizer: str, power: int
) -> None:
    """A first step from a kernel three times as long turns it by 3^-power as much."""
    run = prepare(dataset, settings(optimizer))
    transformation, weights = run.optimizer, run.weights
    place = scale_invariant(transformation)[KERNELS[0]]
    step = eqx.filter_jit(OptimizerMap.__call__)

    def turned(scale: float) -> np.ndarray:
        start = weights.at[place].multiply(scale)
        after = step(transformation, transformation.initial(start)).weights
        return np.asarray((after - start)[place]) / scale

    assert scale_invariance.power({"name": optimizer}) == power
    np.testing.assert_allclose(turned(3.0), turned(1.0) / 3**power, rtol=2e-2, atol=2e-7)


def test_the_relative_rate_is_that_of_the_norms(runs: dict[str, xr.Dataset]) -> None:
    for name, exponent in (("gd", -1.0), ("adam", -0.5)):
        squared = runs[name]["squared_norm"].values.astype(np.float64)
        rate = scale_invariance.relative_rate(runs[name], {"name": name})
        np.testing.assert_allclose(rate, (squared / squared[0]) ** exponent)
