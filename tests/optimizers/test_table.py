"""The table of optimizers: what each step computes, and where each becomes unstable."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from representatives import now
from rodflow.config.catalogue import OPTIMIZERS
from rodflow.dynamics.lifted import oscillating
from rodflow.optimizers.instability import first_instability
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, optimizer_map
from rodflow.optimizers.table import NINE, TABLE
from rodflow.optimizers.transformations import shared_decay

LEARNING_RATE, B1, B2, EPS = 0.05, 0.9, 0.97, 1e-3
ADAPTIVE = [name for name, optimizer in TABLE.items() if optimizer.adaptive]
FORMULA = [name for name, optimizer in TABLE.items() if optimizer.threshold is not None]
BEYOND = sorted(name for name, row in TABLE.items() if row.by_gain and row.shapeless)
NOT_LINEAR = [name for name, row in TABLE.items() if not row.linear]
GRADIENTS = np.random.default_rng(0).standard_normal((8, 4))
WEIGHTS = np.random.default_rng(1).standard_normal(4)


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def hyperparameters(name: str, decay: float = B1) -> dict[str, float]:
    """Those of a row, with values that all count within a few steps."""
    given = {"learning_rate": LEARNING_RATE, "momentum": decay, "b1": decay, "b2": B2, "eps": EPS}
    given |= {"weight_decay": 0.3, "initial_accumulator_value": 0.2, "beta": decay, "k": 2}
    given |= {"trust_coefficient": 0.1, "decay_rate": 0.8, "factored_from": 2, "freeze": 2}
    return {key: given[key] for key in OPTIMIZERS[name].hyperparameters}


def steps(transformation: optax.GradientTransformation, gradients: np.ndarray):
    """The updates that these gradients cause, and the memory after the last."""
    updates, memory = steps_of(transformation, gradients)
    return np.asarray(updates), memory


def steps_of(transformation: optax.GradientTransformation, gradients: np.ndarray):
    weights = jnp.asarray(WEIGHTS[: gradients.shape[1]])

    def step(memory, gradient):
        update, memory = transformation.update(gradient, memory, weights)
        return memory, update

    memory, updates = jax.lax.scan(step, transformation.init(weights), jnp.asarray(gradients))
    return updates, memory


def by_hand(name: str, gradients: np.ndarray, *, ahead: int) -> np.ndarray:
    """The updates of the table, the bias of Nesterov's momentum taken `ahead` steps later."""
    m, nu, updates = np.zeros(gradients.shape[1]), 0.0, []
    for t, g in enumerate(gradients, start=1):
        m = B1 * m + (1 - B1) * g
        nu = B2 * nu + (1 - B2) * (g @ g if name.endswith("scalar") else g**2)
        p = np.sqrt(nu / (1 - B2**t)) + EPS
        m_hat, g_hat = m / (1 - B1**t), g / (1 - B1**t)
        m_ahead = m / (1 - B1 ** (t + ahead))
        direction = {
            "gd": g,
            "heavy_ball": m,
            "nesterov": B1 * m + (1 - B1) * g,
            "rmsprop": g / p,
            "adam": m_hat / p,
            "nadam": (B1 * m_ahead + (1 - B1) * g_hat) / p,
        }[name.removesuffix("_scalar")]
        updates.append(-LEARNING_RATE * direction)
    return np.stack(updates)


@pytest.mark.parametrize("name", NINE)
def test_updates_are_the_formula_of_the_table(name):
    found, _ = steps(TABLE[name].build(**hyperparameters(name)), GRADIENTS)
    # optax corrects the bias of Nesterov's momentum as if one more step had been taken.
    np.testing.assert_allclose(found, by_hand(name, GRADIENTS, ahead=1), rtol=1e-12)


@pytest.mark.parametrize("name", ["nadam", "nadam_scalar"])
def test_nesterov_bias_correction_of_optax_tends_to_the_plain_one(name):
    gradients = np.random.default_rng(2).standard_normal((300, 1)) + 3
    ahead, plain = (by_hand(name, gradients, ahead=k)[:, 0] for k in (1, 0))
    difference = np.abs(ahead / plain - 1)
    assert difference[0] > 0.1
    assert np.all(difference <= 2 * B1 ** np.arange(1, 301) + 1e-15)


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "gd": 2,
        "heavy_ball": 38,
        "nesterov": 3.8 / 0.28,
        "rmsprop_scalar": 2,
        "rmsprop": 2,
        "adam_scalar": 38,
        "adam": 38,
        "nadam_scalar": 3.8 / 0.28,
        "nadam": 3.8 / 0.28,
    }.items(),
)
def test_thresholds_at_decay_nine_tenths(name, expected):
    assert TABLE[name].threshold(**hyperparameters(name)) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", NINE)
def test_limit_is_the_threshold_over_the_learning_rate(name):
    chosen = hyperparameters(name)
    expected = TABLE[name].threshold(**chosen) / LEARNING_RATE
    assert TABLE[name].limit(**chosen) == expected


def test_the_nine_have_a_formula_and_rows_without_one_no_second_moment():
    assert {*NINE} < {*FORMULA}
    assert all(not TABLE[name].adaptive for name in BEYOND)


@pytest.mark.parametrize("name", now(TABLE, "nesterov", "adam"))
def test_hyperparameters_may_be_arrays(name):
    chosen = hyperparameters(name)
    tuned = TABLE[name].tuned(jnp.float64, **chosen)
    found, _ = eqx.filter_jit(lambda transformation: steps_of(transformation, GRADIENTS))(tuned)
    # Adafactor computes its decay in single precision.
    tolerance = 1e-6 if name == "adafactor" else 1e-12
    expected = steps(TABLE[name].build(**chosen), GRADIENTS)[0]
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_without_bias_correction_the_moments_are_taken_as_they_are(name):
    found, _ = steps(TABLE[f"{name}_uncorrected"].build(**hyperparameters(name)), GRADIENTS)
    m, nu = np.zeros(4), np.zeros(4)
    for g, update in zip(GRADIENTS, found, strict=True):
        m, nu = B1 * m + (1 - B1) * g, B2 * nu + (1 - B2) * g**2
        direction = g if name == "rmsprop" else m
        np.testing.assert_allclose(update, -LEARNING_RATE * direction / (np.sqrt(nu) + EPS))


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.9, 0.99])
def test_one_adam_is_adam(decay):
    chosen = hyperparameters("k_adam", decay) | {"k": 1}
    found, _ = steps(TABLE["k_adam"].build(**chosen), GRADIENTS)
    expected, _ = steps(TABLE["adam"].build(**hyperparameters("adam", decay)), GRADIENTS)
    np.testing.assert_array_equal(found, expected)
    assert TABLE["k_adam"].threshold(**chosen) == pytest.approx(2 * (1 + decay) / (1 - decay))


def test_two_adam_rescales_what_adam_gives():
    found, memory = steps(TABLE["k_adam"].build(**hyperparameters("k_adam")), GRADIENTS)
    moments, product = [[np.zeros(4), np.zeros(4)] for _ in range(2)], 1.0
    for t, (g, update) in enumerate(zip(GRADIENTS, found, strict=True), start=1):
        u, product = g, 1.0
        for own in moments:
            own[:] = B1 * own[0] + (1 - B1) * u, B2 * own[1] + (1 - B2) * u**2
            nu = own[1] / (1 - B2**t)
            u, product = own[0] / (1 - B1**t) / (np.sqrt(nu) + EPS), product * nu
        np.testing.assert_allclose(update, -LEARNING_RATE * u, rtol=1e-10)
    kept = TABLE["k_adam"].second_moment(memory, **hyperparameters("k_adam"))
    np.testing.assert_allclose(kept, product, rtol=1e-10)


def test_a_second_rescaling_takes_long_steps_where_the_first_takes_short_ones():
    """Of a gradient that alternates by 1 around 0.1 the average m swings by (1 - b) / (1 + b) around 0.1."""
    swing = (-1.0) ** np.arange(2000) + 0.1
    gradients = np.repeat(swing[:, None], 4, axis=1)
    lengths = []
    for k in (1, 2):
        chosen = hyperparameters("k_adam") | {"k": k, "b2": 0.999, "eps": 1e-12}
        found, _ = steps(TABLE["k_adam"].build(**chosen), gradients)
        lengths.append(np.abs(found[-100:].mean()) / LEARNING_RATE)
    first = np.hypot(0.1, (1 - B1) / (1 + B1))
    np.testing.assert_allclose(lengths, [0.1 / np.sqrt(1.01), 0.1 / first], rtol=0.02)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_rescalings_that_share_their_decays_weigh_the_newest_gradient_as_one_does(k):
    assert (1 - float(shared_decay(B1, k))) ** k == pytest.approx(1 - B1)


def test_k_adam_with_shared_decays_is_k_adam_at_those_decays():
    chosen = hyperparameters("k_adam_shared") | {"k": 3}
    each = chosen | {key: float(shared_decay(chosen[key], 3)) for key in ("b1", "b2")}
    (found, memory), (expected, _) = (
        steps(TABLE[name].build(**given), GRADIENTS)
        for name, given in (("k_adam_shared", chosen), ("k_adam", each))
    )
    np.testing.assert_array_equal(found, expected)
    assert TABLE["k_adam_shared"].threshold(**chosen) == TABLE["k_adam"].threshold(**each)
    np.testing.assert_allclose(
        TABLE["k_adam_shared"].second_moment(memory, **chosen),
        TABLE["k_adam"].second_moment(memory, **each),
        rtol=1e-12,
    )


@pytest.mark.parametrize("decay", [0.4, 0.5, 0.9, 0.95])
def test_two_adam_rotates_before_it_alternates(decay):
    threshold = TABLE["k_adam"].threshold(**hyperparameters("k_adam", decay))
    assert threshold == pytest.approx((1 - decay**2) / decay**2, rel=1e-10)


@pytest.mark.parametrize("k", [2, 3])
def test_at_a_small_decay_k_adam_alternates(k):
    threshold = TABLE["k_adam"].threshold(**hyperparameters("k_adam", 0.2) | {"k": k})
    assert threshold == pytest.approx(2 * 1.5**k, rel=1e-10)


def test_the_bias_correction_is_forgotten_in_the_end():
    gradients = np.random.default_rng(4).standard_normal((2000, 4))
    corrected, uncorrected = (
        steps(TABLE[name].build(**hyperparameters(name)), gradients)[0][-1]
        for name in ("adam", "adam_uncorrected")
    )
    np.testing.assert_allclose(corrected, uncorrected, rtol=1e-12)


@pytest.mark.parametrize("name", BEYOND)
def test_row_without_formula_is_preconditioned_by_its_inverse_gain_at_a_limit_of_two(name):
    row, chosen = TABLE[name], hyperparameters(name)
    assert row.limit(**chosen) == 2
    with pytest.raises(ValueError, match="inverse of the critical gain"):
        row.preconditioner(None, **chosen)


@pytest.mark.parametrize("name", NOT_LINEAR)
def test_row_without_linear_threshold_has_no_limit_and_the_plain_hessian(name):
    row, chosen = TABLE[name], hyperparameters(name)
    assert np.isnan(row.limit(**chosen))
    assert row.preconditioner(None, **chosen) == 1


OF_A_KIND = ("gd", "lion")
"""A row that is linear and one that is not. Those that are not shapeless take seconds each, all together minutes."""


@pytest.mark.parametrize("name", now(TABLE, *OF_A_KIND))
def test_row_is_as_linear_and_as_shapeless_as_it_says(name):
    row, chosen = TABLE[name], hyperparameters(name)
    # Without the tree a row that is not shapeless is refused; with it a matrix of any size is factored.
    tree = {"a": jnp.asarray(WEIGHTS).reshape(2, 2), "b": jnp.asarray(GRADIENTS[0])}
    plain = row.build(**chosen)
    if row.shapeless:
        optimizer_map(jnp.sum, plain, jnp.asarray(WEIGHTS))
    else:
        with pytest.raises(OptimizerError, match="another shape"):
            optimizer_map(jnp.sum, plain, jnp.asarray(WEIGHTS))
    optimizer = optimizer_map(lambda w: jnp.sum(w["a"]), plain, tree)
    state = optimizer.initial(tree)
    for gradient in GRADIENTS:
        state = optimizer.update(state, jnp.tile(jnp.asarray(gradient), 2))
    if row.linear:
        assert (first_instability(optimizer, state).gain > 0).all()
    else:
        with pytest.raises(OptimizerError):
            first_instability(optimizer, state)


@pytest.mark.parametrize("name", now(BEYOND, BEYOND[0], BEYOND[-1]))
def test_every_hyperparameter_of_a_row_without_formula_counts(name):
    chosen = hyperparameters(name)
    reference, _ = steps(TABLE[name].build(**chosen), GRADIENTS)
    for key in chosen:
        changed, _ = steps(TABLE[name].build(**chosen | {key: 0.9 * chosen[key]}), GRADIENTS)
        assert np.abs(changed / reference - 1).max() > 1e-5, key


@pytest.mark.parametrize("decay", now([0.9, 0.5], 0.9))
@pytest.mark.parametrize("name", now(FORMULA, "heavy_ball", "nadam"))
def test_the_linear_map_becomes_unstable_exactly_at_the_threshold(name, decay):
    optimizer, chosen = TABLE[name], hyperparameters(name, decay)
    transformation, count, p = optimizer.build(**chosen), 1e4, 0.7
    # A step decays nu before it divides by its root: this nu makes that root p.
    bias = 1.0 if name.endswith("uncorrected") else 1 - B2 ** (count + 1)
    if optimizer.adaptive:
        held = optimizer.decay(**chosen)
        frozen = {"count": count, "nu": p**2 * bias / held}
    else:
        frozen = {"count": count}
    preconditioner = (p + EPS) ** chosen.get("k", 1) if optimizer.adaptive else 1.0
    mask = optimizer_map(jnp.sum, transformation, jnp.zeros(1)).oscillating

    def jacobian(curvature):
        """Of the oscillating part of the map at the minimum, where g^2 adds nothing to nu."""
        f = OptimizerMap(lambda w: curvature / 2 * jnp.sum(w**2), transformation, mask)
        state = jax.tree_util.tree_map_with_path(
            lambda path, leaf: jnp.full_like(leaf, frozen.get(path[-1].name, 0.0)),
            f.initial(jnp.zeros(1)),
        )
        moving, unravel = ravel_pytree(oscillating(f, state))

        def step(moving):
            return ravel_pytree(oscillating(f, f(eqx.combine(unravel(moving), state))))[0]

        return jax.jacobian(step)(moving)

    ratios = np.concatenate([np.linspace(0.02, 0.999, 40), [1.0], np.linspace(1.001, 1.5, 40)])
    sharpness = ratios * optimizer.threshold(**chosen) / LEARNING_RATE
    matrices = jax.jit(jax.vmap(jacobian))(jnp.asarray(sharpness * preconditioner))
    eigenvalues = np.linalg.eigvals(np.asarray(matrices))
    radius = np.abs(eigenvalues).max(axis=1)
    if not name.startswith("k_adam"):  # which rotates
        assert np.abs(eigenvalues[40] + 1).min() < 1e-10
    assert radius[40] == pytest.approx(1, abs=1e-10)
    assert np.all(radius[:40] < 1)
    assert np.all(radius[41:] > 1)


@pytest.mark.parametrize("name", ["rmsprop", "adam", "nadam"])
def test_scalar_variant_of_one_weight_is_the_ordinary_one(name):
    ordinary, scalar = (
        steps(TABLE[n].build(**hyperparameters(n)), GRADIENTS[:, :1])[0]
        for n in (name, f"{name}_scalar")
    )
    np.testing.assert_allclose(scalar, ordinary, rtol=1e-13)


@pytest.mark.parametrize("name", now(TABLE, "heavy_ball", "adam"))
def test_float_counts_give_the_updates_and_states_of_integer_ones(name):
    transformation = TABLE[name].build(**hyperparameters(name))
    f = OptimizerMap(jnp.sum, transformation, ())
    weights = jnp.asarray(WEIGHTS)
    state, memory = f.initial(weights), transformation.init(weights)
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(state))
    for gradient in np.random.default_rng(3).standard_normal((20, 4)):
        updates, memory = transformation.update(jnp.asarray(gradient), memory, weights)
        weights = optax.apply_updates(weights, updates)
        state = f.update(state, jnp.asarray(gradient))
        np.testing.assert_allclose(state.weights, weights, rtol=1e-13)
        for ours, theirs in zip(
            jax.tree.leaves(state.memory), jax.tree.leaves(memory), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@pytest.mark.parametrize("name", sorted({*ADAPTIVE} - {"k_adam", "k_adam_shared"}))
def test_second_moment_is_the_average_of_squares_with_the_optimizers_bias_correction(name):
    chosen = hyperparameters(name)
    _, memory = steps(TABLE[name].build(**chosen), GRADIENTS)
    ages = np.arange(len(GRADIENTS))[::-1]
    scalar = name.endswith("scalar")
    squares = (GRADIENTS**2).sum(axis=1) if scalar else GRADIENTS**2
    bias = 1.0 if name.endswith("uncorrected") else 1 - B2 ** len(GRADIENTS)
    expected = (1 - B2) * np.tensordot(B2**ages, squares, 1) / bias
    found = TABLE[name].second_moment(memory, **chosen)
    assert found.shape == (() if scalar else (4,))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["rmsprop", "rmsprop_scalar"])
def test_preconditioner_is_what_the_gradient_was_divided_by(name):
    optimizer, chosen = TABLE[name], hyperparameters(name)
    updates, memory = steps(optimizer.build(**chosen), GRADIENTS)
    p = optimizer.preconditioner(optimizer.second_moment(memory, **chosen), **chosen)
    np.testing.assert_allclose(updates[-1], -LEARNING_RATE * GRADIENTS[-1] / p, rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(NINE) - set(ADAPTIVE)))
def test_methods_without_second_moment_precondition_with_one(name):
    optimizer, chosen = TABLE[name], hyperparameters(name)
    memory = optimizer.build(**chosen).init(jnp.asarray(WEIGHTS))
    assert optimizer.second_moment(memory, **chosen) is None
    assert optimizer.preconditioner(None, **chosen) == 1.0


def test_scalar_adam_steps_trees_of_weights_as_it_does_one_flat_vector():
    transformation = TABLE["adam_scalar"].build(**hyperparameters("adam_scalar"))
    tree = {"a": jnp.asarray(WEIGHTS[:1]), "b": jnp.asarray(WEIGHTS[1:]).reshape(3, 1)}
    memory = transformation.init(tree)
    for gradient in GRADIENTS[:3]:
        pieces = {"a": jnp.asarray(gradient[:1]), "b": jnp.asarray(gradient[1:]).reshape(3, 1)}
        updates, memory = transformation.update(pieces, memory, tree)
    flat, _ = steps(transformation, GRADIENTS[:3])
    np.testing.assert_allclose(ravel_pytree(updates)[0], flat[-1], rtol=1e-13)
