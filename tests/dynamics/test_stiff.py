"""Steps of the stable flow: the methods that the recurrence stands for, their orders, and what lies within a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.dynamics import stiff
from rodflow.dynamics.chebyshev import combine
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from small import WEIGHTS, double_precision, jit, network_loss

CHOSEN = {
    "gd": {"learning_rate": 0.3},
    "heavy_ball": {"learning_rate": 0.5, "momentum": 0.9},
    "rmsprop": {"learning_rate": 0.03, "b2": 0.99, "eps": 1e-8},
}


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def started(name, steps=30):
    """The map of an optimizer and a state of its run."""
    optimizer = optimizer_map(network_loss, TABLE[name].build(**CHOSEN[name]), jnp.asarray(WEIGHTS))
    state, step = optimizer.initial(jnp.asarray(WEIGHTS)), jit(optimizer.__call__)
    for _ in range(steps):
        state = step(state)
    return optimizer, state


def maker(optimizer, short):
    """From a state, a length and the fastest rate: the step that was made and its error."""

    @jit
    def make(state, length, rate):
        def field(change):
            return stiff.velocity_of(optimizer, combine((1, state), (1, change)))

        nothing = jax.tree.map(jnp.zeros_like, state)
        zero = jnp.zeros_like(length)
        before = stiff.Span(state, nothing, nothing, field(nothing), zero, zero)
        step = stiff.begun(
            optimizer, before, length, short=jnp.asarray(short), rate=rate, back=nothing
        )
        step = jax.lax.while_loop(
            lambda at: at.number < at.plan.stages,
            lambda at: stiff.raised(optimizer, before, at, field(at.change)),
            step,
        )
        return stiff.ended(before, step, field(step.change))

    return make


def solution(optimizer, state, time, steps=400):
    """By so many steps of the classical method of fourth order."""

    def field(z):
        return stiff.velocity_of(optimizer, z)

    @jit
    def solve(state, time):
        h = time / steps

        def step(_, z):
            a = field(z)
            b = field(combine((1, z), (h / 2, a)))
            c = field(combine((1, z), (h / 2, b)))
            d = field(combine((1, z), (h, c)))
            return combine((1, z), (h / 6, a), (h / 3, b), (h / 3, c), (h / 6, d))

        return jax.lax.fori_loop(0, steps, step, state)

    return solve(state, jnp.asarray(time))


def distance(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return np.sqrt(sum(float(jnp.sum((a - b) ** 2)) for a, b in pairs))


@pytest.mark.parametrize("name", CHOSEN)
def test_a_short_step_and_its_error_are_those_of_bogacki_and_shampine(name):
    optimizer, y = started(name)
    h, field = 0.4, jit(lambda z: stiff.velocity_of(optimizer, z))
    k1 = field(y)
    k2 = field(combine((1, y), (h / 2, k1)))
    k3 = field(combine((1, y), (3 * h / 4, k2)))
    moved = combine((1, y), (2 * h / 9, k1), (h / 3, k2), (4 * h / 9, k3))
    k4 = field(moved)
    embedded = combine((1, y), (7 * h / 24, k1), (h / 4, k2), (h / 3, k3), (h / 8, k4))
    span, error = maker(optimizer, short=True)(y, jnp.asarray(h), jnp.asarray(2.0))
    assert distance(span.end, moved) < 1e-13
    assert distance(error, combine((1, moved), (-1, embedded))) < 1e-13


@pytest.mark.parametrize("name", CHOSEN)
def test_a_long_step_errs_by_the_third_power_of_its_length_and_knows_by_how_much(name):
    optimizer, state = started(name)
    make = maker(optimizer, short=False)
    errors = []
    for length in (0.2, 0.1):
        span, error = make(state, jnp.asarray(length), jnp.asarray(20.0))
        true = solution(optimizer, state, length)
        errors.append(distance(span.end, true))
        assert distance(combine((1, span.end), (-1, error)), true) < 0.2 * errors[-1]
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.2)


@pytest.mark.parametrize("name", ["gd", "heavy_ball"])
def test_of_a_linear_flow_a_long_step_knows_all_but_the_fourth_power_of_its_error(name):
    curvatures = jnp.linspace(0.1, 3.0, 6)
    transformation = TABLE[name].build(**CHOSEN[name])
    optimizer = optimizer_map(lambda w: jnp.sum(curvatures * w**2) / 2, transformation, jnp.ones(6))
    state = optimizer(optimizer(optimizer.initial(jnp.ones(6))))
    left = []
    for length in (0.2, 0.1):
        made = maker(optimizer, short=False)(state, jnp.asarray(length), jnp.asarray(20.0))
        known = combine((1, made[0].end), (-1, made[1]))
        left.append(distance(known, solution(optimizer, state, length)))
    assert left[0] / left[1] == pytest.approx(16, rel=0.2)


@pytest.mark.parametrize("name", CHOSEN)
def test_what_lies_within_a_step_joins_its_ends_and_errs_by_no_more_than_the_step(name):
    optimizer, state = started(name)
    span, _ = maker(optimizer, short=False)(state, jnp.asarray(0.4), jnp.asarray(20.0))

    def at(passed):
        return stiff.within(optimizer, span._replace(passed=jnp.asarray(passed)))

    assert distance(at(0.0), state) == 0
    assert distance(at(0.4), span.end) < 1e-15 * 10
    end = distance(span.end, solution(optimizer, state, 0.4))
    assert distance(at(0.2), solution(optimizer, state, 0.2)) < end


def test_the_power_iteration_finds_the_fastest_rate():
    """Of gradient descent on a quadratic: rate times the largest curvature."""
    curvatures = jnp.linspace(0.1, 9.0, 20)
    loss = lambda w: jnp.sum(curvatures * w**2) / 2  # noqa: E731
    optimizer = optimizer_map(loss, TABLE["gd"].build(learning_rate=0.5), jnp.ones(20))
    state = optimizer.initial(jnp.ones(20))

    @jit
    def iterated(state):
        velocity = stiff.velocity_of(optimizer, state)

        def once(_, known):
            there = stiff.velocity_of(optimizer, stiff.beside(state, known))
            return stiff.sharpened(optimizer, state, velocity, there, known)

        return jax.lax.fori_loop(0, 40, once, stiff.anywhere(optimizer, state))

    assert float(iterated(state).rate) == pytest.approx(4.5, rel=1e-3)
