"""Adam with a second moment that is frozen after a step: against optax before and after it."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

from rodflow.optimizers.alternation import alternating_gain, threshold
from rodflow.optimizers.library import adam_frozen
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.thresholds import averaging_threshold

FREEZE, RATE, B1, B2, EPS = 7, 0.1, 0.9, 0.99, 1e-8


def gradient(step: int) -> Array:
    """One without structure, another at every step."""
    return jnp.asarray(np.random.default_rng(step).standard_normal(5), jnp.float32)


def updates_of(transformation: optax.GradientTransformation, steps: range) -> list[np.ndarray]:
    state = transformation.init(jnp.zeros(5))
    found = []
    for step in steps:
        update, state = transformation.update(gradient(step), state)
        found.append(np.asarray(update))
    return found


def frozen() -> optax.GradientTransformation:
    return adam_frozen.build(learning_rate=RATE, b1=B1, b2=B2, eps=EPS, freeze=FREEZE)


def test_it_is_adam_until_it_is_frozen() -> None:
    own, adam = (
        updates_of(one, range(FREEZE)) for one in (frozen(), optax.adam(RATE, B1, B2, EPS))
    )
    np.testing.assert_array_equal(own, adam)


def test_then_it_is_momentum_with_the_preconditioner_of_adam_at_that_step() -> None:
    steps = range(40)
    adam = optax.scale_by_adam(B1, B2, EPS)
    state = adam.init(jnp.zeros(5))
    for step in range(FREEZE):
        _, state = adam.update(gradient(step), state)
    preconditioner = jnp.sqrt(state.nu / (1 - B2**FREEZE)) + EPS
    momentum = updates_of(optax.ema(B1, debias=True), steps)
    expected = [-RATE * one / preconditioner for one in momentum]
    np.testing.assert_allclose(updates_of(frozen(), steps)[FREEZE:], expected[FREEZE:], rtol=2e-6)


def test_its_second_moment_stays_as_it_is_at_that_step() -> None:
    transformation = frozen()
    state = transformation.init(jnp.zeros(5))
    moments = []
    for step in range(20):
        _, state = transformation.update(gradient(step), state)
        moments.append(np.asarray(optax.tree_utils.tree_get(state, "nu")))
    np.testing.assert_array_equal(moments[FREEZE - 1 :], [moments[FREEZE - 1]] * (21 - FREEZE))
    assert not np.array_equal(moments[FREEZE - 2], moments[FREEZE - 1])


@pytest.mark.slow
def test_its_threshold_is_that_of_adam_also_where_a_weight_never_has_a_gradient() -> None:
    weights = jnp.zeros(5)
    optimizer = optimizer_map(lambda w: jnp.sum(w**2), frozen(), weights)
    state = optimizer.initial(weights)
    for step in range(300):
        state = optimizer.update(state, gradient(step).at[2].set(0))
    moment = optax.tree_utils.tree_get(state.memory, "nu") / (1 - B2**FREEZE)
    preconditioner = np.asarray(jnp.sqrt(moment) + EPS)
    assert preconditioner[2] == np.float32(EPS)
    found = threshold(alternating_gain(optimizer, state), preconditioner, RATE)
    np.testing.assert_allclose(found, averaging_threshold(B1), rtol=1e-5)
