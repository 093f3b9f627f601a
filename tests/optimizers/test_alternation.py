"""The threshold of any optimizer from its linearised map."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from representatives import now
from rodflow.dynamics.lifted import oscillating
from rodflow.optimizers.alternation import (
    alternating_gain,
    alternating_gains,
    alternation,
    threshold,
)
from rodflow.optimizers.linear_response import one_step_back
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, State, optimizer_map
from rodflow.optimizers.table import NINE, TABLE
from small import jit

LEARNING_RATE, B1, B2, EPS = 0.05, 0.9, 0.97, 1e-3
WEIGHTS = np.random.default_rng(0).standard_normal(3)


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def map_of(transformation: optax.GradientTransformation) -> OptimizerMap:
    """Of a model whose only parameters are one vector."""
    return optimizer_map(lambda w: jnp.sum(w[0]), transformation, [jnp.asarray(WEIGHTS)])


def after(optimizer: OptimizerMap, steps: int, scale=1.0) -> State:
    """The state after steps that saw random gradients of this scale."""
    gradients = scale * np.random.default_rng(1).standard_normal((steps, WEIGHTS.size))
    start = optimizer.initial(jnp.asarray(WEIGHTS))
    return jit(lambda g: jax.lax.scan(lambda z, g: (optimizer.update(z, g), None), start, g)[0])(
        jnp.asarray(gradients)
    )


def hyperparameters(name: str) -> dict[str, float]:
    every = {"learning_rate": LEARNING_RATE, "momentum": B1, "b1": B1, "b2": B2, "eps": EPS}
    wanted = {"gd": [], "heavy_ball": ["momentum"], "nesterov": ["momentum"]}
    adaptive = ["b2", "eps"] if name.startswith("rmsprop") else ["b1", "b2", "eps"]
    return {key: every[key] for key in ["learning_rate", *wanted.get(name, adaptive)]}


def threshold_of(name: str, steps: int) -> np.ndarray:
    """The classical number of a row of the table, from its map after some steps."""
    row, chosen = TABLE[name], hyperparameters(name)
    optimizer = map_of(row.build(**chosen))
    state = after(optimizer, steps)
    p = row.preconditioner(row.second_moment(state.memory, **chosen), **chosen)
    return threshold(alternating_gain(optimizer, state), p, LEARNING_RATE)


@pytest.mark.parametrize("name", now(NINE, "nesterov"))
def test_linearised_map_gives_the_formula_of_the_table(name):
    expected = TABLE[name].threshold(**hyperparameters(name))
    np.testing.assert_allclose(threshold_of(name, 400), np.full(3, expected), rtol=1e-12)


def test_before_bias_correction_has_worn_off_the_threshold_of_adam_is_lower_by_it():
    expected = 38 * (1 - B1**5)
    np.testing.assert_allclose(threshold_of("adam", 5), np.full(3, expected), rtol=1e-12)


SCHEDULE = optax.cosine_decay_schedule(LEARNING_RATE, 1000)
ANY = {
    "adamw": optax.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=0.5),
    "amsgrad": optax.amsgrad(LEARNING_RATE, B1, B2, EPS),
    "adagrad": optax.adagrad(LEARNING_RATE, eps=EPS),
    "yogi": optax.yogi(LEARNING_RATE, B1, B2, EPS),
    "nadamw": optax.nadamw(LEARNING_RATE, B1, B2, EPS, weight_decay=0.5),
    "adabelief": optax.adabelief(LEARNING_RATE, B1, B2, EPS),
    "nesterov, cosine schedule": optax.sgd(SCHEDULE, B1, nesterov=True),
    "adam, L2": optax.chain(optax.add_decayed_weights(0.5), optax.adam(LEARNING_RATE, B1, B2, EPS)),
    "rmsprop, centred, momentum": optax.rmsprop(LEARNING_RATE, B2, EPS, centered=True, momentum=B1),
    "adan": optax.adan(LEARNING_RATE),
    "schedule free": optax.contrib.schedule_free_sgd(LEARNING_RATE),
}


@pytest.mark.parametrize("name", now(ANY, "adamw"))
def test_an_eigenvalue_reaches_minus_one_exactly_where_the_gain_says(name):
    optimizer = map_of(ANY[name])
    state = after(optimizer, 100, scale=np.array([0.1, 1, 3]))
    gain, held = alternating_gain(optimizer, state), one_step_back(optimizer, state)
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    sharpest = rotation @ np.diag([2, 1.3, 0.4]) @ rotation.T / np.sqrt(gain[:, None] * gain)

    def jacobian(ratio):
        """Of the step on a quadratic of coupled weights, at its minimum, with auxiliary leaves held."""
        f = OptimizerMap(
            lambda w: w @ (ratio * sharpest) @ w / 2,
            optimizer.transformation,
            optimizer.oscillating,
        )
        moving, unravel = ravel_pytree(oscillating(f, held))
        return jax.jacobian(
            lambda z: ravel_pytree(oscillating(f, f(eqx.combine(unravel(z), held))))[0]
        )(moving)

    ratios = np.concatenate([np.linspace(0.05, 0.999, 20), [1.0], np.linspace(1.001, 1.5, 20)])
    eigenvalues = np.linalg.eigvals(np.asarray(jit(jax.vmap(jacobian))(jnp.asarray(ratios))))
    radius = np.abs(eigenvalues).max(axis=1)
    assert np.abs(eigenvalues[20] + 1).min() < 1e-9
    assert np.all(radius[:20] < 1)
    assert np.all(radius[21:] > 1)


@pytest.mark.parametrize("name", now(["adamw", "amsgrad", "yogi", "adabelief"], "yogi"))
def test_step_from_one_step_back_arrives_at_the_auxiliary_leaves(name):
    optimizer = map_of(ANY[name])
    state = after(optimizer, 7)
    back = one_step_back(optimizer, state)
    assert not np.any(back.weights)
    arrived = optimizer.update(back, jnp.zeros(3))
    pairs = zip(jax.tree.leaves(arrived), jax.tree.leaves(state), strict=True)
    for (found, wanted), follows in zip(pairs, optimizer.oscillating, strict=True):
        if not follows:
            np.testing.assert_allclose(found, wanted, rtol=1e-13)


# On a parabola an adaptive optimizer ends in a period two whose size makes its own second moment: with no linearisation
# and nothing held, the gain there must be 2 over the curvature.
@pytest.mark.parametrize(
    "transformation",
    [
        pytest.param(
            optax.nadamw(0.01, b2=0.9, weight_decay=10.0), id="nadamw", marks=pytest.mark.slow
        ),
        pytest.param(optax.rmsprop(0.01), id="rmsprop"),
    ],
)
def test_optimizer_that_settles_in_a_period_two_has_the_gain_of_its_threshold(transformation):
    curvatures = np.array([0.5, 2.0, 7.0])
    optimizer = OptimizerMap(
        lambda w: jnp.sum(curvatures * w**2) / 2, transformation, map_of(transformation).oscillating
    )
    start = optimizer.initial(jnp.asarray([0.3, 0.2, 0.1]))
    settle = jit(lambda z: jax.lax.fori_loop(0, 5000, lambda _, z: optimizer(z), z))
    state = settle(start)
    np.testing.assert_allclose(optimizer(state).weights, -state.weights, rtol=1e-6)
    gain = alternating_gain(optimizer, state)
    np.testing.assert_allclose(gain * curvatures, np.full(3, 2), rtol=1e-6)


@pytest.mark.slow
def test_decoupled_decay_lowers_the_curvature_it_takes_by_learning_rate_times_decay():
    plain, decayed = (
        map_of(optax.adamw(LEARNING_RATE, B1, B2, EPS, weight_decay=w)) for w in (0.0, 0.5)
    )
    without, with_decay = (alternation(f, after(f, 50)) for f in (plain, decayed))
    np.testing.assert_allclose(with_decay.gain, without.gain, rtol=1e-12)
    np.testing.assert_array_equal(without.decay, 0)
    # Momentum does not average it: it is the whole of eta lambda.
    np.testing.assert_allclose(with_decay.decay, np.full(3, LEARNING_RATE * 0.5), rtol=1e-12)
    folded = alternating_gain(decayed, after(decayed, 50))
    np.testing.assert_allclose(folded, with_decay.gain / (1 - with_decay.decay / 2), rtol=1e-12)


def test_schedule_is_taken_where_the_state_is():
    early, late = (
        alternating_gain(f, after(f, n))
        for f in [map_of(ANY["nesterov, cosine schedule"])]
        for n in (2, 901)
    )
    # The step that arrives at count n used the rate of count n - 1.
    rates = [float(SCHEDULE(n - 1)) for n in (2, 901)]
    np.testing.assert_allclose(early / late, np.full(3, rates[0] / rates[1]), rtol=1e-10)


def test_single_precision_gives_the_same_gain():
    precise = alternating_gain(map_of(ANY["adamw"]), after(map_of(ANY["adamw"]), 50))
    with jax.enable_x64(False):
        optimizer = map_of(ANY["adamw"])
        found = alternating_gain(optimizer, after(optimizer, 50))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, precise, rtol=1e-5)


def test_weight_that_never_saw_a_gradient_is_divided_by_eps_alone():
    optimizer = map_of(optax.adam(LEARNING_RATE, B1, B2, EPS))
    gain = alternating_gain(optimizer, after(optimizer, 400, scale=np.array([1, 0, 1])))
    assert gain[1] == pytest.approx(LEARNING_RATE / 19 / EPS, rel=1e-12)


def test_gains_of_many_states_are_those_of_each_and_nan_where_it_is_not_finite():
    optimizer = map_of(ANY["adagrad"])
    states = [after(optimizer, n) for n in (3, 5, 8)]
    states[1] = states[1]._replace(weights=jnp.full(3, jnp.nan))
    found = alternating_gains(optimizer, jax.tree.map(lambda *z: np.stack(z), *states))
    assert found.shape == (3, 3)
    assert np.isnan(found[1]).all()
    for k in (0, 2):
        np.testing.assert_array_equal(found[k], alternating_gain(optimizer, states[k]))


def without_memory(update) -> optax.GradientTransformation:
    return optax.stateless(lambda gradient, weights: jax.tree.map(update, gradient))


def overwritten() -> optax.GradientTransformation:
    """Divides by the gradient of the step before, of which it keeps the square."""
    return optax.GradientTransformation(
        optax.tree.ones_like,
        lambda gradient, last, weights=None: (
            jax.tree.map(lambda g, v: -g / jnp.sqrt(v + 1e-6), gradient, last),
            jax.tree.map(jnp.square, gradient),
        ),
    )


def rotating() -> optax.GradientTransformation:
    """Two memories that feed each other: a complex pair which leaves the disc away from -1."""

    def update(gradient, memory, weights=None):
        def turned(x, y):
            return jax.tree.map(lambda a, b: 0.9 * a + 0.6 * b, x, y)

        a, b = memory
        first = optax.tree.add(turned(a, optax.tree.scale(-1, b)), gradient)
        return optax.tree.scale(-0.01, first), (first, turned(b, a))

    return optax.GradientTransformation(lambda w: (optax.tree.zeros_like(w),) * 2, update)


@pytest.mark.parametrize(
    ("transformation", "reason"),
    [
        pytest.param(optax.lion(0.01), r"not differentiable at zero gradient \(a sign", id="lion"),
        pytest.param(
            optax.lamb(0.01),
            "not differentiable at zero gradient",
            id="trust ratio",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            without_memory(lambda g: -jnp.maximum(g, 0.1 * g)), "not differentiable", id="kink"
        ),
        pytest.param(
            without_memory(lambda g: jnp.mean(g) - g), "does not act weight by weight", id="centred"
        ),
        pytest.param(optax.sgd(-0.1), "climbs a gradient that alternates", id="ascent"),
        pytest.param(overwritten(), r"cannot hold memory without a gradient", id="overwritten"),
        pytest.param(
            optax.adamw(0.1, weight_decay=25.0), "weight decay alone overshoots", id="decay"
        ),
        pytest.param(rotating(), r"another mode grows \(by 1\.", id="other mode"),
        pytest.param(
            optax.chain(optax.trace(-1.0), optax.sgd(0.1)),
            "alternates without being damped",
            id="undamped memory",
        ),
    ],
)
def test_optimizer_without_such_a_threshold_is_refused_in_one_line(transformation, reason):
    optimizer = map_of(transformation)
    state = optimizer.update(optimizer.initial(jnp.asarray(WEIGHTS)), jnp.asarray([0.5, -1.0, 2.0]))
    with pytest.raises(OptimizerError, match=reason) as refusal:
        alternating_gain(optimizer, state)
    assert "\n" not in str(refusal.value)


def test_snapshot_that_has_no_gain_leaves_those_of_the_others():
    optimizer = map_of(optax.adam(LEARNING_RATE, B1, B2, EPS))
    states = [optimizer.initial(jnp.asarray(WEIGHTS)), after(optimizer, 5)]
    found = alternating_gains(optimizer, jax.tree.map(lambda *z: np.stack(z), *states))
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], alternating_gain(optimizer, states[1]))


def test_where_no_snapshot_has_a_gain_the_reason_is_given():
    optimizer = map_of(optax.adam(LEARNING_RATE, B1, B2, EPS))
    fresh = jax.tree.map(lambda z: np.stack([z, z]), optimizer.initial(jnp.asarray(WEIGHTS)))
    with pytest.raises(OptimizerError, match="must have taken a step"):
        alternating_gains(optimizer, fresh)


@pytest.mark.slow
def test_at_a_rate_of_zero_and_for_what_never_moves_the_gain_is_zero():
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, 60)
    ended = map_of(optax.inject_hyperparams(optax.adam)(learning_rate=schedule))
    for optimizer, steps in ((ended, 62), (map_of(optax.set_to_zero()), 3)):
        np.testing.assert_array_equal(alternating_gain(optimizer, after(optimizer, steps)), 0)


@pytest.mark.parametrize("step", now([40, 59], 40))
def test_rate_that_is_written_into_the_memory_is_that_of_the_schedule(step):
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, 60)
    injected = map_of(optax.inject_hyperparams(optax.sgd)(learning_rate=schedule))
    states = [after(injected, n) for n in (step - 1, step, step + 1)]
    middle = jax.tree.map(lambda a, b, c: (a + 2 * b + c) / 4, *states)
    found = alternating_gain(injected, middle)
    np.testing.assert_allclose(found, np.full(3, schedule(step - 1)), rtol=1e-6)


@pytest.mark.slow
def test_largest_second_moment_need_not_be_held_where_the_present_one_is_larger():
    """Between the initial state, where both are 0, and the first ones the mean of it is too small."""
    optimizer = map_of(ANY["amsgrad"])
    states = [after(optimizer, n) for n in (0, 1, 2)]
    middle = jax.tree.map(lambda a, b, c: (a + 2 * b + c) / 4, *states)
    adam = map_of(optax.adam(LEARNING_RATE, B1, B2, EPS))
    memory = middle.memory[0]
    same = optax.ScaleByAdamState(count=memory.count, mu=memory.mu, nu=memory.nu)
    plain = State(middle.weights, (same, *middle.memory[1:]))
    np.testing.assert_allclose(
        alternating_gain(optimizer, middle), alternating_gain(adam, plain), rtol=1e-12
    )


@pytest.mark.slow
def test_optimizer_that_divides_by_a_distance_is_refused_for_that():
    """Prodigy estimates its rate where gradients agree with the way gone, here since they are all the same."""
    optimizer = map_of(optax.contrib.prodigy(0.1))
    state = optimizer.initial(jnp.asarray(WEIGHTS))
    for _ in range(5):
        state = optimizer.update(state, jnp.ones(3))
    with pytest.raises(OptimizerError, match="no linear threshold"):
        alternating_gain(optimizer, state)


def test_state_that_is_not_finite_is_refused_for_that():
    optimizer = map_of(optax.adam(LEARNING_RATE))
    state = after(optimizer, 3)._replace(weights=jnp.full(3, jnp.nan))
    with pytest.raises(OptimizerError, match="not finite: the state is not"):
        alternating_gain(optimizer, state)


def test_state_before_the_first_step_of_adam_is_refused():
    optimizer = map_of(optax.adam(0.01))
    with pytest.raises(OptimizerError, match=r"not finite.*must have taken a step"):
        alternating_gain(optimizer, optimizer.initial(jnp.asarray(WEIGHTS)))
