"""Errors in function space: zero for one function, a known norm for a linear model, none without outputs."""

from collections.abc import Callable
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from rodflow.problem.objective import Objective, Unravel, build, mse
from rodflow.problem.own import own
from rodflow.stages.outputs import outputs

SAMPLES, INPUTS, OUTPUTS, START = 7, 3, 2, 20
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SAMPLES, INPUTS)).astype(np.float32)
Y = RNG.normal(size=(SAMPLES, OUTPUTS)).astype(np.float32)


def walk(weights: np.ndarray, size: float, seed: int) -> xr.Dataset:
    """A path of four snapshots, from one before the start on."""
    steps = np.random.default_rng(seed).normal(0, size, (4, weights.size))
    path = (weights + steps.cumsum(0)).astype(np.float32)
    coordinates = {"snapshot": [START - 10, START, START + 10, START + 20]}
    data = {"weights": (("snapshot", "parameter"), path)}
    return xr.Dataset(data, coordinates, {"title": "a walk"})


def linear() -> tuple[Objective, np.ndarray]:
    matrix = RNG.normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    loss = Objective(
        jnp.asarray(X), jnp.asarray(Y), lambda w, x: x @ w["w"], Unravel.of({"w": matrix}), mse
    )
    return loss, matrix.ravel()


def mlp(**options: int) -> tuple[Objective, np.ndarray]:
    data = xr.Dataset({"input": (("sample", "feature"), X), "target": (("sample", "class"), Y)})
    model = {"kind": "mlp", "hidden": [5], "activation": "tanh"}
    loss, weights = build(data, model, "mse", seed=0, **options)
    return loss, np.asarray(weights)


def hidden_units_turned(loss: Objective, order: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The same function from other weights: the hidden units in another order."""

    def turned(flat: np.ndarray) -> np.ndarray:
        first, second = (dict(layer) for layer in loss.unravel(jnp.asarray(flat)).values())
        first = {"kernel": first["kernel"][:, order], "bias": first["bias"][order]}
        second["kernel"] = second["kernel"][order]
        names = loss.unravel(jnp.asarray(flat)).keys()
        tree = dict(zip(names, (first, second), strict=True))
        return np.asarray(ravel_pytree(tree)[0])

    return turned


def test_a_flow_with_the_weights_of_the_run_is_at_distance_zero() -> None:
    loss, weights = mlp()
    run = walk(weights, 0.1, 1)
    found = outputs(loss, {"discrete": run, "stable": run.copy(deep=True)}, START)
    assert (found["output_distance"] == 0).all()
    assert np.isnan(found["output_error"].isel(snapshot=0)).all()
    assert (found["output_error"].isel(snapshot=slice(1, None)) == 0).all()


def test_a_permutation_of_hidden_units_moves_the_weights_and_not_the_outputs() -> None:
    loss, weights = mlp()
    run, flow = walk(weights, 0.1, 1), walk(weights, 0.1, 2)
    turned = hidden_units_turned(loss, np.array([3, 0, 4, 1, 2]))
    other = flow.assign(weights=(flow["weights"].dims, [*map(turned, flow["weights"].values)]))
    assert float(abs(other["weights"] - flow["weights"]).max()) > 0.1
    both = outputs(loss, {"discrete": run, "stable": flow, "rod": other}, START)
    one, two = both["output_distance"].values
    np.testing.assert_allclose(two, one, rtol=1e-5)


def test_of_a_linear_model_it_is_the_norm_of_inputs_times_the_difference_of_weights() -> None:
    loss, weights = linear()
    run, flow = walk(weights, 0.1, 1), walk(weights, 0.1, 2)
    found = outputs(loss, {"discrete": run, "stable": flow}, START)

    def norm(difference: np.ndarray) -> float:
        return float(np.linalg.norm(X.astype(float) @ difference.reshape(INPUTS, OUTPUTS)))

    at, there = (d["weights"].values[1:].astype(float) for d in (run, flow))
    distance = [norm(there[k] - at[k]) for k in range(3)]
    travelled = [norm(at[k] - at[0]) for k in range(3)]
    np.testing.assert_allclose(found["output_distance"].values[0], distance, rtol=1e-5)
    np.testing.assert_allclose(found["output_travelled"], travelled, rtol=1e-5)
    error = found["output_error"].values[0, 1:]
    np.testing.assert_allclose(error, np.divide(distance[1:], travelled[1:]), rtol=1e-5)


def test_outputs_are_those_of_a_network_written_out() -> None:
    loss, weights = mlp()
    run, flow = walk(weights, 0.1, 1), walk(weights, 0.1, 2)
    found = outputs(loss, {"discrete": run, "rod": flow}, START)

    def answers(flat: np.ndarray) -> np.ndarray:
        layers = [
            {name: np.asarray(value, float) for name, value in layer.items()}
            for layer in loss.unravel(jnp.asarray(flat)).values()
        ]
        hidden = np.tanh(X @ layers[0]["kernel"] + layers[0]["bias"])
        return hidden @ layers[1]["kernel"] + layers[1]["bias"]

    at, there = (d["weights"].values[-1] for d in (run, flow))
    expected = np.linalg.norm(answers(there) - answers(at))
    np.testing.assert_allclose(found["output_distance"].values[0, -1], expected, rtol=1e-4)


@pytest.mark.slow
def test_a_few_samples_at_a_time_give_the_same() -> None:
    (whole, weights), (parts, _) = mlp(), mlp(samples_at_once=3)
    paths = {"discrete": walk(weights, 0.1, 1), "rod": walk(weights, 0.1, 2)}
    one, two = (outputs(loss, paths, START) for loss in (whole, parts))
    xr.testing.assert_allclose(one, two, rtol=1e-5)


def test_a_flow_that_ends_early_has_no_number_from_there_on() -> None:
    loss, weights = mlp()
    run = walk(weights, 0.1, 1)
    flow = walk(weights, 0.1, 2).isel(snapshot=slice(1, 3))
    found = outputs(loss, {"discrete": run, "rod": flow}, START)["output_error"].values[0]
    assert np.isfinite(found).tolist() == [False, True, False]


def test_a_run_that_diverged_before_the_start_has_nothing() -> None:
    loss, weights = mlp()
    run = walk(weights, 0.1, 1).isel(snapshot=slice(1))
    flow = run.isel(snapshot=slice(0))
    assert outputs(loss, {"discrete": run, "rod": flow}, START).sizes["snapshot"] == 0


def _scalar(weights: dict[str, Array], inputs: Array) -> Array:
    return jnp.sum(weights["w"] ** 2)


def _several(weights: dict[str, Array], inputs: Array) -> tuple[Array, Array]:
    return inputs @ weights["w"], inputs


WITHOUT = {
    "scalar": ({"network": _scalar}, "the model gives an array of shape (), which has no row"),
    "several": ({"network": _several}, "the model gives several arrays"),
    "a loss": (
        {"criterion": lambda given, targets: jnp.mean(given)},
        "the criterion reads no targets, so that the model gives a loss",
    ),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_what_has_no_outputs_says_so_and_does_not_fail(name: str) -> None:
    change, words = WITHOUT[name]
    loss, weights = linear()
    paths = {"discrete": walk(weights, 0.1, 1), "rod": walk(weights, 0.1, 2)}
    found = outputs(replace(loss, **change), paths, START)
    assert found.sizes["snapshot"] == 0 and found["process"].values.tolist() == ["rod"]
    assert found.attrs["status"].startswith(f"no outputs: {words}")


def test_a_loss_of_the_weights_alone_has_no_outputs() -> None:
    loss, start = own(lambda w: jnp.sum(w**2), jnp.ones(3))
    path = walk(np.asarray(start), 0.1, 1)
    status = outputs(loss, {"discrete": path}, START).attrs["status"]
    assert status == "no outputs: the loss is one of the weights alone"
