"""The first instability of any optimizer, at whatever angle."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from representatives import now
from rodflow.dynamics.lifted import oscillating
from rodflow.optimizers.alternation import alternating_gain
from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.instability import critical_gain, first_instability, largest_real
from rodflow.optimizers.linear_response import one_step_back
from rodflow.optimizers.optimizer_map import OptimizerMap, State, optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.optimizers.thresholds import k_adam_threshold
from small import jit

WEIGHTS = np.random.default_rng(0).standard_normal(3)
RATE = 0.05


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def map_of(transformation: optax.GradientTransformation) -> OptimizerMap:
    return optimizer_map(jnp.sum, transformation, jnp.asarray(WEIGHTS))


def after(optimizer: OptimizerMap, steps: int) -> State:
    gradients = np.random.default_rng(1).standard_normal((steps, 3)) * np.array([0.1, 1, 3])
    start = optimizer.initial(jnp.asarray(WEIGHTS))
    return jit(lambda g: jax.lax.scan(lambda z, g: (optimizer.update(z, g), None), start, g)[0])(
        jnp.asarray(gradients)
    )


def delayed() -> optax.GradientTransformation:
    """Steps along the mean of the last two gradients."""

    def update(gradient, last, weights=None):
        return -RATE * (gradient + last) / 2, gradient

    return optax.GradientTransformation(jnp.zeros_like, update)


def test_mean_of_two_gradients_turns_by_a_right_angle_at_twice_the_inverse_rate():
    """z^2 - z + eta h (z + 1) / 2 = 0 has the roots +-i at eta h = 2, and they leave the disc there."""
    optimizer = map_of(delayed())
    found = first_instability(optimizer, after(optimizer, 5))
    np.testing.assert_allclose(found.gain, np.full(3, RATE), rtol=1e-9)
    assert found.angle == pytest.approx(np.pi / 2, abs=1e-9)


def test_what_does_not_see_an_alternating_gradient_has_the_threshold_of_its_own_mode():
    """Its alternating gain is zero, which says that it never becomes unstable by alternating, and no more."""
    optimizer = map_of(delayed())
    state = after(optimizer, 5)
    assert not alternating_gain(optimizer, state).any()
    found = critical_gain(optimizer, state)
    np.testing.assert_allclose(found.gain, np.full(3, RATE), rtol=1e-9)
    assert found.angle == pytest.approx(np.pi / 2, abs=1e-9)


@pytest.mark.parametrize("name", now(["adamw", "nesterov", "amsgrad"], "amsgrad"))
def test_where_the_weights_alternate_first_the_gain_is_the_alternating_one(name):
    given = {"learning_rate": RATE, "b1": 0.9, "b2": 0.97, "eps": 1e-3}
    of = {"adamw": given | {"weight_decay": 0.5}, "amsgrad": given}
    nesterov = {"learning_rate": RATE, "momentum": 0.9}
    optimizer = map_of(TABLE[name].build(**of.get(name, nesterov)))
    state = after(optimizer, 60)
    found = first_instability(optimizer, state)
    assert found.angle == np.pi
    np.testing.assert_allclose(found.gain, alternating_gain(optimizer, state), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("b1", "k"), [(0.5, 2), (0.9, 2), (0.9, 3), (0.7, 4)])
def test_k_adam_has_the_threshold_of_its_polynomial(b1, k):
    given = {"learning_rate": RATE, "b1": b1, "b2": 0.97, "eps": 1e-12, "k": k}
    row = TABLE["k_adam"]
    optimizer = map_of(row.build(**given))
    state = after(optimizer, 600)
    p = row.preconditioner(row.second_moment(state.memory, **given), **given)
    found = first_instability(optimizer, state)
    np.testing.assert_allclose(2 * RATE / (found.gain * p), k_adam_threshold(b1, k), rtol=1e-6)
    assert (found.angle == np.pi) == (
        k_adam_threshold(b1, k) > 0.999 * 2 * ((1 + b1) / (1 - b1)) ** k
    )


@pytest.mark.slow
def test_beyond_the_critical_gain_an_eigenvalue_of_the_coupled_step_leaves_the_disc():
    given = {"learning_rate": RATE, "b1": 0.9, "b2": 0.97, "eps": 1e-3, "k": 2}
    optimizer = map_of(TABLE["k_adam"].build(**given))
    state = after(optimizer, 600)
    found, held = first_instability(optimizer, state), one_step_back(optimizer, state)
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    gain = found.gain
    sharpest = rotation @ np.diag([2, 1.3, 0.4]) @ rotation.T / np.sqrt(gain[:, None] * gain)

    def jacobian(ratio):
        f = OptimizerMap(
            lambda w: w @ (ratio * sharpest) @ w / 2,
            optimizer.transformation,
            optimizer.oscillating,
        )
        moving, unravel = ravel_pytree(oscillating(f, held))
        return jax.jacobian(
            lambda z: ravel_pytree(oscillating(f, f(eqx.combine(unravel(z), held))))[0]
        )(moving)

    eigenvalues = np.linalg.eigvals(np.asarray(jit(jax.vmap(jacobian))(jnp.array([0.97, 1, 1.03]))))
    below, at, above = np.abs(eigenvalues).max(axis=1)
    assert below < 1 < above
    assert at == pytest.approx(1, abs=1e-3)
    leading = eigenvalues[1][np.abs(eigenvalues[1]).argmax()]
    assert abs(np.angle(leading)) == pytest.approx(found.angle, abs=1e-3)


def test_weights_that_do_not_move_have_no_gain_and_the_others_theirs():
    frozen = optax.partition(
        {"on": optax.sgd(RATE), "off": optax.set_to_zero()}, {"a": "on", "b": "off"}
    )
    tree = {"a": jnp.ones(2), "b": jnp.ones(1)}
    optimizer = optimizer_map(lambda w: 0.0, frozen, tree)
    found = first_instability(optimizer, optimizer.initial(tree))
    np.testing.assert_allclose(found.gain, [RATE, RATE, 0], rtol=1e-12)
    assert found.angle == np.pi


def test_where_nothing_moves_there_is_no_angle():
    optimizer = map_of(optax.set_to_zero())
    found = first_instability(optimizer, optimizer.initial(jnp.asarray(WEIGHTS)))
    np.testing.assert_array_equal(found.gain, 0)
    assert np.isnan(found.angle)


def test_at_a_rate_of_zero_no_weight_moves_though_the_memory_does():
    optimizer = map_of(optax.adam(optax.linear_schedule(0, 0.1, 10)))
    first = optimizer.update(optimizer.initial(jnp.asarray(WEIGHTS)), jnp.asarray(WEIGHTS))
    found = critical_gain(optimizer, first)
    np.testing.assert_array_equal(found.gain, 0)
    assert np.isnan(found.angle)


@pytest.mark.parametrize(
    ("transformation", "reason"),
    [
        pytest.param(optax.sgd(-0.1), "climbs", id="ascent"),
        pytest.param(
            optax.chain(optax.trace(-1.0), optax.sgd(0.1)), "without being damped", id="undamped"
        ),
        pytest.param(
            optax.chain(optax.trace(1.1), optax.sgd(0.1)), "unstable without any", id="growing"
        ),
        pytest.param(optax.sign_sgd(0.1), r"rodflow\.dynamics\.amplitude", id="sign"),
    ],
)
def test_what_has_no_first_instability_is_refused_in_one_line(transformation, reason):
    optimizer = map_of(transformation)
    state = optimizer.update(optimizer.initial(jnp.asarray(WEIGHTS)), jnp.asarray(WEIGHTS))
    with pytest.raises(OptimizerError, match=reason) as refusal:
        first_instability(optimizer, state)
    assert "\n" not in str(refusal.value)


def test_largest_real_value_of_a_filter_is_found_with_its_angle():
    # 1 / (z^2 + z / 2) is real at z = -1, where it is 2, and at the angle arccos(-1/4), where it is -1.
    best, angle = largest_real(lambda z: 1 / (z**2 + z / 2))
    assert best == pytest.approx(2, rel=1e-12)
    assert angle == np.pi
    best, angle = largest_real(lambda z: -1 / (z**2 + z / 2))
    assert best == pytest.approx(1, rel=1e-9)
    assert angle == pytest.approx(np.arccos(-0.25), abs=1e-9)
