"""Stabilised steps: their polynomial, its order, and where it is bounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.dynamics.chebyshev import advance, scheme
from small import double_precision, jit


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


@jit
def polynomial(first, second, reach, rates):
    """What a step multiplies modes of these rates by, and its plan."""
    plan = scheme(first, second, reach)
    start, nothing = jnp.ones_like(rates), jnp.zeros_like(rates)
    done = advance(
        lambda y, _: (rates * y, ()),
        start,
        plan,
        known=jnp.asarray(False),
        f=nothing,
        seen=(),
        forcing=nothing,
    )
    return start + done.change, plan, done


def of_steps(count, rates, reach=2.2):
    return polynomial(
        jnp.asarray(float(count)), jnp.asarray(count - 1.0), jnp.asarray(reach), rates
    )


def of_time(length, rates, reach):
    return polynomial(jnp.asarray(length), jnp.asarray(length), jnp.asarray(reach), rates)


@pytest.mark.parametrize("count", [2, 3, 7, 30, 150])
def test_a_step_is_so_many_steps_of_the_map_to_second_order(count):
    x = jnp.array([-2e-3, -1e-3, 1e-3, 2e-3]) / count
    found, plan, _ = of_steps(count, x)
    # (1 + x)^H = 1 + H x + H (H-1)/2 x^2 + H (H-1) (H-2)/6 x^3 + ...
    expected = 1 + count * x + count * (count - 1) / 2 * x**2
    cubic = (found - expected) / x**3
    np.testing.assert_allclose(cubic, plan.cubic, rtol=0.01, atol=0.01 * count**3)


@pytest.mark.parametrize("reach", [0.3, 2.2, 3.0, 40.0])
@pytest.mark.parametrize("count", [2, 3, 4, 9, 20, 57, 200])
def test_no_mode_within_reach_grows(count, reach):
    x = jnp.linspace(-reach, 0, 4001)[:-1]
    found, _, _ = of_steps(count, x, reach)
    assert np.abs(found).max() < 1


def test_stages_grow_as_the_root_of_the_number_of_steps():
    counts = np.array([10, 20, 40, 100])
    stages = [int(of_steps(int(count), jnp.zeros(1), 3.0)[1].stages) for count in counts]
    assert stages == [7, 10, 14, 22]


def test_a_step_of_time_is_the_exponential_to_second_order():
    z = np.array([0.02, 0.01])
    found, _, _ = of_time(1.0, jnp.asarray(-z), 50.0)
    error = np.asarray(found) - np.exp(-z)
    assert error[0] / error[1] == pytest.approx(8, rel=0.05)


@pytest.mark.parametrize("length", [0.1, 1.0, 9.0])
def test_fast_modes_of_a_flow_are_damped(length):
    rates = jnp.linspace(-40, 0, 4001)[:-1]
    assert np.abs(of_time(length, rates, 40.0)[0]).max() < 1


def test_a_known_start_saves_a_stage_and_changes_nothing():
    rates = jnp.linspace(-2, 0, 5)
    start, nothing = jnp.ones(5), jnp.zeros(5)
    counted = []

    def field(y, _):
        jax.debug.callback(counted.append, 1)
        return rates * y, ()

    def step(known):
        plan = scheme(jnp.asarray(10.0), jnp.asarray(9.0), jnp.asarray(2.2))
        f = jnp.where(known, rates * start, nothing)
        return plan, advance(field, start, plan, known=known, f=f, seen=(), forcing=nothing)

    changes, counts = [], []
    for known in (False, True):
        counted.clear()
        plan, done = jit(step)(jnp.asarray(known))
        jax.effects_barrier()
        changes.append(done.change)
        counts.append(len(counted))
    np.testing.assert_array_equal(*changes)
    assert counts == [int(plan.stages) + 1, int(plan.stages)]


def test_a_force_moves_what_stands_still_by_its_sum_over_the_step():
    plan = scheme(jnp.asarray(12.0), jnp.asarray(11.0), jnp.asarray(2.2))
    nothing = jnp.zeros(1)
    done = jit(
        lambda: advance(
            lambda y, _: (0 * y, ()),
            nothing,
            plan,
            known=jnp.asarray(False),
            f=nothing,
            seen=(),
            forcing=jnp.ones(1),
        )
    )()
    assert float(done.change[0]) == pytest.approx(12)
