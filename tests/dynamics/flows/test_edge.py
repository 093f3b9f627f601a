"""Edge flow: its closed forms on a quadratic, where it begins, what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from representatives import now
from rodflow.dynamics.flows.edge import Carry, Edge, EdgeFlow
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap
from rodflow.optimizers.table import TABLE
from small import jit

RATE = 0.8
CURVATURES = np.array([2.8, 2.2, 1.0, 0.3, 0.1, -0.2])
MIX = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
HESSIAN = MIX * CURVATURES @ MIX.T
UNITS = 12


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def parabola(weights):
    return weights @ HESSIAN @ weights / 2


def quartic(weights):
    return parabola(weights) - 0.05 * jnp.sum(weights**4)


def gd(loss) -> OptimizerMap:
    return OptimizerMap(loss, optax.sgd(RATE), (True,))


FINE = EdgeFlow(rtol=1e-8, atol=1e-10)
"""Errs by some 1e-7 over the runs below."""


def carry_at(optimizer, weights, direction, amplitude) -> Carry:
    state = optimizer.initial(jnp.asarray(weights, float))
    unit = jnp.asarray(direction / np.linalg.norm(direction))
    return Carry(Edge(state, unit, jnp.log(jnp.asarray(float(amplitude)))), jnp.asarray(1 / 32))


def run(optimizer, carry, units=UNITS):
    """The carries after each unit of time, and what was seen before."""

    @jit
    def scanned(carry):
        def advance(carry, key):
            carry, seen = FINE.advance(optimizer, carry, key)
            return carry, (carry, seen)

        return jax.lax.scan(advance, carry, jax.random.split(jax.random.key(0), units))[1]

    return scanned(carry)


START = np.random.default_rng(1).standard_normal((2, 6))


def power(times, vector) -> np.ndarray:
    """exp(eta H t) of a vector, [time, weight]."""
    growth = np.exp(RATE * CURVATURES * np.asarray(times)[:, None])
    return (growth * (MIX.T @ vector)) @ MIX.T


@pytest.fixture(scope="module")
def on_parabola(float64):
    optimizer = gd(parabola)
    return run(optimizer, carry_at(optimizer, *START, 0.5))


TIMES = np.arange(1, UNITS + 1)


def test_on_a_parabola_the_centre_follows_gradient_flow_whatever_the_amplitude(on_parabola):
    expected = power(-TIMES, START[0])
    np.testing.assert_allclose(on_parabola[0].edge.state.weights, expected, atol=1e-7)


def test_direction_turns_to_the_leading_eigenvector_as_a_power_iteration(on_parabola):
    grown = power(TIMES, START[1])
    expected = grown / np.linalg.norm(grown, axis=1, keepdims=True)
    np.testing.assert_allclose(on_parabola[0].edge.direction, expected, atol=1e-6)
    before, after = (np.abs(u @ MIX[:, 0]) for u in (START[1] / np.linalg.norm(START[1]), expected))
    assert before < 0.8
    assert after[-1] > 0.99


def test_amplitude_grows_with_the_sharpness_of_the_direction_above_the_threshold(on_parabola):
    """log a has the integral of eta u . H u - 2, which is log |exp(eta H t) u_0| - 2 t."""
    unit = START[1] / np.linalg.norm(START[1])
    expected = np.log(0.5) + np.log(np.linalg.norm(power(TIMES, unit), axis=1)) - 2 * TIMES
    np.testing.assert_allclose(on_parabola[0].edge.log_amplitude, expected, atol=1e-6)


@pytest.mark.parametrize("mode", now([0, 1], 1))
def test_along_an_eigenvector_log_amplitude_grows_at_eta_lambda_minus_two(mode):
    """Below the threshold it falls."""
    optimizer = gd(parabola)
    carries, seen = run(optimizer, carry_at(optimizer, START[0], MIX[:, mode], 0.1), units=4)
    rate = RATE * CURVATURES[mode] - 2
    assert np.sign(rate) == (1, -1)[mode]
    expected = np.log(0.1) + rate * np.arange(5)
    np.testing.assert_allclose(carries.edge.log_amplitude, expected[1:], atol=1e-12)
    np.testing.assert_allclose(seen["rod_length"], np.exp(expected[:-1]), rtol=1e-12)


def test_without_amplitude_and_below_the_threshold_it_is_gradient_flow():
    def flat(weights):
        return parabola(weights) / 2 + 0.01 * jnp.sum(weights**4)

    optimizer = gd(flat)
    carries, seen = run(optimizer, carry_at(optimizer, START[0], MIX[:, 0], 1e-300), units=6)
    np.testing.assert_array_less(seen["rod_length"], 1e-14)  # rounding alone

    @jit
    def runge_kutta(weights):
        def step(w, _):
            k, h = [-RATE * jax.grad(flat)(w)], 1 / 64
            for part in (h / 2, h / 2, h):
                k.append(-RATE * jax.grad(flat)(w + part * k[-1]))
            return w + h / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3]), None

        return jax.lax.scan(step, weights, length=6 * 64)[0]

    expected = runge_kutta(START[0])
    np.testing.assert_allclose(carries.edge.state.weights[-1], expected, atol=1e-7)


def test_centre_is_pulled_by_the_mean_gradient_at_the_ends():
    """On the axis of y^2 (1 + x) / 2 nothing turns: dx/dt = -eta a^2 / 2 and d log a/dt = eta (1 + x) - 2."""

    def valley(weights):
        return weights[1] ** 2 * (1 + weights[0]) / 2

    optimizer = gd(valley)
    carries, _ = run(optimizer, carry_at(optimizer, [1.8, 0.0], np.array([0.0, 1.0]), 0.3))
    x, amplitude = carries.edge.state.weights[:, 0], np.exp(carries.edge.log_amplitude)
    # d(a^2)/dx = -(4/eta) (eta (1 + x) - 2), so this is constant:
    energy = amplitude**2 + 4 * ((1 + x) ** 2 / 2 - 2 / RATE * x)
    np.testing.assert_allclose(energy, 0.09 + 4 * (2.8**2 / 2 - 2 / RATE * 1.8), atol=1e-6)
    assert 1 + x[-1] < 2 / RATE < 2.8  # it was driven below the threshold


def test_it_shows_the_losses_at_the_ends():
    optimizer = gd(quartic)
    carry = carry_at(optimizer, *START, 0.3)
    _, seen = jit(lambda c: FINE.advance(optimizer, c, jax.random.key(0)))(carry)
    offset = 0.3 * START[1] / np.linalg.norm(START[1])
    for name, shift in (("loss", 0), ("loss_plus", offset), ("loss_minus", -offset)):
        expected = float(quartic(START[0] + shift))
        assert float(seen[name]) == pytest.approx(expected, rel=1e-12)


def test_it_begins_at_the_midpoint_along_the_leading_eigenvector_with_its_part_of_the_extent():
    optimizer = gd(quartic)
    states = [optimizer.initial(0.1 * jnp.asarray(START[0]))]
    for _ in range(2):
        states.append(optimizer(states[-1]))
    edge = jit(lambda *s: EdgeFlow().begin(optimizer, *s))(*states).edge
    before, now, after = (np.asarray(state.weights) for state in states)
    np.testing.assert_allclose(edge.state.weights, (before + 2 * now + after) / 4, rtol=1e-14)
    hessian = jit(jax.hessian(quartic))(edge.state.weights)
    leading = np.linalg.eigh(hessian)[1][:, -1]
    assert abs(edge.direction @ leading) == pytest.approx(1, abs=1e-4)
    expected = abs(edge.direction @ (2 * now - before - after) / 4)
    assert float(jnp.exp(edge.log_amplitude)) == pytest.approx(float(expected), rel=1e-12)


def test_a_flow_that_cannot_be_followed_is_not_a_number():
    def falling(weights):
        return -jnp.sum(weights**4)

    optimizer = gd(falling)
    carry = carry_at(optimizer, 3 * START[0], START[1], 0.1)
    following, seen = jit(lambda c: FINE.advance(optimizer, c, jax.random.key(0)))(carry)
    assert np.isfinite(seen["loss"])
    assert np.all(np.isnan(following.edge.state.weights))


@pytest.mark.parametrize("name", ["heavy_ball", "rmsprop", "adam"])
def test_optimizers_with_a_memory_are_refused(name):
    chosen, oscillating = {
        "heavy_ball": ({"momentum": 0.9}, (True, True)),
        "rmsprop": ({"b2": 0.99, "eps": 1e-8}, (True, False, False)),
        "adam": ({"b1": 0.9, "b2": 0.99, "eps": 1e-8}, (True, False, True, False)),
    }[name]
    optimizer = OptimizerMap(parabola, TABLE[name].build(learning_rate=0.1, **chosen), oscillating)
    state = optimizer.initial(jnp.ones(6))
    with pytest.raises(OptimizerError, match=r"^edge flow: .* gradient descent") as caught:
        EdgeFlow().begin(optimizer, state, state, state)
    assert len(str(caught.value).splitlines()) == 1
