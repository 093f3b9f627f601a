"""What a rod says of the edge at its amplitude: exact values on quadratics and quartics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.dynamics.amplitude import multiplier, multiplier_if_open, quotient, secant
from rodflow.dynamics.lifted import Rod, lifted_map
from rodflow.optimizers.optimizer_map import State, optimizer_map

CURVATURES = np.array([3.0, 0.5, 1.0])
CENTRE, EXTENT = np.array([0.2, -1.0, 0.7]), np.array([0.3, 0.1, -0.2])
P = np.array([2.0, 1.0, 4.0])


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def quadratic(weights):
    return jnp.sum(CURVATURES * weights**2) / 2


def quartic(weights):
    return quadratic(weights) - jnp.sum(weights**4) / 4


def rod(extent=EXTENT) -> Rod:
    return Rod(State(jnp.asarray(CENTRE), ()), State(jnp.asarray(extent), ()))


def of_descent(loss, rate: float):
    optimizer = optimizer_map(loss, optax.sgd(rate), jnp.asarray(CENTRE))
    state = optimizer.initial(jnp.asarray(CENTRE))
    return optimizer, rod()._replace(
        centre=state, extent=state._replace(weights=jnp.asarray(EXTENT))
    )


def test_on_a_quadratic_secant_and_quotient_are_the_same_at_any_amplitude():
    expected = np.sum(CURVATURES * EXTENT**2) / np.sum(P * EXTENT**2)
    for size in (1e-3, 1.0, 1e3):
        found = [f(quadratic, CENTRE, size * EXTENT, P) for f in (secant, quotient)]
        np.testing.assert_allclose(found, [expected, expected], rtol=1e-9)


def test_on_a_quartic_the_secant_has_the_cube_of_the_amplitude_and_the_quotient_has_not():
    squared = np.sum(P * EXTENT**2)
    hessian = CURVATURES - 3 * CENTRE**2
    straight = np.sum(hessian * EXTENT**2) / squared
    assert quotient(quartic, CENTRE, EXTENT, P) == pytest.approx(straight, rel=1e-12)
    # (g(Z + X) - g(Z - X)) / 2 = (S - 3 Z^2) X - X^3.
    expected = straight - np.sum(EXTENT**4) / squared
    assert secant(quartic, CENTRE, EXTENT, P) == pytest.approx(expected, rel=1e-12)


def test_a_weight_that_does_not_move_counts_for_nothing_though_it_is_infinitely_heavy():
    extent, heavy = np.array([0.3, 0.0, 0.0]), np.array([2.0, np.inf, np.inf])
    found = [f(quadratic, CENTRE, extent, heavy) for f in (secant, quotient)]
    np.testing.assert_allclose(found, [1.5, 1.5], rtol=1e-12)


def test_multiplier_of_descent_on_a_quadratic_is_that_of_each_direction():
    optimizer, start = of_descent(quadratic, 0.7)
    for direction, curvature in zip(np.eye(3), CURVATURES, strict=True):
        extent = start.extent._replace(weights=jnp.asarray(0.1 * direction))
        found = multiplier(optimizer, start._replace(extent=extent))
        assert found == pytest.approx(abs(1 - 0.7 * curvature), rel=1e-9)


def test_multiplier_at_the_two_cycle_of_a_quartic_is_one():
    """With L = S w^2 / 2 - w^4 / 4 descent alternates between +X and -X where X^2 = S - 2 / eta."""
    rate = 0.8
    amplitude = np.sqrt(CURVATURES[0] - 2 / rate)
    optimizer, start = of_descent(quartic, rate)
    centre = start.centre._replace(weights=jnp.zeros(3))
    for size, compare in ((1.0, np.equal), (0.9, np.greater), (1.1, np.less)):
        extent = start.extent._replace(weights=jnp.array([size * amplitude, 0.0, 0.0]))
        found = float(multiplier(optimizer, Rod(centre, extent)))
        assert compare(round(found, 9), 1.0)


def test_multiplier_of_a_sign_falls_with_the_length_of_the_rod():
    """Sign descent moves each weight by eta whatever its gradient: a rod of length x becomes one of |x - eta|."""
    optimizer = optimizer_map(quadratic, optax.sign_sgd(0.1), jnp.asarray(CENTRE))
    centre = optimizer.initial(jnp.zeros(3))
    for length in (0.02, 0.05, 0.2):
        extent = centre._replace(weights=jnp.array([length, 0.0, 0.0]))
        found = multiplier(optimizer, Rod(centre, extent))
        assert found == pytest.approx(abs(length - 0.1) / length, rel=1e-9)


def test_multiplier_of_a_rod_below_rounding_is_that_of_the_linearised_step():
    optimizer, start = of_descent(quadratic, 0.7)
    extent = start.extent._replace(weights=jnp.array([1e-14, 0.0, 0.0]))
    found = multiplier(optimizer, start._replace(extent=extent))
    assert found == pytest.approx(abs(1 - 0.7 * 3), rel=1e-6)


def test_a_rod_of_ten_roundings_is_closed_and_has_no_multiplier():
    optimizer, start = of_descent(quadratic, 0.7)
    size = np.finfo(float).eps * np.linalg.norm(CENTRE)
    for times, closed in ((9, True), (11, False)):
        extent = start.extent._replace(weights=jnp.array([times * size, 0.0, 0.0]))
        assert np.isnan(multiplier_if_open(optimizer, start._replace(extent=extent))) == closed


def test_secant_of_a_short_rod_is_the_quotient():
    """At its own ends the difference of gradients would be rounding."""
    for size in (1e-9, 1e-13):
        found, straight = (f(quartic, CENTRE, size * EXTENT, P) for f in (secant, quotient))
        assert found == pytest.approx(float(straight), rel=1e-6)


def test_secant_over_the_threshold_of_descent_is_the_mean_of_one_and_the_growth_along_the_rod():
    """X' = -X + eta (g(Z + X) - g(Z - X)) / 2, so eta secant / 2 = (1 + X' . X / X . X) / 2 on any loss."""
    rate = 0.7
    optimizer, start = of_descent(quartic, rate)
    after = lifted_map(optimizer, start).extent.weights
    growth = np.dot(after, EXTENT) / np.dot(EXTENT, EXTENT)
    found = secant(quartic, CENTRE, EXTENT) * rate / 2
    assert found == pytest.approx((1 + growth) / 2, rel=1e-9)
