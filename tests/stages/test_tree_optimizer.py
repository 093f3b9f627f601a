"""An optimizer of matrices through the stages: it sees the model's tree, and its state comes back from the file."""

import jax
import jax.flatten_util
import numpy as np
import optax
import pytest
import xarray as xr

from rodflow.problem import labelled, objective
from rodflow.stages.flow import flow_run
from rodflow.stages.run import prepare
from rodflow.stages.training import discrete_run

STEPS = 12
SETTINGS = {
    "batch_size": None,
    "criterion": "mse",
    "dataset": {"name": "digits"},
    "model": {"kind": "mlp", "hidden": [3], "activation": "tanh"},
    "optimizer": {"name": "muon", "learning_rate": 0.02, "beta": 0.9, "weight_decay": 0.0},
    "seed": 0,
    "snapshots": {"every": 5},
    "start": 6,
    "steps": STEPS,
}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return labelled.load({"name": "digits", "samples": 12, "scaling": "unit", "size": 8})


@pytest.fixture(scope="module")
def run(dataset: xr.Dataset) -> xr.Dataset:
    return discrete_run(dataset, SETTINGS)


@pytest.mark.slow
def test_run_is_plain_optax_on_the_tree_of_the_model(dataset: xr.Dataset, run: xr.Dataset) -> None:
    loss, weights = objective.of_run(dataset, SETTINGS)
    muon, layout = optax.contrib.muon(0.02, beta=0.9), loss.unravel
    tree = layout(weights)
    memory = muon.init(tree)
    step = jax.jit(muon.update)
    gradient = jax.jit(
        jax.grad(lambda parameters: loss(jax.flatten_util.ravel_pytree(parameters)[0]))
    )
    for _ in range(11):
        updates, memory = step(gradient(tree), memory, tree)
        tree = optax.apply_updates(tree, updates)
    found = run["iterate"].sel(snapshot=11).values
    expected = jax.flatten_util.ravel_pytree(tree)[0]
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected - weights)


def test_states_of_any_structure_come_back_from_the_run(
    dataset: xr.Dataset, run: xr.Dataset
) -> None:
    ready = prepare(dataset, SETTINGS)
    _, now, _ = ready.states_at_start(run)
    start = ready.optimizer.initial(ready.weights)
    assert jax.tree.structure(now) == jax.tree.structure(start)
    assert [leaf.shape for leaf in jax.tree.leaves(now)] == [
        leaf.shape for leaf in jax.tree.leaves(start)
    ]
    np.testing.assert_array_equal(now.weights, run["iterate"].sel(snapshot=6))


def test_flow_starts_from_them_and_the_run_has_no_gain(
    dataset: xr.Dataset, run: xr.Dataset
) -> None:
    flow = flow_run(dataset, run, "rod_unit_step", SETTINGS)
    assert flow.attrs["status"] == "completed"
    assert "gain" not in run
    moved = np.linalg.norm(run["weights"][-1] - run["weights"].sel(snapshot=6))
    assert np.linalg.norm(flow["weights"][-1] - run["weights"][-1]) < 0.2 * moved
