"""Training: one run, several side by side, and minibatches."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
import xarray as xr

from representatives import now
from rodflow.dynamics.minibatch import Minibatch
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.problem import labelled, objective
from rodflow.stages.flow import flow_run
from rodflow.stages.replicas import replicas
from rodflow.stages.run import prepare
from rodflow.stages.training import BatchError, discrete_run, discrete_runs

SAMPLES, STEPS = 12, 40
HYPERPARAMETERS: dict[str, dict[str, float]] = {
    "gd": {"learning_rate": 0.1},
    "adam": {"learning_rate": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8},
    "amsgrad": {"learning_rate": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8},
    "k_adam": {"learning_rate": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8, "k": 3},
}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return labelled.load({"name": "digits", "samples": SAMPLES, "scaling": "unit", "size": 8})


def settings(optimizer: str = "adam", **changes: Any) -> dict[str, Any]:
    chosen = {k: changes.pop(k) for k in HYPERPARAMETERS[optimizer] if k in changes}
    return {
        "batch_size": None,
        "criterion": "mse",
        "dataset": {"name": "digits"},
        "model": {"kind": "mlp", "hidden": [3], "activation": "tanh"},
        "optimizer": {"name": optimizer} | HYPERPARAMETERS[optimizer] | chosen,
        "seed": 0,
        "snapshots": {"every": 10},
        "start": 20,
        "steps": STEPS,
    } | changes


def runs(dataset: xr.Dataset, *chosen: dict[str, Any], side_by_side: bool) -> list[xr.Dataset]:
    return [*discrete_runs(dataset, chosen, side_by_side=side_by_side)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"learning_rate": 0.02}, {"b1": 0.5}, {"b2": 0.9}, {"seed": 3}, {"seed": 3, "eps": 1e-3}],
    ids=lambda changes: "-".join(changes),
)
@pytest.mark.parametrize("batch_size", now([None, 5], 5))
def test_side_by_side_is_one_after_the_other_to_rounding(
    dataset: xr.Dataset, changes: dict[str, Any], batch_size: int | None
) -> None:
    pair = [settings(batch_size=batch_size), settings(batch_size=batch_size, **changes)]
    together = runs(dataset, *pair, side_by_side=True)
    for one, other in zip(together, runs(dataset, *pair, side_by_side=False), strict=True):
        assert one.data_vars.keys() == other.data_vars.keys()
        for name in other.data_vars:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-3, atol=1e-5)


def test_one_after_the_other_is_each_alone_to_the_bit(dataset: xr.Dataset) -> None:
    pair = [settings(), settings(learning_rate=0.02, seed=3)]
    for one, own in zip(runs(dataset, *pair, side_by_side=False), pair, strict=True):
        xr.testing.assert_equal(one, discrete_run(dataset, own))


@pytest.mark.slow
def test_amsgrad_has_a_gain_in_the_middle_of_its_first_three_states(dataset: xr.Dataset) -> None:
    gain = discrete_run(dataset, settings("amsgrad", start=1))["gain"]
    assert np.all(np.isfinite(gain) & (gain > 0))


@pytest.mark.slow
def test_runs_of_other_hyperparameters_are_not_compiled_again(dataset: xr.Dataset) -> None:
    network = {"kind": "mlp", "hidden": [5], "activation": "tanh"}

    def compilations(**changes: float) -> int:
        events: list[str] = []

        def listen(event: str, *_: float, **__: str) -> None:
            events.append(event)

        jax.monitoring.register_event_duration_secs_listener(listen)
        discrete_run(dataset, settings(model=network, **changes))
        jax.monitoring.unregister_event_duration_listener(listen)
        return sum("backend_compile" in event for event in events)

    assert compilations() > 0
    assert compilations(learning_rate=0.04, b1=0.5, b2=0.9, eps=1e-3, seed=5) == 0


@pytest.mark.parametrize(
    ("optimizer", "too_fast"), now([("gd", 1e3), ("k_adam", 1e19)], ("gd", 1e3))
)
def test_a_run_that_diverges_ends_alone(
    dataset: xr.Dataset, optimizer: str, too_fast: float
) -> None:
    pair = [settings(optimizer), settings(optimizer, learning_rate=too_fast)]
    calm, wild = runs(dataset, *pair, side_by_side=True)
    alone = discrete_run(dataset, pair[1])
    assert calm.attrs["status"] == "completed"
    assert calm.sizes["step"] == STEPS + 1
    assert wild.attrs["status"] == alone.attrs["status"]
    assert wild.attrs["status"] == f"diverged at step {wild.sizes['step']}"
    assert np.isfinite(wild["loss"]).all()
    assert wild.sizes == alone.sizes


def test_runs_of_other_models_are_refused(dataset: xr.Dataset) -> None:
    wide = settings() | {"model": {"kind": "mlp", "hidden": [4], "activation": "tanh"}}
    with pytest.raises(BatchError, match="hyperparameters and seed only"):
        runs(dataset, settings(), wide, side_by_side=True)


def test_a_run_that_diverges_at_once_keeps_no_weights_but_their_number(dataset: xr.Dataset) -> None:
    data = discrete_run(dataset, settings("gd", learning_rate=1e30))
    assert data.attrs["status"].startswith("diverged")
    assert data["weights"].sizes["parameter"] > 0


# Minibatches


def drawn(dataset: xr.Dataset, size: int, steps: int, seed: int = 0) -> list[list[int]]:
    """The samples of each step's batch, seen through a loss that tells which it is asked for."""
    loss, weights = objective.build(dataset, {"kind": "mlp", "hidden": [3]}, "mse", 0)
    optimizer = optimizer_map(loss, TABLE["gd"].build(learning_rate=0.0), weights)
    process = Minibatch(size)
    advance = eqx.filter_jit(process.advance)
    key = jax.random.key(seed)
    carry = process.first(optimizer, weights, jax.random.fold_in(key, steps + 1))
    found = []
    for step in range(steps):
        order = np.asarray(carry.epoch.order)
        last = (int(carry.epoch.used) or SAMPLES // size) * size
        found.append(order[last - size : last].tolist())
        carry, _ = advance(optimizer, carry, jax.random.fold_in(key, step))
    return found


@pytest.mark.parametrize("size", now([1, 4, 5, 12], 5))
def test_no_sample_is_drawn_twice_in_an_epoch(dataset: xr.Dataset, size: int) -> None:
    batches = drawn(dataset, size, 3 * (SAMPLES // size))
    epoch = SAMPLES // size
    for first in range(0, len(batches), epoch):
        samples = [one for batch in batches[first : first + epoch] for one in batch]
        assert len(samples) == len({*samples}) == epoch * size


def test_every_epoch_has_an_order_of_its_own(dataset: xr.Dataset) -> None:
    batches = drawn(dataset, 4, 6)
    assert batches[:3] != batches[3:]


@pytest.mark.slow
def test_the_order_is_that_of_the_seed(dataset: xr.Dataset) -> None:
    assert drawn(dataset, 4, 6, seed=1) == drawn(dataset, 4, 6, seed=1)
    assert drawn(dataset, 4, 6, seed=1) != drawn(dataset, 4, 6, seed=2)


@pytest.mark.slow
def test_a_step_on_a_batch_is_the_optimizers_step_on_its_samples(dataset: xr.Dataset) -> None:
    loss, weights = objective.build(dataset, {"kind": "mlp", "hidden": [3]}, "mse", 0)
    optimizer = optimizer_map(loss, TABLE["gd"].build(learning_rate=0.1), weights)
    process = Minibatch(5)
    carry = process.first(optimizer, weights, jax.random.key(7))
    chosen = carry.epoch.order[:5]
    expected = weights - 0.1 * jax.grad(loss.of(chosen))(weights)
    np.testing.assert_allclose(carry.run.after.weights, expected, rtol=1e-6, atol=1e-7)
    following, seen = process.advance(optimizer, carry, jax.random.key(8))
    at = carry.run.after.weights
    again = at - 0.1 * jax.grad(loss.of(carry.epoch.order[5:10]))(at)
    np.testing.assert_allclose(following.run.after.weights, again, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(seen["loss"], loss.of(chosen)(weights), rtol=1e-6)


def test_a_batch_of_all_samples_is_the_full_batch_in_another_order(dataset: xr.Dataset) -> None:
    full = discrete_run(dataset, settings("gd"))
    batch = discrete_run(dataset, settings("gd", batch_size=SAMPLES))
    for name in ("loss", "weights"):
        np.testing.assert_allclose(batch[name], full[name], rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_batch_says_so(dataset: xr.Dataset) -> None:
    data = discrete_run(dataset, settings("gd", batch_size=4))
    assert data["loss"].attrs["long_name"].startswith("the step's batch: loss at")


def test_a_run_on_batches_is_looked_at_as_a_whole_at_its_snapshots(dataset: xr.Dataset) -> None:
    data = discrete_run(dataset, settings("gd", batch_size=4))
    loss, _ = objective.build(dataset, settings()["model"], "mse", 0)
    expected = [loss(weights) for weights in data["iterate"].values]
    np.testing.assert_allclose(data["full_loss"], expected, rtol=1e-5)
    assert data["batch_sharpness"].dims == ("snapshot",)
    assert (data["batch_sharpness"] > 0).all()


@pytest.mark.parametrize("flow", now(["pair", "kicked_rod"], "pair"))
def test_a_flow_of_batches_starts_from_the_states_of_its_run(
    dataset: xr.Dataset, flow: str
) -> None:
    chosen = settings("gd", batch_size=4)
    run = discrete_run(dataset, chosen)
    found = flow_run(dataset, run, flow, chosen)
    assert found.attrs["status"] == "completed"
    np.testing.assert_array_equal(found["weights"][0], run["weights"].sel(snapshot=20))
    assert (found["noise"] > 0).all()


def test_what_runs_again_the_same_steps_is_not_started_from_a_run_on_batches(
    dataset: xr.Dataset,
) -> None:
    chosen = settings("gd", batch_size=4)
    run = discrete_run(dataset, chosen)
    found = replicas(prepare(dataset, chosen), run, count=1)
    assert found.attrs["status"] == "not started: discrete run is on minibatches"
