"""Adam in continuous time: closed forms, the order at which iterates near it, the bound of its updates, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from representatives import now
from rodflow.analysis import adam_bound
from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.flows.adam_continuous import AdamContinuous, Carry, corrected
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, optimizer_map
from rodflow.optimizers.table import TABLE
from small import WEIGHTS, double_precision, jit, network_loss

ADAM = {"learning_rate": 0.01, "b1": 0.9, "b2": 0.99, "eps": 1e-8}
SLOPES = np.array([2.0, -0.5, 1e-3, 0.0])
FINE = AdamContinuous(tolerance=1e-10)
AUXILIARY = (True, False, True, False)  # weights and first moment oscillate


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def linear(weights):
    """Constant gradients, one of them 0."""
    return SLOPES @ weights


def adam(loss, name="adam", **chosen) -> OptimizerMap:
    transformation = TABLE[name].tuned(float, **ADAM | chosen)
    return OptimizerMap(loss, transformation, AUXILIARY)


def iterated(optimizer, weights, steps):
    """The states before each step and after the last."""
    states = [optimizer.initial(jnp.asarray(weights, float))]
    advance = jit(lambda state: optimizer(state))
    for _ in range(steps):
        states.append(advance(states[-1]))
    return states


UNITS = 40


@functools.cache
def program(loss):
    """Follows the flow of any transformation from time 0, compiled once a loss."""

    @jit
    def run(transformation, weights):
        optimizer = OptimizerMap(loss, transformation, AUXILIARY)

        def one(carry, _):
            carry, _ = FINE.advance(optimizer, carry, jax.random.key(0))
            return carry, carry

        return jax.lax.scan(one, at_zero(weights), length=UNITS)[1]

    return run


def at_zero(weights) -> Carry:
    """Where training begins."""
    zero = jnp.zeros_like(weights)
    return Carry(weights, zero, zero, jnp.zeros(()), jnp.ones(()))


def followed(optimizer, weights) -> Carry:
    """The carries at times 1 to UNITS."""
    return program(optimizer.loss)(optimizer.transformation, jnp.asarray(weights, float))


def test_constant_gradients_give_the_moments_in_closed_form_and_the_iterates_exactly():
    """m = g (1 - e^{-t/tau_1}), v = g^2 (1 - e^{-t/tau_2}), and weights move by -eta sign(g) per unit of time."""
    start = np.array([0.1, 0.2, -0.3, 0.4])
    optimizer = adam(linear)
    carries = followed(optimizer, start)
    times = np.asarray(carries.time)[:, None]
    np.testing.assert_allclose(times[:, 0], np.arange(1, UNITS + 1), rtol=1e-14)
    np.testing.assert_allclose(carries.first, SLOPES * -np.expm1(-times / 9), atol=1e-7)
    np.testing.assert_allclose(carries.second, SLOPES**2 * -np.expm1(-times / 99), atol=1e-7)
    path = start - 0.01 * times * SLOPES / (np.abs(SLOPES) + 1e-8)
    np.testing.assert_allclose(carries.weights, path, atol=1e-9)
    states = iterated(optimizer, start, UNITS)[1:]
    np.testing.assert_allclose(carries.weights, [state.weights for state in states], atol=1e-9)


def nothing(weights):
    """No gradient."""
    return 0.0 * jnp.sum(weights)


def test_weight_decay_alone_is_exponential_which_the_iterates_meet_at_first_order():
    """(1 - eta lambda)^t against e^{-eta lambda t}: they differ by eta times lambda^2 (eta t) / 2 of it."""
    optimizer = adam(nothing, "adamw", weight_decay=3.0)
    carries = followed(optimizer, [1.0, -2.0])
    decay = np.exp(-0.01 * 3.0 * np.asarray(carries.time))
    np.testing.assert_allclose(carries.weights, np.outer(decay, [1.0, -2.0]), rtol=1e-10)
    state = iterated(optimizer, [1.0, -2.0], UNITS)[-1]
    difference = 1 - state.weights / carries.weights[-1]
    np.testing.assert_allclose(difference, 0.01 * 3.0**2 * (0.01 * UNITS) / 2, rtol=0.05)


@pytest.mark.slow
def test_a_decay_of_zero_is_the_limit_of_no_memory():
    optimizer = adam(network_loss, b1=0.0)
    carries = followed(optimizer, WEIGHTS)
    expected = followed(adam(network_loss, b1=0.02), WEIGHTS)
    np.testing.assert_allclose(carries.weights, expected.weights, atol=1e-3)
    kept = jit(lambda c: FINE.snapshot(optimizer, c))(jax.tree.map(lambda leaf: leaf[-1], carries))
    gradient = jit(jax.grad(network_loss))(carries.weights[-1])
    np.testing.assert_allclose(optax.tree.get(kept["memory"], "mu"), gradient, rtol=1e-10)


def test_at_time_zero_the_corrected_moment_is_its_source():
    time, source = jnp.asarray([0.0, 1e-9, 1e-3]), jnp.asarray(2.0)
    for decay in (0.5, 0.9, 0.999):
        moments = source * -jnp.expm1(-time * (1 - decay) / decay)
        found = [corrected(m, source, t, jnp.asarray(decay)) for m, t in zip(moments, time)]  # noqa: B905
        np.testing.assert_allclose(found, 2.0, rtol=1e-9)


# Where it begins


def test_it_begins_at_the_first_of_the_three_states_with_its_corrected_moments():
    """With constant gradients the corrected moments are g and g^2 at any time, and stay so."""
    optimizer = adam(linear)
    before, now, after = iterated(optimizer, np.ones(4), 9)[-3:]
    carry = jit(lambda *states: FINE.begin(optimizer, *states))(before, now, after)
    np.testing.assert_allclose(carry.weights, now.weights, atol=1e-10)
    memory = jit(lambda c: FINE.snapshot(optimizer, c))(carry)["memory"]
    for found, expected in zip(jax.tree.leaves(memory), jax.tree.leaves(now.memory), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-20)


def test_from_time_zero_on_it_solves_the_equations():
    """Against the same equations by classical Runge-Kutta steps of 1/400, from a time at which nothing is 0/0."""
    optimizer = adam(network_loss)
    gradient = jax.grad(network_loss)

    @jit
    def reference(weights):
        g = gradient(weights)
        first = 1e-6
        start = (weights, g * first / 9, g**2 * first / 99)

        def field(t, y):
            w, m, v = y
            g = gradient(w)
            update = m / -jnp.expm1(-t / 9) / (jnp.sqrt(v / -jnp.expm1(-t / 99)) + 1e-8)
            return -0.01 * update, (g - m) / 9, (g**2 - v) / 99

        def step(k, y):
            h = (1 - first) / 400
            t = first + k * h
            shifted = lambda k, c: jax.tree.map(lambda a, b: a + c * h * b, y, k)  # noqa: E731
            k1 = field(t, y)
            k2 = field(t + h / 2, shifted(k1, 0.5))
            k3 = field(t + h / 2, shifted(k2, 0.5))
            k4 = field(t + h, shifted(k3, 1.0))
            return jax.tree.map(
                lambda y, a, b, c, d: y + h / 6 * (a + 2 * b + 2 * c + d), y, k1, k2, k3, k4
            )

        return jax.lax.fori_loop(0, 400, step, start)

    carries = followed(optimizer, WEIGHTS)
    for found, expected in zip(carries[:3], reference(jnp.asarray(WEIGHTS)), strict=True):
        np.testing.assert_allclose(found[0], expected, atol=2e-7)  # of a path of 1e-2


# The order


def last_distance(learning_rate, steps, b1, b2, name="adam", **chosen):
    """Of the weights that training and the flow end with, over the distance travelled; one compiled program for all."""
    transformation = TABLE[name].tuned(
        float, eps=1e-8, learning_rate=learning_rate, b1=b1, b2=b2, **chosen
    )
    return float(_distance(transformation, jnp.asarray(steps)))


@jit
def _distance(transformation, steps):
    return distance(OptimizerMap(network_loss, transformation, AUXILIARY), WEIGHTS, steps)


def distance(optimizer, weights, steps):
    start = optimizer.initial(jnp.asarray(weights))
    flow = jax.lax.fori_loop(
        0,
        steps,
        lambda _, c: FINE.advance(optimizer, c, jax.random.key(0))[0],
        at_zero(start.weights),
    )
    state = jax.lax.fori_loop(0, steps, lambda _, z: optimizer(z), start)
    norm = jnp.linalg.norm
    return norm(flow.weights - state.weights) / norm(state.weights - start.weights)


def memory(tau):
    return tau / (1 + tau)


@pytest.mark.parametrize(
    ("name", "chosen"),
    now([("adam", {}), ("adamw", {"weight_decay": 0.5})], ("adamw", {"weight_decay": 0.5})),
)
def test_with_fixed_memories_iterates_near_the_flow_at_first_order(name, chosen):
    distances = [
        last_distance(0.4 / n, n, memory(0.1 * n), memory(2.0 * n), name, **chosen)
        for n in (40, 80, 160, 320)
    ]
    orders = np.log2(np.divide(distances[:-1], distances[1:]))
    np.testing.assert_allclose(orders, 1, atol=0.15)
    assert abs(orders[-1] - 1) < 0.05


def test_with_fixed_decays_where_no_gradient_changes_sign_they_near_it_at_second_order():
    """What is left at first order is a delay of half a step, which cancels between the two moments."""

    def slope(weights):
        return jnp.sum(3 * weights + 0.5 * weights**2)

    @jit
    def of(learning_rate, steps):
        chosen = {"eps": 1e-8, "b1": 0.5, "b2": 0.8, "learning_rate": learning_rate}
        optimizer = OptimizerMap(slope, TABLE["adam"].tuned(float, **chosen), AUXILIARY)
        return distance(optimizer, np.ones(1), steps)

    distances = [float(of(1 / n, n)) for n in (40, 80, 160)]
    orders = np.log2(np.divide(distances[:-1], distances[1:]))
    np.testing.assert_allclose(orders, 2, atol=0.15)


# The bound of its updates


def updates(optimizer, carries):
    """|m_hat| / sqrt(v_hat) after each unit of time, [unit, weight]."""
    gradients = jax.vmap(jax.grad(optimizer.loss))(carries.weights)
    given = optimizer.transformation.hyperparameters
    over = jax.vmap(lambda m, s, t, b: corrected(m, s, t, b), in_axes=(0, 0, 0, None))
    mean = over(carries.first, gradients, carries.time, given["b1"])
    square = over(carries.second, gradients**2, carries.time, given["b2"])
    return np.abs(np.asarray(mean)) / np.sqrt(np.asarray(square))


@pytest.mark.parametrize(("b1", "b2"), now([(0.9, 0.99), (0.9, 0.7)], (0.9, 0.7)))
def test_updates_on_a_network_stay_below_the_bound(b1, b2):
    optimizer = adam(network_loss, b1=b1, b2=b2, learning_rate=0.05)
    carries = followed(optimizer, WEIGHTS)
    times = np.asarray(carries.time)
    bound = adam_bound.bound_in_continuous_time(b1, b2, times, corrected=True)
    sizes = updates(optimizer, carries)
    assert (sizes <= bound[:, None] * (1 + 1e-6)).all()
    assert sizes.max() > 0.9


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.7)])
def test_gradients_that_are_chosen_to_make_updates_large_attain_the_bound(b1, b2):
    """The second weight, whose gradient never changes, is a clock y = eta t, and that of the first is e^{r y / eta}."""
    rate = (1 - b1) / b1 - (1 - b2) / b2

    def loss(weights):
        return weights[0] * jnp.exp(rate * weights[1] / 0.01) - 1e9 * weights[1]

    optimizer = adam(loss, b1=b1, b2=b2, eps=0.0)
    carries = followed(optimizer, np.zeros(2))
    bound = adam_bound.bound_in_continuous_time(b1, b2, np.asarray(carries.time), corrected=True)
    np.testing.assert_allclose(updates(optimizer, carries)[:, 0], bound, rtol=1e-5)
    assert bound[-1] > 1.2


# What it refuses


@pytest.mark.parametrize("name", ["nadam", "amsgrad", "adam_uncorrected"])
def test_another_optimizer_of_the_table_is_refused(name):
    transformation = TABLE[name].tuned(float, **ADAM)
    refused(transformation)


def test_a_transformation_that_does_not_say_what_it_is_is_refused():
    refused(optax.adam(0.01))


def refused(transformation):
    optimizer = optimizer_map(network_loss, transformation, jnp.asarray(WEIGHTS))
    state = optimizer.initial(jnp.asarray(WEIGHTS))
    with pytest.raises(
        OptimizerError, match=r"^Adam in continuous time: .* adam and adamw"
    ) as caught:
        FLOWS.load("adam_continuous").process().begin(optimizer, state, state, state)
    assert len(str(caught.value).splitlines()) == 1
