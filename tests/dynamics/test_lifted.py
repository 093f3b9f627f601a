"""The lifted map: exact where it says so, and of the stated order where it does not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from representatives import now
from rodflow.dynamics.lifted import (
    Rod,
    from_consecutive,
    is_small,
    lifted_map,
    oscillating,
    seed,
    stable_lifted_map,
    stable_lifted_map_and_losses,
)
from rodflow.optimizers.optimizer_map import OptimizerMap, State, optimizer_map
from rodflow.optimizers.table import NINE, TABLE
from small import WEIGHTS, jit, network_loss

STEPS = 50
WITHOUT_AUXILIARY = ["gd", "heavy_ball", "nesterov"]


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def transformation(name):
    chosen = {"learning_rate": 0.02, "b2": 0.95, "eps": 1e-6}
    if name in WITHOUT_AUXILIARY:
        chosen = {"learning_rate": 0.5} if name == "gd" else {"learning_rate": 2, "momentum": 0.9}
    elif not name.startswith("rmsprop"):
        chosen["b1"] = 0.9
    return TABLE[name].build(**chosen)


def rod_at(optimizer: OptimizerMap, size: float, weights=WEIGHTS) -> Rod:
    """A rod of this relative size around the state after three steps."""
    start = optimizer.initial(jnp.asarray(weights))
    state = jax.lax.fori_loop(0, 3, lambda _, z: optimizer(z), start)
    rng = np.random.default_rng(4)
    extent = jax.tree.map(lambda z: size * z * rng.uniform(0.5, 1, z.shape), state)
    return Rod(state, oscillating(optimizer, extent))


def distance(a, b) -> np.ndarray:
    """Largest difference of two trees, each leaf relative to its own size, for every step."""

    def of(x, y):
        x, y = (np.reshape(v, (STEPS, -1)) for v in (x, y))
        return np.abs(x - y).max(axis=1) / np.abs(x).max()

    return np.max([of(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)], axis=0)


def departure(optimizer: OptimizerMap) -> np.ndarray:
    """Distance of the iterates from Z + (-1)^t X over the steps."""

    @jit
    def run():
        def step(carry, sign):
            state, rod = carry
            after = optimizer(state), lifted_map(optimizer, rod)
            return after, (after[0], after[1].end(sign))

        rod = rod_at(optimizer, 0.05)
        return jax.lax.scan(step, (rod.end(+1), rod), -((-1.0) ** jnp.arange(STEPS)))[1]

    return distance(*run())


@pytest.mark.parametrize("name", now(NINE, "nadam"))
def test_iterates_are_centre_plus_alternating_extent_when_every_leaf_is_lifted(name):
    leaves = len(jax.tree.leaves(transformation(name).init(jnp.asarray(WEIGHTS))))
    everything = OptimizerMap(network_loss, transformation(name), (True,) * (1 + leaves))
    assert departure(everything).max() < 1e-11


@pytest.mark.parametrize("name", WITHOUT_AUXILIARY)
def test_iterates_are_centre_plus_alternating_extent_without_auxiliary_leaves(name):
    optimizer = optimizer_map(network_loss, transformation(name), jnp.asarray(WEIGHTS))
    assert all(optimizer.oscillating)
    assert departure(optimizer).max() < 1e-11


@pytest.fixture(scope="module")
def adam(float64):
    return optimizer_map(network_loss, transformation("adam"), jnp.asarray(WEIGHTS))


def test_both_ends_share_the_auxiliary_leaves(adam):
    rod = rod_at(adam, 0.1)
    plus, centre, minus = (z.memory[0] for z in (rod.end(+1), rod.centre, rod.end(-1)))
    assert plus.nu is centre.nu is minus.nu
    assert plus.count is centre.count is minus.count
    np.testing.assert_allclose(plus.mu - centre.mu, centre.mu - minus.mu, rtol=1e-10)


def test_second_moment_follows_the_average_of_the_squares_at_both_ends(adam):
    rod = rod_at(adam, 0.1)
    plus, minus = (jit(jax.grad(network_loss))(rod.end(sign).weights) for sign in (+1, -1))
    expected = 0.95 * rod.centre.memory[0].nu + 0.05 * (plus**2 + minus**2) / 2
    after = jit(lambda rod: lifted_map(adam, rod))(rod)
    np.testing.assert_allclose(after.centre.memory[0].nu, expected, rtol=1e-12)


def derivative(optimizer, rod):
    """F(Z) and -DF(Z)[X], L(Z) and DL(Z)[X], by automatic differentiation."""
    tangent = eqx.combine(rod.extent, jax.tree.map(jnp.zeros_like, rod.centre))

    def both(state):
        return optimizer(state), optimizer.loss(state.weights)

    (centre, loss), (image, slope) = jax.jvp(both, (rod.centre,), (tangent,))
    return Rod(centre, oscillating(optimizer, jax.tree.map(jnp.negative, image))), loss, slope


def test_first_order_errs_by_the_square_of_the_extent_in_z_and_its_cube_in_x(adam):
    rod, sizes = rod_at(adam, 1.0), 0.02 * 2.0 ** -np.arange(5)

    @jax.vmap
    def both(size):
        scaled = Rod(rod.centre, jax.tree.map(lambda x: size * x, rod.extent))
        return lifted_map(adam, scaled), derivative(adam, scaled)[0]

    difference = jax.tree.map(jnp.subtract, *jit(both)(jnp.asarray(sizes)))
    for part, order in ((difference.centre, 2), (difference.extent, 3)):
        for errors in (part.weights, part.memory[0].mu):
            assert slope(sizes, np.linalg.norm(errors, axis=1)) == pytest.approx(order, abs=0.1)


def slope(sizes, errors) -> float:
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rod_is_small_below_a_third_of_the_root_of_rounding(dtype):
    weights = jnp.asarray(WEIGHTS, dtype)
    limit = 0.3 * np.sqrt(np.finfo(dtype).eps)
    across = jnp.asarray(np.roll(WEIGHTS, 3), dtype)

    def at(ratio):
        return bool(is_small(Rod(State(weights, ()), State(ratio * limit * across, ()))))

    assert at(0.99) and at(0.0)
    assert not at(1.01)


@pytest.fixture(scope="module")
def short(adam):
    """A rod far below the limit, its image, and the derivative there."""
    rod = rod_at(adam, 1e-12)
    assert is_small(rod)
    (image, losses), expected = jit(
        lambda r: (stable_lifted_map_and_losses(adam, r), derivative(adam, r))
    )(rod)
    return image, losses, expected


def test_centre_of_a_short_rod_follows_the_optimizer(short):
    image, _, (expected, _, _) = short
    for found, wanted in zip(*map(jax.tree.leaves, (image.centre, expected.centre)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_extent_of_a_short_rod_moves_with_the_derivative(short):
    image, _, (expected, _, _) = short
    for found, wanted in zip(*map(jax.tree.leaves, (image.extent, expected.extent)), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6 * np.abs(wanted).max())


def test_losses_at_the_ends_of_a_short_rod_are_on_the_tangent(short):
    _, (plus, minus), (_, loss, slope) = short
    np.testing.assert_allclose((plus + minus) / 2, loss, rtol=1e-14)
    np.testing.assert_allclose((plus - minus) / 2, slope, rtol=1e-3)


def test_map_of_a_long_rod_is_that_of_its_ends(adam):
    rod = rod_at(adam, 0.1)
    found, expected = jit(lambda r: (stable_lifted_map(adam, r), lifted_map(adam, r)))(rod)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_a_rod_of_no_length_stays_so(adam):
    rod = rod_at(adam, 0.0)
    image = jit(lambda r: stable_lifted_map(adam, r))(rod)
    # What differs between two programs for one place is divided by 1 / eps.
    assert all(np.all(np.abs(leaf) < 1e-30) for leaf in jax.tree.leaves(image.extent))


def test_a_weight_that_never_saw_a_gradient_stays_where_it_is(adam):
    """Its second moment is 0, where the root has no derivative."""
    optimizer = OptimizerMap(lambda w: network_loss(w[:16]), adam.transformation, adam.oscillating)
    rod = rod_at(optimizer, 1e-12, np.append(WEIGHTS, 1.0))
    assert rod.centre.memory[0].nu[-1] == 0
    after = jit(lambda rod: stable_lifted_map(optimizer, rod))(rod)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    assert after.centre.weights[-1] == 1
    np.testing.assert_array_less(0, np.abs(after.extent.weights[:-1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_seed_has_the_size_of_rounding(dtype):
    weights = jnp.asarray(np.random.default_rng(5).standard_normal(100_000), dtype)
    rod = Rod(State(weights, ()), State(jnp.zeros_like(weights), ()))
    noise = np.asarray(seed(rod, jax.random.key(0)).extent.weights, np.float64)
    scaled = noise / (np.finfo(dtype).eps * np.abs(np.asarray(weights)) / np.sqrt(12))
    assert scaled.std() == pytest.approx(1, abs=0.01)
    assert scaled.mean() == pytest.approx(0, abs=0.01)


def test_seed_touches_nothing_but_the_extent_of_the_weights(adam):
    rod = rod_at(adam, 0.1)
    seeded = seed(rod, jax.random.key(0))
    assert seeded.centre is rod.centre
    assert seeded.extent.memory is rod.extent.memory


def test_seed_depends_on_the_key_alone():
    def noise(key, extent):
        rod = Rod(State(jnp.ones(4), ()), State(jnp.full(4, extent), ()))
        return np.asarray(seed(rod, jax.random.key(key)).extent.weights - extent)

    np.testing.assert_array_equal(noise(7, 0.0), noise(7, 0.0))
    np.testing.assert_allclose(noise(7, 1e-16), noise(7, 0.0), rtol=1e-12)
    assert np.all(noise(7, 0.0) != noise(8, 0.0))


@pytest.mark.parametrize("now", [6, 7])
def test_from_consecutive_finds_centre_and_extent_that_move_linearly(now):
    optimizer = optimizer_map(network_loss, transformation("heavy_ball"), jnp.asarray(WEIGHTS))
    rod = rod_at(optimizer, 0.1)
    drift = Rod(*(jax.tree.map(lambda x: jnp.sin(7 * x), part) for part in rod))

    def at(t) -> Rod:
        return jax.tree.map(lambda x, v: x + t * v, rod, drift)

    states = [at(t).end((-1) ** t) for t in (now - 1, now, now + 1)]
    found = from_consecutive(optimizer, *states)
    # The sign of the extent is that of the middle state: it is the end Z + X.
    expected = at(now)._replace(extent=jax.tree.map(lambda x: (-1) ** now * x, at(now).extent))
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_from_consecutive_gives_auxiliary_leaves_no_extent(adam):
    states = [
        jax.tree.map(lambda leaf, k=k: leaf + k**2, adam.initial(jnp.asarray(WEIGHTS)))
        for k in range(3)
    ]
    rod = from_consecutive(adam, *states)
    assert rod.extent.memory[0].nu is None
    assert rod.extent.memory[0].count is None
    assert float(rod.centre.memory[0].count) == (0 + 2 * 1 + 4) / 4
