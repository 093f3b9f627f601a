"""Recording: chunks, snapshots, held carries, divergence, and the midpoints of the discrete run."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.process import Process, grid, record
from rodflow.dynamics.training import discrete
from rodflow.optimizers.optimizer_map import OptimizerMap, optimizer_map

INPUTS = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
TARGETS = np.random.default_rng(1).standard_normal(6).astype(np.float32)
WEIGHTS = np.random.default_rng(2).standard_normal(16).astype(np.float32)
STEPS = 24


def loss(weights):
    """Of a tanh network, 3-4-1."""
    hidden = jnp.tanh(INPUTS @ weights[:12].reshape(3, 4))
    return jnp.mean((hidden @ weights[12:] - TARGETS) ** 2) / 2


OPTIMIZER = OptimizerMap(loss, optax.sgd(1.0, momentum=0.5), (True, True))


@pytest.fixture(scope="module")
def run():
    return discrete(
        OPTIMIZER, jnp.asarray(WEIGHTS), steps=STEPS, snapshot_steps=grid(4, 1, STEPS, 6), hold=[4]
    )


@pytest.fixture(scope="module")
def iterates() -> np.ndarray:
    """The weights at steps 0 to STEPS + 1, by hand."""
    step, state = jax.jit(OPTIMIZER.__call__), OPTIMIZER.initial(jnp.asarray(WEIGHTS))
    found = [state.weights]
    for _ in range(STEPS + 1):
        state = step(state)
        found.append(state.weights)
    return np.stack(found)


@pytest.mark.parametrize(
    ("arguments", "steps"),
    [
        ((4, 1, 24, 6), [4, 10, 16, 22]),
        ((20, 1, 40, 10), [10, 20, 30, 40]),
        ((20, 20, 45, 10), [20, 30, 40]),
        ((5, 12, 30, 10), [15, 25]),
        ((7, 7, 7, 3), [7]),
        ((3, 0, 4, 1), [0, 1, 2, 3, 4]),
    ],
)
def test_grid_is_the_multiples_from_the_start_within_the_range(arguments, steps):
    assert grid(*arguments) == steps


def test_every_step_is_observed(run):
    assert run.status == "completed"
    np.testing.assert_array_equal(run.steps, np.arange(STEPS + 1))
    assert set(run.series) == {"loss", "gradient_norm", "rod_length"}
    assert all(values.shape == (STEPS + 1,) for values in run.series.values())


def test_series_are_the_loss_and_gradient_norm_at_the_iterates(run, iterates):
    values, gradients = jax.vmap(jax.value_and_grad(loss))(jnp.asarray(iterates[:-1]))
    np.testing.assert_allclose(run.series["loss"], values, rtol=2e-5)
    norms = np.linalg.norm(gradients, axis=1)
    np.testing.assert_allclose(run.series["gradient_norm"], norms, rtol=2e-4)


def test_snapshots_are_where_they_were_asked_for(run, iterates):
    np.testing.assert_array_equal(run.snapshot_steps, [4, 10, 16, 22])
    np.testing.assert_allclose(run.snapshots["iterate"], iterates[[4, 10, 16, 22]], rtol=2e-5)


def test_weights_of_a_snapshot_are_the_midpoint_of_three_iterates(run, iterates):
    at = run.snapshot_steps
    midpoints = (iterates[at - 1] + 2 * iterates[at] + iterates[at + 1]) / 4
    np.testing.assert_allclose(run.snapshots["weights"], midpoints, rtol=2e-5, atol=1e-6)


def test_rod_length_is_the_norm_of_the_half_extent_of_three_iterates(run, iterates):
    extents = (2 * iterates[1:-1] - iterates[:-2] - iterates[2:]) / 4
    lengths = np.linalg.norm(extents, axis=1)
    assert np.isnan(run.series["rod_length"][0])
    np.testing.assert_allclose(run.series["rod_length"][1:], lengths, rtol=1e-3, atol=1e-6)
    at = run.snapshot_steps
    np.testing.assert_allclose(run.snapshots["half_extent"], extents[at - 1], atol=2e-6)


def test_held_states_are_three_consecutive_ones(run, iterates):
    held = run.held[4]
    found = [state.weights for state in (held.before, held.now, held.after)]
    np.testing.assert_allclose(found, iterates[3:6], rtol=2e-5)
    assert held.loss == run.series["loss"][4]


@pytest.mark.parametrize("flow", [None, "rod_unit_step"])
def test_snapshot_spacing_does_not_change_a_number(flow, run):
    def spaced(every):
        if flow is None:
            start = jnp.asarray(WEIGHTS)
            return discrete(OPTIMIZER, start, steps=STEPS, snapshot_steps=grid(4, 1, STEPS, every))
        return integrate(flow, OPTIMIZER, run.held[4][:3], start=4, stop=STEPS, every=every)

    fine, coarse = spaced(2), spaced(10)
    for name, values in fine.series.items():
        np.testing.assert_array_equal(values, coarse.series[name])
    both = np.isin(fine.snapshot_steps, coarse.snapshot_steps)
    for name in ("weights", "half_extent"):
        np.testing.assert_array_equal(fine.snapshots[name][both], coarse.snapshots[name])


def test_flow_starts_at_the_midpoint_of_the_run(run):
    flow = integrate("rod_unit_step", OPTIMIZER, run.held[4][:3], start=4, stop=STEPS, every=10)
    np.testing.assert_array_equal(flow.steps, np.arange(4, STEPS + 1))
    np.testing.assert_array_equal(flow.snapshots["weights"][0], run.snapshots["weights"][0])
    np.testing.assert_array_equal(flow.snapshots["half_extent"][0], run.snapshots["half_extent"][0])


def test_progress_is_told_the_last_step_and_loss_of_every_chunk(run):
    told = []
    discrete(
        OPTIMIZER,
        jnp.asarray(WEIGHTS),
        steps=STEPS,
        snapshot_steps=grid(4, 1, STEPS, 6),
        hold=[4],
        progress=lambda step, loss: told.append((step, loss)),
    )
    assert told == [(step, float(run.series["loss"][step])) for step in (3, 9, 15, 21, STEPS)]


# Divergence: w' = -2 w, so that w^2 / 2 overflows single precision at a known step.


def parabola(weights):
    return jnp.sum(weights**2) / 2


STEEP = OptimizerMap(parabola, optax.sgd(3.0), (True,))
OVERFLOW = 64  # 4^64 / 2 = 2^127 is finite in single precision, but not the square 4^64 = 2^128


@pytest.mark.parametrize("every", [5, 100])
def test_divergence_is_reported_at_the_first_step_whose_loss_is_not_finite(every):
    found = discrete(STEEP, jnp.ones(1), steps=90, snapshot_steps=grid(5, 1, 90, every), hold=[80])
    assert found.status == f"diverged at step {OVERFLOW}"
    np.testing.assert_array_equal(found.steps, np.arange(OVERFLOW))
    assert all(values.shape == (OVERFLOW,) for values in found.series.values())
    np.testing.assert_allclose(found.series["loss"], 4.0 ** np.arange(OVERFLOW) / 2)
    assert np.all(found.snapshot_steps < OVERFLOW)
    assert len(found.snapshots["weights"]) == len(found.snapshot_steps)
    assert not found.held


def test_run_that_starts_beyond_all_bounds_has_no_series():
    found = discrete(STEEP, jnp.full(1, 1e30), steps=5, snapshot_steps=[])
    assert found.status == "diverged at step 0"
    assert found.steps.size == found.series["loss"].size == 0
    assert found.snapshots == {}


def test_noise_of_a_step_depends_on_its_number_and_the_seed_alone(run):
    flow = FLOWS.load("rod_unit_step").process()
    carry = flow.begin(OPTIMIZER, *run.held[4][:3])

    def after(first, seed):
        found = record(
            flow,
            OPTIMIZER,
            carry,
            first=first,
            last=first + 20,
            snapshot_steps=[first + 20],
            key=jax.random.key(seed),
        )
        return found.snapshots["half_extent"]

    np.testing.assert_array_equal(after(4, 0), after(4, 0))
    assert np.any(after(4, 0) != after(4, 1))
    assert np.any(after(4, 0) != after(5, 0))


@pytest.mark.slow
def test_stable_flow_that_reaches_infinity_in_finite_time_ends_as_diverged():
    """On L = -w^4 / 4 gradient flow is dw/dt = eta w^3, which is infinite at t = 1 / (2 eta w0^2) = 9.1."""

    def falling(weights):
        return -jnp.sum(weights**4) / 4

    weights = jnp.array([1.0])
    optimizer = optimizer_map(falling, optax.sgd(0.055), weights)
    state = optimizer.initial(weights)
    found = integrate("stable", optimizer, (state, state, state), start=0, stop=20, every=5)
    assert found.status == "diverged at step 10"


# What a process may do between chunks and say at the end.


class Lengthening(Process):
    """Its carry gets an entry more at every `adapt`; it shows how many there are and remarks on more than `most`."""

    most: int = 100

    def begin(self, optimizer, before, now, after):
        return now, jnp.ones(1)

    def advance(self, optimizer, carry, key):
        state, ones = carry
        seen = {"loss": optimizer.loss(state.weights), "entries": jnp.sum(ones)}
        return (optimizer(state), ones), seen

    def snapshot(self, optimizer, carry):
        state, ones = carry
        return {"weights": state.weights, "memory": state.memory, "entries": jnp.sum(ones)}

    def adapt(self, optimizer, carry):
        state, ones = carry
        return state, jnp.ones(ones.size + 1)

    def remark(self, series, steps):
        beyond = steps[series["entries"] > self.most]
        return f"too long at {beyond.size} steps from step {beyond[0]} on" if beyond.size else ""


@functools.cache
def descent(rate):
    return OptimizerMap(parabola, optax.sgd(rate), (True,))


def lengthening(most, rate=0.1, stop=26, **how):
    """From step 5 on, with snapshots at 15 and 25."""
    optimizer = descent(rate)
    state = optimizer.initial(jnp.ones(2))
    states = (state, state, state)
    return integrate(Lengthening(most=most), optimizer, states, start=5, stop=stop, every=10, **how)


def test_between_two_chunks_a_process_may_change_the_shapes_of_its_carry():
    found = lengthening(most=100)
    np.testing.assert_array_equal(found.snapshot_steps, [5, 15, 25])
    np.testing.assert_array_equal(found.snapshots["entries"], [1, 2, 3])
    np.testing.assert_array_equal(found.series["entries"], np.repeat([1, 2, 3], [10, 10, 2]))
    expected = 0.9 ** (2 * np.arange(22))
    np.testing.assert_allclose(found.series["loss"], expected, rtol=1e-5)


def test_status_of_a_completed_run_ends_with_the_remark_of_its_process():
    assert lengthening(most=100).status == "completed"
    assert lengthening(most=2).status == "completed: too long at 2 steps from step 25 on"


def test_status_of_a_run_that_diverged_ends_with_the_remark_of_its_process_too():
    found = lengthening(most=1, rate=3.0, stop=100)
    when, why = found.status.split(": ")
    assert when == "diverged at step 69"  # 4^64 after 64 steps from step 5
    assert why.startswith("too long at")
    assert found.series["entries"].max() > 1
