"""What a transformation does much later than a short run would see."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from representatives import now
from rodflow.optimizers.optimizer_map import OptimizerError, optimizer_map

WEIGHTS = jnp.asarray(np.random.default_rng(2).standard_normal(4), jnp.float32)


def late(start: int, end: float = np.inf) -> optax.GradientTransformation:
    """Keeps a running mean of gradients from a step on, and of their squares before."""

    def init(weights):
        return {"count": jnp.zeros([], jnp.int32), "mean": jnp.zeros_like(weights)}

    def update(gradient, memory, weights=None):
        source = jnp.where(
            (memory["count"] >= start) & (memory["count"] < end), gradient, gradient**2
        )
        mean = 0.9 * memory["mean"] + 0.1 * source
        return -0.1 * gradient, {"count": memory["count"] + 1, "mean": mean}

    return optax.GradientTransformation(init, update)


@pytest.mark.parametrize("start", [20, 50_000])
def test_leaf_that_begins_to_follow_the_sign_late_oscillates(start):
    optimizer = optimizer_map(jnp.sum, late(start), WEIGHTS)
    assert optimizer.oscillating == (True, False, True)


@pytest.mark.parametrize("size", [10.0])
def test_leaf_that_follows_the_sign_of_gradients_of_some_size_only_oscillates(size):
    def update(gradient, mean, weights=None):
        source = jnp.where(jnp.linalg.norm(gradient) > size, gradient, jnp.abs(gradient))
        return -0.1 * gradient, 0.9 * mean + 0.1 * source

    mine = optax.GradientTransformation(jnp.zeros_like, update)
    assert optimizer_map(jnp.sum, mine, WEIGHTS).oscillating == (True, True)


def test_leaf_that_depends_on_an_oscillating_one_where_no_run_has_been_oscillates():
    """It is even along every run from rest, where the two first moments are the same, and not elsewhere."""

    def init(weights):
        return (jnp.zeros_like(weights), jnp.zeros_like(weights), jnp.zeros_like(weights))

    def update(gradient, memory, weights=None):
        one, other, third = memory
        moved = 0.9 * one + 0.1 * gradient, 0.9 * other + 0.1 * gradient
        return -0.1 * gradient, (*moved, 0.9 * third + (one - other))

    mine = optax.GradientTransformation(init, update)
    assert optimizer_map(jnp.sum, mine, WEIGHTS).oscillating == (True, True, True, True)


@pytest.mark.parametrize("steps", now([3, 7, 37, 100, 500, 512, 999], 500))
def test_schedule_that_ends_at_zero_is_a_map_at_its_last_step_too(steps):
    """There a count that is a float gives the rounding of the rate, and a whole one exactly 0."""
    for schedule in (
        optax.linear_schedule(0.1, 0, steps),
        optax.polynomial_schedule(0.1, 0, 2, steps),
    ):
        optimizer = optimizer_map(jnp.sum, optax.sgd(schedule), WEIGHTS)
        assert optimizer.oscillating == (True, False)


@pytest.mark.parametrize(("every", "cast"), [(2, False), (50, True)])
def test_optimizer_that_acts_each_kth_step_only_is_refused(every, cast):
    def init(weights):
        return jnp.zeros([], jnp.int32), jnp.zeros_like(weights)

    def update(gradient, memory, weights=None):
        count, total = memory
        whole = count.astype(jnp.int32) if cast else count
        acts = whole % every == every - 1
        total = total + gradient
        return jnp.where(acts, -0.1 * total, 0), (count + 1, jnp.where(acts, 0, total))

    with pytest.raises(OptimizerError, match="acts at single steps only"):
        optimizer_map(jnp.sum, optax.GradientTransformation(init, update), WEIGHTS)


@pytest.mark.parametrize("every", [9])
def test_accumulated_gradients_are_refused_however_many(every):
    accumulated = optax.MultiSteps(optax.adam(0.01), every).gradient_transformation()
    with pytest.raises(OptimizerError, match="no step count"):
        optimizer_map(jnp.sum, accumulated, WEIGHTS)


@pytest.mark.parametrize(
    "schedule",
    [
        pytest.param(optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 100), id="warm-up, cosine"),
        pytest.param(
            optax.piecewise_constant_schedule(0.1, {20: 0.1, 500: 0.1}),
            id="pieces",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            optax.sgdr_schedule(
                [{"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 5, "decay_steps": 20}] * 3
            ),
            id="restarts",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            optax.exponential_decay(0.1, 1, 0.5), id="halved each step", marks=pytest.mark.slow
        ),
        pytest.param(
            optax.join_schedules(
                [optax.constant_schedule(0.0), optax.constant_schedule(0.1)], [30]
            ),
            id="delayed start",
        ),
    ],
)
def test_schedules_are_no_single_steps(schedule):
    assert optimizer_map(jnp.sum, optax.adamw(schedule), WEIGHTS).oscillating[:3] == (
        True,
        False,
        True,
    )


def test_integer_that_starts_again_after_a_hundred_steps_is_no_step_count():
    def update(gradient, count, weights=None):
        return -0.1 * gradient, (count + 1) % 100

    mine = optax.GradientTransformation(lambda w: jnp.zeros([], jnp.int32), update)
    with pytest.raises(OptimizerError, match="no step count"):
        optimizer_map(jnp.sum, mine, WEIGHTS)


@pytest.mark.parametrize(
    "transformation",
    [
        pytest.param(optax.adam(0.01, mu_dtype=jnp.bfloat16), id="adam"),
        pytest.param(optax.sgd(0.01, 0.9, accumulator_dtype=jnp.float16), id="momentum"),
    ],
)
def test_memory_of_reduced_precision_is_refused_by_name(transformation):
    with pytest.raises(
        OptimizerError, match=r"float16 numbers \(0\.(mu|trace)\) for float32 weights"
    ):
        optimizer_map(jnp.sum, transformation, WEIGHTS)


def test_a_step_count_that_serves_as_an_index_is_the_reason_that_is_given():
    with pytest.raises(OptimizerError, match="needs a whole number as its step count"):
        optimizer_map(jnp.sum, optax.lbfgs(0.1, linesearch=None), WEIGHTS)


@pytest.mark.slow
def test_numbers_of_single_precision_move_with_double_ones():
    with jax.enable_x64(True):
        weights = jnp.asarray(WEIGHTS, jnp.float64)
        rate = jnp.asarray(0.01, jnp.float32)
        injected = optax.inject_hyperparams(optax.adam)(learning_rate=rate)
        optimizer = optimizer_map(jnp.sum, injected, weights)
        state = optimizer(optimizer(optimizer.initial(weights)))
        assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype("float64")}
