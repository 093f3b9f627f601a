"""The kicked rod: what the noise kicks, the unit step without it, and the variance at the edge."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.config.catalogue import FLOWS, OPTIMIZERS
from rodflow.dynamics.flows.kicked_rod import KickedRod, answer
from rodflow.dynamics.flows.rod_unit_step import RodUnitStep
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from sampled import covariance_of_batches, slopes, started, tanh
from small import WEIGHTS, double_precision

RMSPROP = {"learning_rate": 0.05, "b2": 0.95, "eps": 1e-8}


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def of(name, loss, weights=WEIGHTS, **hyperparameters):
    return optimizer_map(loss, TABLE[name].build(**hyperparameters), jnp.asarray(weights))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hyperparameters"),
    [
        ("gd", {"learning_rate": 1.0}),
        pytest.param("rmsprop", RMSPROP, marks=pytest.mark.slow),
    ],
)
def test_without_noise_it_is_the_unit_step(name, hyperparameters):
    optimizer = of(name, tanh(), **hyperparameters)
    states = started(optimizer, WEIGHTS)
    kicked, plain = (flow.begin(optimizer, *states) for flow in (KickedRod(10), RodUnitStep()))
    for key in jax.random.split(jax.random.key(0), 5):
        kicked, _ = KickedRod(10).advance(optimizer, kicked, key)
        plain, _ = RodUnitStep().advance(optimizer, plain, key)
    for a, b in zip(jax.tree.leaves(kicked.rod), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_the_half_extent_is_kicked_by_the_odd_part_and_the_second_moment_by_the_even_one():
    optimizer = of("rmsprop", tanh(), **RMSPROP)
    here = optimizer(optimizer.initial(jnp.asarray(WEIGHTS)))
    gradient, noise = jnp.sin(jnp.arange(16.0)), jnp.cos(jnp.arange(16.0))
    kick = answer(optimizer, here, gradient, noise)
    up, down = (optimizer.update(here, gradient + s * noise).weights for s in (1, -1))
    np.testing.assert_allclose(kick.extent.weights, (up - down) / 2, rtol=1e-12)
    moments = [leaf for leaf in jax.tree.leaves(kick.centre.memory) if leaf.shape == (16,)]
    assert len(moments) == 1
    np.testing.assert_allclose(moments[0], (1 - RMSPROP["b2"]) * noise**2, rtol=1e-9)


@pytest.mark.slow
def test_near_the_edge_the_half_extent_has_the_variance_of_sgd():
    """There V' = (1 - h) V - xi alternates nearly, and the unit step's mode is 1 - h to third order in 2 - h."""
    curvature = np.array([1.8, 1.9])
    loss = slopes(12, curvature)
    optimizer = of("gd", loss, np.ones(2), learning_rate=1.0)
    carry = KickedRod(7).begin(optimizer, *started(optimizer, np.ones(2)))
    keys = jax.random.split(jax.random.key(1), 60_000)

    def step(carry, key):
        carry, _ = KickedRod(7).advance(optimizer, carry, key)
        return carry, carry.rod.extent.weights

    found = eqx.filter_jit(lambda carry: jax.lax.scan(step, carry, keys))(carry)[1]
    noise = np.diag(covariance_of_batches(np.asarray(loss.slopes), 7))
    expected = noise / (1 - (1 - curvature) ** 2)
    np.testing.assert_allclose(np.var(found[500:], axis=0), expected, rtol=0.1)


def test_it_exists_for_methods_without_momentum():
    entry = FLOWS["kicked_rod"]
    known = {name for name in OPTIMIZERS if entry.supports(name, OPTIMIZERS[name])}
    assert {"gd", "rmsprop", "rmsprop_scalar", "adagrad"} <= known
    assert not known & {"heavy_ball", "nesterov", "adam", "adamw", "nadam", "lion", "muon"}


@pytest.mark.slow
def test_it_costs_the_unit_step_and_the_noise():
    optimizer = of("gd", tanh(), learning_rate=0.1)
    carry = KickedRod(5).begin(optimizer, *started(optimizer, WEIGHTS))
    _, seen = KickedRod(5).advance(optimizer, carry, jax.random.key(0))
    assert seen["gradients"] == pytest.approx(5.5)
