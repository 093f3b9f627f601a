"""An optimizer of matrices and layers acts on the tree that the user has, and its states stay flat."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from representatives import now
from rodflow.dynamics.lifted import Rod, lifted_map, oscillating
from rodflow.optimizers.alternation import alternating_gain, alternation
from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.on_tree import Layout, OfTree, OnTree
from rodflow.optimizers.optimizer_map import OptimizerMap, optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.optimizers.tuned import as_pytree
from rodflow.store.trajectory import states, trajectory, with_states
from small import jit

STEPS = 30
RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((20, 6))
TARGETS = RNG.standard_normal((20, 3))
PARAMETERS = {
    "first": {"b": np.zeros(5), "w": 0.4 * RNG.standard_normal((6, 5))},
    "last": [0.4 * RNG.standard_normal((5, 3)), np.zeros(3), None],
}


def tree(dtype=jnp.float32):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), PARAMETERS)


def loss(parameters):
    first, last = parameters["first"], parameters["last"]
    inputs, targets = (jnp.asarray(data, first["w"].dtype) for data in (INPUTS, TARGETS))
    hidden = jnp.tanh(inputs @ first["w"] + first["b"])
    return jnp.mean((hidden @ last[0] + last[1] - targets) ** 2)


def of_flat(weights, unravel):
    return loss(unravel(weights))


def matrices(parameters):
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)


def labels(parameters):
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", parameters)


TREE = {
    "muon": optax.contrib.muon(0.02),
    "lars": optax.lars(0.5, weight_decay=0.01),
    "lamb": optax.lamb(0.02),
    "novograd": optax.novograd(0.02),
    "adafactor": optax.adafactor(0.02, min_dim_size_to_factor=3),
    "clipped by block": optax.chain(optax.clip_by_block_rms(0.01), optax.sgd(0.3)),
}
ANY_SHAPE = {
    "masked decay": optax.adamw(0.02, weight_decay=0.3, mask=matrices),
    "partition": optax.partition(
        {"matrix": optax.adam(0.02), "vector": optax.sgd(0.1, 0.9)}, labels
    ),
    "multi_transform": optax.multi_transform(
        {"matrix": optax.rmsprop(0.01), "vector": optax.set_to_zero()}, labels
    ),
    "masked": optax.masked(optax.sgd(0.3, 0.9), matrices),
    "injected": optax.inject_hyperparams(optax.adamw)(
        learning_rate=optax.cosine_decay_schedule(0.02, 20), weight_decay=0.1
    ),
    "own memory of lists": optax.chain(
        optax.GradientTransformation(
            lambda w: [None, {"sum": jax.tree.map(jnp.zeros_like, w)}, ()],
            lambda g, m, w=None: (g, [None, {"sum": jax.tree.map(jnp.add, m[1]["sum"], g)}, ()]),
        ),
        optax.sgd(0.1),
    ),
}
EVERY = TREE | ANY_SHAPE


def plainly(transformation, parameters):
    """The weights after some steps of plain optax on the tree."""

    def step(carry, _):
        weights, memory = carry
        updates, memory = transformation.update(jax.grad(loss)(weights), memory, weights)
        return (optax.apply_updates(weights, updates), memory), None

    start = (parameters, transformation.init(parameters))
    return jit(lambda s: jax.lax.scan(step, s, length=STEPS)[0][0])(start)


def unprobed(transformation, parameters) -> OptimizerMap:
    """The map of a tree with every leaf called oscillating, which it does not need to know for a step."""
    layout = Layout.of(parameters)
    acting = OnTree(as_pytree(transformation), layout)
    leaves = jax.tree.leaves(acting.init(layout.ravel(parameters)))
    return OptimizerMap(OfTree(loss, layout), acting, (True,) * (1 + len(leaves)))


def mapped(optimizer: OptimizerMap, state):
    return jit(lambda z: jax.lax.scan(lambda z, _: (optimizer(z), None), z, length=STEPS)[0])(state)


@pytest.mark.parametrize("name", now(EVERY, "lars", "adafactor", "masked decay", "partition"))
def test_map_of_a_tree_is_plain_optax_on_the_tree_to_rounding(name):
    with jax.enable_x64(True):
        parameters = tree(jnp.float64)
        optimizer = unprobed(EVERY[name], parameters)
        found = mapped(optimizer, optimizer.initial(parameters)).weights
        start, expected = (
            ravel_pytree(t)[0] for t in (parameters, plainly(EVERY[name], parameters))
        )
        moved = np.linalg.norm(expected - start)
        assert moved > 1e-3
        # Adafactor and LAMB hold constants and sums of single precision.
        assert np.linalg.norm(found - expected) < 1e-6 * moved


@pytest.mark.parametrize("name", now(TREE, "lars", "adafactor"))
def test_on_a_flat_vector_alone_it_is_refused_with_the_remedy(name):
    transformation = TREE[name] if name != "adafactor" else optax.adafactor(0.02)
    flat, unravel = ravel_pytree(tree())
    with pytest.raises(OptimizerError, match="give the tree of parameters as weights") as refusal:
        optimizer_map(partial(of_flat, unravel=unravel), transformation, flat)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["masked decay", "partition"])
def test_a_mask_is_refused_on_a_flat_vector_too(name):
    with pytest.raises(OptimizerError, match="give the tree of parameters as weights"):
        optimizer_map(jnp.sum, ANY_SHAPE[name], ravel_pytree(tree())[0])


@pytest.mark.slow
def test_loss_of_a_flat_vector_with_its_unravel_gives_the_map_of_the_tree():
    flat, unravel = ravel_pytree(tree())
    optimizer = optimizer_map(
        partial(of_flat, unravel=unravel), TREE["muon"], flat, unravel=unravel
    )
    of_tree = optimizer_map(loss, TREE["muon"], tree())
    found = [mapped(f, f.initial(flat)).weights for f in (optimizer, of_tree)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_an_unravel_in_another_order_is_refused():
    flat, unravel = ravel_pytree(tree())
    with pytest.raises(OptimizerError, match=r"jax\.flatten_util\.ravel_pytree"):
        optimizer_map(jnp.sum, TREE["muon"], flat, unravel=lambda w: unravel(w[::-1]))


def test_a_model_whose_parameters_are_one_vector_is_a_tree_with_one_leaf():
    weights = [jnp.arange(1.0, 5.0)]
    optimizer = optimizer_map(lambda w: jnp.sum(w[0] ** 2), optax.lamb(0.1), weights)
    state = optimizer(optimizer.initial(weights))
    assert state.weights.shape == (4,)
    assert jax.tree.structure(optimizer.tree(state.weights)) == jax.tree.structure(weights)


@pytest.mark.parametrize("name", now(["adam", "nadam_scalar"], "adam"))
def test_moments_of_a_tree_are_the_flat_vectors_of_flat_weights(name):
    flat, unravel = ravel_pytree(tree())
    build = TABLE[name].build(learning_rate=0.01, b1=0.9, b2=0.99, eps=1e-8)
    of_tree = optimizer_map(loss, build, tree())
    of_vector = optimizer_map(partial(of_flat, unravel=unravel), build, flat)
    assert of_tree.oscillating == of_vector.oscillating
    one, other = (mapped(f, f.initial(flat)) for f in (of_tree, of_vector))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", EVERY)
def test_a_state_of_any_structure_comes_back_from_where_it_is_stored(name):
    optimizer = unprobed(EVERY[name], tree())
    state = optimizer.initial(tree())
    state = jax.tree.map(lambda leaf: leaf + np.arange(leaf.size).reshape(leaf.shape), state)
    around = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf, 3 * leaf]), state)
    leaves = [
        (jax.tree_util.keystr(path), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(around)
    ]
    steps = np.arange(1)
    data = trajectory(
        steps,
        {"loss": np.zeros(1)},
        steps,
        {"weights": state.weights[None]},
        process="discrete",
        title="",
    )
    kept = states(with_states(data, leaves, start=5))
    like, structure = jax.tree.flatten(optimizer.initial(tree()))
    back = [leaf[1].reshape(own.shape) for leaf, own in zip(kept, like, strict=True)]
    assert structure == jax.tree.structure(state)
    for found, leaf in zip(back, jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(found, 2 * leaf)


@pytest.mark.parametrize("name", now(["muon", "partition"], "partition"))
def test_lifted_map_of_a_tree_is_exact(name):
    with jax.enable_x64(True):
        parameters = tree(jnp.float64)
        optimizer = optimizer_map(loss, EVERY[name], parameters)

        @jit
        def departure():
            start = optimizer(optimizer.initial(parameters))
            rod = Rod(start, oscillating(optimizer, jax.tree.map(lambda z: 0.01 * z, start)))

            def step(carry, sign):
                state, rod = optimizer(carry[0]), lifted_map(optimizer, carry[1])
                return (state, rod), jnp.abs(state.weights - rod.end(sign).weights)

            return jax.lax.scan(step, (rod.end(+1), rod), -((-1.0) ** jnp.arange(5)))[1]

        # Muon turns what is rounding in a small singular value into more; the auxiliary leaves are averaged.
        assert departure()[0].max() < 1e-9


@pytest.mark.slow
def test_masked_decay_has_the_gain_of_adam_over_that_of_its_own_decay():
    decayed, plain = (
        optimizer_map(loss, t, tree()) for t in (ANY_SHAPE["masked decay"], optax.adam(0.02))
    )
    state = mapped(decayed, decayed.initial(tree()))
    same = plain.initial(tree())._replace(weights=state.weights)
    same = same._replace(memory=(state.memory[0], *same.memory[1:]))
    expected = alternating_gain(plain, same)
    found = alternation(decayed, state)
    np.testing.assert_allclose(found.gain, expected, rtol=1e-4)
    is_matrix = ravel_pytree(jax.tree.map(lambda w: jnp.full(w.shape, w.ndim > 1), tree()))[0]
    np.testing.assert_allclose(found.decay, np.where(is_matrix, 0.02 * 0.3, 0), atol=1e-6)


def test_partition_has_the_gain_of_each_of_its_parts_and_none_where_it_is_frozen():
    parts = {"matrix": optax.sgd(0.1, 0.9), "vector": optax.set_to_zero()}
    optimizer = optimizer_map(loss, optax.partition(parts, labels), tree())
    gain = alternating_gain(optimizer, mapped(optimizer, optimizer.initial(tree())))
    is_matrix = ravel_pytree(jax.tree.map(lambda w: jnp.full(w.shape, w.ndim > 1), tree()))[0]
    # Heavy ball without averaging: 0.1 / (1 + 0.9).
    np.testing.assert_allclose(gain, np.where(is_matrix, 0.1 / 1.9, 0), rtol=1e-5)


@pytest.mark.slow
def test_a_transformation_that_ravels_by_itself_has_a_gain():
    flat, unravel = ravel_pytree(tree())
    adam = optax.adam(0.02)

    def update(gradient, memory, weights=None):
        updates, memory = adam.update(unravel(gradient), memory, unravel(weights))
        return ravel_pytree(updates)[0], memory

    mine = optax.GradientTransformation(lambda w: adam.init(unravel(w)), update)
    found = []
    for transformation in (mine, adam):
        optimizer = optimizer_map(partial(of_flat, unravel=unravel), transformation, flat)
        found.append(alternating_gain(optimizer, mapped(optimizer, optimizer.initial(flat))))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        pytest.param({"a": jnp.ones(2), "b": jnp.ones(2, int)}, "weight b is int", id="integers"),
        pytest.param({"a": jnp.ones(2, jnp.bfloat16)}, "must have one precision", id="bfloat16"),
        pytest.param(
            {"a": jnp.ones(2), "b": jnp.ones(2, jnp.float16)}, "must have one precision", id="two"
        ),
        pytest.param({"a": 1.0}, "weight a is float", id="number"),
        pytest.param({}, "have no arrays", id="nothing"),
    ],
)
def test_weights_that_are_no_arrays_of_one_precision_are_refused(weights, reason):
    with pytest.raises(OptimizerError, match=reason):
        optimizer_map(lambda w: 0.0, optax.sgd(0.1), weights)
