"""The stable flow: the solution of its equation, whatever method is at work, and the method behind it."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.dynamics.flows.stable import StableFlow
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.lifted import from_consecutive
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from small import WEIGHTS, double_precision, jit, network_loss

ADAM = {"b1": 0.9, "b2": 0.95, "eps": 1e-8}
CASES = {
    "gd": {"learning_rate": 0.3},
    "heavy_ball": {"learning_rate": 0.5, "momentum": 0.9},
    "rmsprop": {"learning_rate": 0.03, "b2": 0.99, "eps": 1e-8},
    "adam": {"learning_rate": 0.02, **ADAM},
}
UNITS = 60


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


class Network(eqx.Module):
    """A small network, with a rough loss if there is a ripple: no long step follows one."""

    ripple: float = 0.0

    def __call__(self, weights):
        return network_loss(weights) + self.ripple**2 * jnp.sum(jnp.sin(weights / self.ripple))


def started(name, ripple=None, steps=20):
    """The map of an optimizer, and three states of its run."""
    loss = network_loss if ripple is None else Network(ripple)
    transformation = TABLE[name].build(**CASES[name])
    optimizer = optimizer_map(loss, transformation, jnp.asarray(WEIGHTS))
    states = [optimizer.initial(jnp.asarray(WEIGHTS))]
    step = jit(optimizer.__call__)
    for _ in range(steps):
        states.append(step(states[-1]))
    return optimizer, tuple(states[-3:])


def reference(optimizer, states, units=UNITS):
    """The weights after so many units of time, by another method to a tight tolerance."""

    @jit
    def solve(start):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, z, _: jax.tree.map(jnp.subtract, optimizer(z), z)),
            diffrax.Tsit5(),
            0.0,
            float(units),
            0.01,
            start,
            stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-13),
            max_steps=100_000,
        )
        return found.ys.weights[0]

    return solve(from_consecutive(optimizer, *states).centre)


def flown(optimizer, states, units=UNITS, **chosen):
    chosen = {name: jnp.asarray(value) for name, value in chosen.items()}  # one program for all
    return integrate(StableFlow(**chosen), optimizer, states, start=0, stop=units, every=units)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_solves_its_equation_to_the_tolerance(name):
    optimizer, states = started(name)
    end = reference(optimizer, states)
    moved = np.linalg.norm(end - from_consecutive(optimizer, *states).centre.weights)
    errors = []
    for rtol in (1e-4, 1e-6):
        found = flown(optimizer, states, rtol=rtol, atol=rtol / 100)
        errors.append(np.linalg.norm(found.snapshots["weights"][-1] - end) / moved)
    assert errors[0] < 3e-3
    assert errors[1] < 1e-4
    assert errors[1] < errors[0] / 5


@pytest.mark.slow
def test_a_rough_field_is_left_to_the_adaptive_method():
    optimizer, states = started("gd", ripple=1e-3)
    found = flown(optimizer, states)
    adaptive = int(found.series["adaptive"].sum())
    assert adaptive > UNITS / 2
    assert found.status == f"completed: adaptive method for {adaptive} of {UNITS + 1} steps"
    end = reference(optimizer, states)
    moved = np.linalg.norm(end - from_consecutive(optimizer, *states).centre.weights)
    assert np.linalg.norm(found.snapshots["weights"][-1] - end) < 0.02 * moved


def test_a_flow_that_cannot_be_followed_ends_and_says_so():
    """A weight that reaches the border of the loss's domain: no step goes beyond it."""

    def well(weights):
        return -jnp.sum(jnp.sqrt(weights - 0.5))

    optimizer = optimizer_map(lambda w: -well(w), TABLE["gd"].build(learning_rate=0.1), jnp.ones(3))
    state = optimizer.initial(jnp.ones(3))
    found = integrate(
        StableFlow(max_steps=200), optimizer, (state,) * 3, start=0, stop=UNITS, every=UNITS
    )
    assert found.status.startswith("diverged at step ")
