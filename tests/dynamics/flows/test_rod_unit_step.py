"""The rod flow in unit steps: its linear modes, where they are damped, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.lifted import Rod, lifted_map
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from small import WEIGHTS, double_precision, jit, network_loss

FLOW = FLOWS.load("rod_unit_step").process()


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def coefficients(j):
    """Of mu^2 - a mu + b for a mode of eigenvalue J."""
    return j + (1 + (1 - j) ** 2 / 4) / 3, (1 + j) ** 2 / 12


def roots(j) -> np.ndarray:
    a, b = coefficients(np.asarray(j, complex))
    root = np.sqrt(a**2 - 4 * b)
    return np.stack([(a + root) / 2, (a - root) / 2])


def states(optimizer, weights, count=3):
    found = [optimizer.initial(jnp.asarray(weights))]
    for _ in range(count - 1):
        found.append(optimizer(found[-1]))
    return found


def units(optimizer, carry, count):
    """Carries after 0, 1, ..., count units of time."""
    advance = jit(lambda carry, key: FLOW.advance(optimizer, carry, key)[0])
    found = [carry]
    for key in jax.random.split(jax.random.key(0), count):
        found.append(advance(found[-1], key))
    return found


def test_linear_modes_obey_the_stated_recurrence():
    curvatures = np.linspace(0, 3.9, 14)
    optimizer = optimizer_map(
        lambda w: jnp.sum(curvatures * w**2) / 2, optax.sgd(1.0), jnp.zeros(curvatures.size)
    )
    found = units(optimizer, FLOW.begin(optimizer, *states(optimizer, np.ones(14))), 6)
    for part, j in (("centre", 1 - curvatures), ("extent", curvatures - 1)):
        y = np.stack([getattr(carry, part).weights for carry in found])
        a, b = coefficients(j)
        scale = np.abs(y).max(axis=0) + 1e-3
        np.testing.assert_allclose((y[3:] - a * y[2:-1] + b * y[1:-2]) / scale, 0, atol=1e-11)


def test_leading_root_agrees_with_the_mode_to_third_order():
    x = np.array([0.02, 0.01, -0.01, -0.02])
    error = roots(1 + x)[0].real - (1 + x)
    np.testing.assert_allclose(error, x**3 / 8, rtol=0.05)


def test_redundant_copies_are_gone_after_a_few_units():
    assert np.sort(roots(-1.0).real) == pytest.approx([-1 / 3, 0])


def test_modes_are_damped_throughout_the_stable_range_but_for_one_that_touches():
    inside = np.linspace(-1 - np.sqrt(12), 1, 10_001)[1:-1]
    assert np.all(np.abs(roots(inside[np.abs(inside + 3) > 1e-3])) < 1)
    assert np.sort(roots(-3.0).real) == pytest.approx([-1, -1 / 3])
    assert np.abs(roots(np.array([-1 - np.sqrt(12), 1]))).max(axis=0) == pytest.approx(1)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, 1.0])
def test_momentum_pairs_decay_as_the_optimizer_lets_them(decay):
    size = np.sqrt(decay)
    slowest = np.abs(roots(size * np.exp(1j * np.linspace(0, np.pi, 10_001)))).max()
    assert slowest <= size + 0.3 * (1 - size) ** 2 + 1e-12
    assert slowest < 1 or decay == 1


def test_second_moment_and_count_are_those_of_one_lifted_step():
    transformation = TABLE["adam"].build(learning_rate=0.02, b1=0.9, b2=0.99, eps=1e-8)
    optimizer = optimizer_map(network_loss, transformation, jnp.asarray(WEIGHTS))
    carry = jit(lambda w: FLOW.begin(optimizer, *states(optimizer, w, 3)))(jnp.asarray(WEIGHTS))
    _, after = units(optimizer, carry, 1)
    once = jit(lambda rod: lifted_map(optimizer, rod))(Rod(carry.centre, carry.extent))
    for found, expected, oscillates in zip(
        jax.tree.leaves(after.centre),
        jax.tree.leaves(once.centre),
        optimizer.oscillating,
        strict=True,
    ):
        if not oscillates:
            np.testing.assert_allclose(found, expected, rtol=1e-9)
