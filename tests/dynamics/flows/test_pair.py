"""The pair with opposite noise: the lifted map without noise, the fluctuation of SGD with it, and what Z feels."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy

from representatives import now
from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.batches import BatchError, draw, unshuffled
from rodflow.dynamics.flows.pair import Copies, Pair
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.lifted import from_consecutive, lifted_map, oscillating
from rodflow.dynamics.minibatch import Minibatch
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from sampled import covariance_of_batches, slopes, started, tanh
from small import WEIGHTS, double_precision

ADAM = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-8}
HYPERPARAMETERS = {
    "gd": {"learning_rate": 1.0},
    "heavy_ball": {"learning_rate": 0.8, "momentum": 0.6},
    "nesterov": {"learning_rate": 0.8, "momentum": 0.6},
    "rmsprop": {"learning_rate": 0.05, "b2": 0.95, "eps": 1e-8},
    "rmsprop_scalar": {"learning_rate": 0.05, "b2": 0.95, "eps": 1e-8},
    "adam": ADAM,
    "adam_scalar": ADAM,
    "nadam": ADAM,
    "adamw": ADAM | {"weight_decay": 0.1},
}


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def of(name, loss, weights=WEIGHTS, **changes):
    transformation = TABLE[name].build(**HYPERPARAMETERS[name] | changes)
    return optimizer_map(loss, transformation, jnp.asarray(weights))


def moved(process, optimizer, carry, count, seed=0):
    """The carry after so many steps, and what was seen in each."""
    keys = jax.random.split(jax.random.key(seed), count)
    return eqx.filter_jit(
        lambda carry: jax.lax.scan(lambda c, k: process.advance(optimizer, c, k), carry, keys)
    )(carry)


@pytest.mark.parametrize("name", now(HYPERPARAMETERS, "heavy_ball"))
def test_without_noise_it_is_the_lifted_map_with_alternating_fluctuation(name):
    """A batch of all samples is no noise but the rounding of another order of the sum."""
    optimizer = of(name, tanh())
    states = started(optimizer, WEIGHTS)
    expected = from_consecutive(optimizer, *states)
    found, _ = moved(Pair(10), optimizer, Pair(10).begin(optimizer, *states), 7)
    for _ in range(7):
        expected = lifted_map(optimizer, expected)
    turned = jax.tree.map(lambda x: -x, expected.extent)  # the sign of an odd step
    for one, other in ((found.centre, expected.centre), (found.extent, turned)):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def stationary(loss, name, size, steps=40_000):
    """Covariance of the weights' fluctuation in a long run of the pair, from none."""
    optimizer = of(name, loss, np.ones(loss.curvature.size))
    state = optimizer.initial(jnp.ones(loss.curvature.size))
    still = jax.tree.map(jnp.zeros_like, oscillating(optimizer, state))
    keys = jax.random.split(jax.random.key(1), steps)

    def step(carry, key):
        carry, _ = Pair(size).advance(optimizer, carry, key)
        return carry, carry.extent.weights

    carry = Copies(state, still, unshuffled(loss))
    found = jax.jit(lambda carry: jax.lax.scan(step, carry, keys))(carry)[1]
    return np.cov(found[200:], rowvar=False)


def test_on_a_quadratic_the_fluctuation_is_that_of_sgd():
    """V' = (1 - h) V - xi, an AR(1) process, where an epoch has one batch and noise is white therefore."""
    curvature = np.array([0.3, 1.0, 1.9])
    loss = slopes(12, curvature)
    noise = covariance_of_batches(np.asarray(loss.slopes), 7)
    kept = 1 - curvature
    expected = noise / (1 - np.outer(kept, kept))
    found = stationary(loss, "gd", 7)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found / scale, expected / scale, atol=0.06)


def test_with_momentum_too_at_every_frequency():
    """Of weights and trace together, by a Lyapunov equation."""
    curvature = np.array([0.2, 3.5])
    loss = slopes(12, curvature)
    noise = covariance_of_batches(np.asarray(loss.slopes), 7)
    rate, b = (HYPERPARAMETERS["heavy_ball"][name] for name in ("learning_rate", "momentum"))
    rate *= 1 - b  # the moment is an average
    one, h = np.eye(2), np.diag(curvature)
    step = np.block([[one - rate * h, -rate * b * one], [h, b * one]])  # of weights and trace
    seen = np.vstack([-rate * one, one])
    expected = scipy.linalg.solve_discrete_lyapunov(step, seen @ noise @ seen.T)[:2, :2]
    found = stationary(loss, "heavy_ball", 7)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(found / scale, expected / scale, atol=0.06)


def test_on_a_quadratic_the_centre_is_that_of_gradient_descent():
    loss = slopes(12, np.array([0.3, 1.0, 1.9]))
    optimizer = of("gd", loss, np.ones(3))
    states = started(optimizer, np.ones(3))
    found, _ = moved(Pair(3), optimizer, Pair(3).begin(optimizer, *states), 9)
    centre = from_consecutive(optimizer, *states).centre
    for _ in range(9):
        centre = optimizer(centre)
    assert np.linalg.norm(found.extent.weights) > 0.1
    np.testing.assert_allclose(found.centre.weights, centre.weights, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", now(["gd", "heavy_ball", "rmsprop", "adam", "adamw", "nadam"], "rmsprop")
)
def test_the_centre_feels_the_square_of_the_noise(name):
    """Noise that is twice as large moves V twice as far and Z four times as far."""
    found = []
    for noise in (0.0, 1e-4, 2e-4):
        optimizer = of(name, tanh(noise))
        state = optimizer.initial(jnp.asarray(WEIGHTS))
        for _ in range(3):
            state = optimizer(state)
        still = jax.tree.map(jnp.zeros_like, oscillating(optimizer, state))
        carry = Copies(state, still, unshuffled(optimizer.loss))
        found.append(moved(Pair(4), optimizer, carry, 6)[0])
    centres = [carry.centre.weights - found[0].centre.weights for carry in found[1:]]
    spreads = [carry.extent.weights for carry in found[1:]]
    np.testing.assert_allclose(centres[1], 4 * centres[0], rtol=2e-3, atol=1e-12)
    np.testing.assert_allclose(spreads[1], 2 * spreads[0], rtol=2e-3, atol=1e-12)


@pytest.mark.slow
def test_over_all_batches_the_second_moment_sees_the_variance_of_the_noise():
    """The mean over every batch of nu' = b2 nu + (1 - b2) ((g + xi)^2 + (g - xi)^2) / 2, from no fluctuation."""
    loss = tanh()
    optimizer = of("rmsprop", loss)
    state = optimizer(optimizer.initial(jnp.asarray(WEIGHTS)))
    still = jax.tree.map(jnp.zeros_like, oscillating(optimizer, state))
    each = jax.vmap(lambda i: jax.grad(loss.of(i[None]))(state.weights))(jnp.arange(10))
    variance = np.diag(covariance_of_batches(np.asarray(each), 4))
    b2 = HYPERPARAMETERS["rmsprop"]["b2"]
    moment = TABLE["rmsprop"].second_moment

    @jax.jit
    def after(order):
        epoch = unshuffled(loss)._replace(order=order, used=jnp.asarray(1))
        carry = Copies(state, still, epoch)
        # The second batch of an epoch of two is not shuffled.
        return Pair(4).advance(optimizer, carry, jax.random.key(0))[0].centre.memory

    found = []
    for batch in itertools.combinations(range(10), 4):
        others = [i for i in range(10) if i not in batch]
        memory = after(jnp.array([*others[:4], *batch, *others[4:]]))
        found.append(moment(memory, **HYPERPARAMETERS["rmsprop"]))
    count = 2  # steps, for the correction of the bias
    before = moment(state.memory, **HYPERPARAMETERS["rmsprop"]) * (1 - b2 ** (count - 1))
    expected = b2 * before + (1 - b2) * (np.mean(each, axis=0) ** 2 + variance)
    np.testing.assert_allclose(np.mean(found, axis=0) * (1 - b2**count), expected, rtol=1e-9)


def test_its_batches_are_not_those_of_the_run():
    optimizer = of("gd", tanh())
    states = started(optimizer, WEIGHTS)
    key = jax.random.key(3)
    run, _ = Minibatch(5).advance(optimizer, Minibatch(5).begin(optimizer, *states), key)
    pair, _ = Pair(5).advance(optimizer, Pair(5).begin(optimizer, *states), key)
    assert {*map(int, run.epoch.order[:5])} != {*map(int, pair.epoch.order[:5])}
    assert {*map(int, pair.epoch.order)} == {*range(10)}


@pytest.mark.slow
def test_it_costs_a_gradient_of_all_samples_and_two_of_a_batch():
    optimizer = of("adam", tanh())
    states = started(optimizer, WEIGHTS)
    _, seen = Pair(4).advance(optimizer, Pair(4).begin(optimizer, *states), jax.random.key(0))
    assert seen["gradients"] == pytest.approx(1.8)


def recorded(optimizer, size, steps=12):
    states = started(optimizer, WEIGHTS)
    return integrate("pair", optimizer, states, start=1, stop=steps, every=4, batch_size=size)


@pytest.mark.slow
def test_batches_that_leave_no_noise_are_named():
    loss = tanh()
    alike = eqx.tree_at(
        lambda one: (one.inputs, one.targets),
        loss,
        (jnp.tile(loss.inputs[:1], (10, 1)), jnp.tile(loss.targets[:1], 10)),
    )
    assert recorded(of("gd", alike), 4).status == "completed: the batches leave no noise"
    assert recorded(of("gd", loss), 4).status == "completed"


def test_noise_that_makes_a_second_moment_negative_is_named():
    """Of an optimizer whose own rule does so."""

    def update(gradient, moment, weights=None):
        following = moment - 0.1 * gradient**2
        return -0.01 * gradient / jnp.sqrt(following), following

    transformation = optax.GradientTransformation(jnp.ones_like, update)
    optimizer = optimizer_map(tanh(), transformation, jnp.asarray(WEIGHTS))
    status = recorded(optimizer, 1, steps=60).status
    assert "diverged at step" in status
    assert "the noise makes a second moment negative at step" in status


def test_a_pair_that_diverges_says_where():
    wild = of("gd", tanh(), learning_rate=1e30)
    assert recorded(wild, 4, steps=24).status.startswith("diverged at step")


@pytest.mark.parametrize("size", [None, 0, 11])
@pytest.mark.parametrize("flow", ["pair", "kicked_rod"])
def test_batches_that_the_data_do_not_have_are_refused_by_name(flow, size):
    optimizer = of("gd", tanh())
    states = (optimizer.initial(jnp.asarray(WEIGHTS)),) * 3
    with pytest.raises(
        BatchError, match=f"batch_size is {size}; it must be a whole number from 1 to 10"
    ):
        integrate(flow, optimizer, states, start=1, stop=2, every=1, batch_size=size)


def test_a_loss_that_is_no_mean_over_samples_has_no_batches():
    optimizer = of("gd", lambda weights: jnp.sum(weights**2))
    states = (optimizer.initial(jnp.asarray(WEIGHTS)),) * 3
    with pytest.raises(BatchError, match="has no batches; it must have `samples`"):
        integrate("pair", optimizer, states, start=1, stop=2, every=1, batch_size=2)


def test_epochs_draw_every_sample_once():
    epoch, seen = unshuffled(tanh()), []
    for key in jax.random.split(jax.random.key(0), 5):
        epoch, chosen = draw(epoch, 2, key)
        seen += [*map(int, chosen)]
    assert sorted(seen) == [*range(10)]


def test_it_is_declared_as_a_flow_of_minibatches():
    assert FLOWS["pair"].batches
