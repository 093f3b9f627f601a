"""A problem of one's own: any loss of any tree, models of three libraries, and errors that speak of them."""

from pathlib import Path

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rodflow.config.blame import TRACED
from rodflow.problem import objective
from rodflow.problem.own import ProblemError, criterion_of, of_model, own

INPUTS = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
TARGETS = np.sin(INPUTS[:, :1])
TOKENS = np.random.default_rng(1).integers(0, 5, (6, 4))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x):
        return linen.Dense(1)(jnp.tanh(linen.Dense(4)(x)))


class Nnx(nnx.Module):
    def __init__(self, dropout=0.0):
        rngs = nnx.Rngs(0)
        self.first, self.last = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)
        if dropout:
            self.dropout = nnx.Dropout(dropout, rngs=rngs)

    def __call__(self, x):
        return self.last(jnp.tanh(self.first(x)))


def half_squared_error(outputs):
    return 0.5 * np.mean(np.sum((np.asarray(outputs) - TARGETS) ** 2, axis=-1))


def test_a_loss_of_a_tree_is_that_loss_and_its_data_are_leaves() -> None:
    def loss(params, data):
        return jnp.mean((data["x"] @ params["w"] + params["b"] - data["y"]) ** 2)

    start = {"w": jnp.ones((3, 1)), "b": jnp.zeros(1)}
    problem, params = own(loss, start, {"x": INPUTS, "y": TARGETS})
    assert float(problem(params)) == pytest.approx(
        np.mean((INPUTS.sum(1, keepdims=True) - TARGETS) ** 2)
    )
    assert {leaf.shape for leaf in jax.tree.leaves(problem)} == {(12, 3), (12, 1)}


def test_a_linen_module_is_its_own_forward_pass() -> None:
    problem, params = of_model(Linen(), (INPUTS, TARGETS), seed=3)
    expected = Linen().init(jax.random.key(3), INPUTS)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected["params"])
    outputs = Linen().apply(expected, INPUTS)
    assert float(problem(params)) == pytest.approx(half_squared_error(outputs), rel=1e-6)


def test_an_nnx_module_brings_its_parameters_by_their_names() -> None:
    model = Nnx()
    problem, params = of_model(model, (INPUTS, TARGETS))
    assert set(params) == {"first", "last"} and set(params["last"]) == {"kernel", "bias"}
    assert float(problem(params)) == pytest.approx(half_squared_error(model(INPUTS)), rel=1e-6)
    assert np.linalg.norm(jax.grad(problem)(params)["first"]["kernel"]) > 0


def test_an_equinox_module_is_mapped_over_the_samples() -> None:
    model = eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0))
    problem, params = of_model(model, (INPUTS, TARGETS))
    assert float(problem(params)) == pytest.approx(half_squared_error(jax.vmap(model)(INPUTS)))


def test_tokens_stay_integers_and_classes_may_be_whole_numbers() -> None:
    class Embedding(linen.Module):
        @linen.compact
        def __call__(self, tokens):
            return linen.Dense(5)(linen.Embed(5, 3)(tokens))

    problem, params = of_model(Embedding(), (TOKENS, TOKENS), "cross_entropy")
    logits = Embedding().apply({"params": params}, TOKENS)
    logs = np.asarray(jax.nn.log_softmax(logits))
    expected = -np.mean(np.take_along_axis(logs, TOKENS[..., None], -1))
    assert float(problem(params)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: own(3, jnp.ones(2)), "loss is int; give a function"),
        (lambda: own(lambda p: p, jnp.ones(3)), r"an array of shape \(3,\); it must be a scalar"),
        (lambda: own(lambda p: jnp.log(-p).sum(), jnp.ones(2)), "is nan at the start"),
        (lambda: own(lambda p: 1.0, {"a": jnp.ones(2), "n": 3}), "params: n is int"),
        (lambda: own(lambda p: 1.0, {"n": jnp.ones(2, int)}), "params: n has dtype int"),
        (lambda: own(lambda p: 1.0, {"w": jnp.array([jnp.inf])}), "params: w is not finite"),
        (lambda: own(lambda p: 1.0, {}), "params has no arrays"),
        (lambda: own(lambda p, d: 1.0, jnp.ones(2)), r"loss\(params\) fails: TypeError"),
        (lambda: of_model(Nnx(0.5), (INPUTS, TARGETS)), "the model keeps RngCount, RngKey"),
        (
            lambda: of_model(linen.BatchNorm(use_running_average=False), (INPUTS, INPUTS)),
            "the model keeps batch_stats",
        ),
        (lambda: of_model(Linen(), (INPUTS, TARGETS[:, 0])), "outputs of shape"),
        (lambda: of_model(Linen(), (INPUTS, TARGETS), "mae"), "criterion is 'mae'"),
        (lambda: of_model(lambda x: x, (INPUTS, TARGETS)), "model is function"),
    ],
)
def test_what_cannot_be_studied_is_said_in_the_users_words(make, words) -> None:
    with pytest.raises(ProblemError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def raises(params):
    raise ValueError("no such loss")


def decides(params):
    size = jnp.sum(params)
    if size > 1:
        return size
    return size**2


def counts(params):
    return sum(params[k] for k in range(jnp.sum(params).astype(int)))


def leaves(params):
    return jnp.asarray(np.sum(np.asarray(params)))


def picks(params):
    return jnp.sum(params[params > 1])


def rounds(params):
    return params[0] * float(jnp.sum(params))


KEPT = []


def keeps(params):
    KEPT.append(params)
    return jnp.sum(KEPT[0] * params)


def adds(params):
    return jnp.sum(params + jnp.ones(3))


def calls(params):
    return jax.jit(lambda one: jnp.sum(jax.vmap(adds)(one[None])))(params)


def loops(params):
    return jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, jnp.sum(params))


LINES = {
    raises: ("loss(params) fails", "ValueError: no such loss", 'raise ValueError("no such loss")'),
    decides: ("loss(params) fails", TRACED["TracerBoolConversionError"], "if size > 1:"),
    counts: (
        "loss(params) fails",
        TRACED["TracerIntegerConversionError"],
        "return sum(params[k] for k in range(jnp.sum(params).astype(int)))",
    ),
    leaves: (
        "loss(params) fails",
        TRACED["TracerArrayConversionError"],
        "return jnp.asarray(np.sum(np.asarray(params)))",
    ),
    picks: (
        "loss(params) fails",
        TRACED["NonConcreteBooleanIndexError"],
        "return jnp.sum(params[params > 1])",
    ),
    rounds: (
        "loss(params) fails",
        TRACED["ConcretizationTypeError"],
        "return params[0] * float(jnp.sum(params))",
    ),
    keeps: (
        "loss(params) fails",
        TRACED["UnexpectedTracerError"],
        "return jnp.sum(KEPT[0] * params)",
    ),
    adds: (
        "loss(params) fails",
        "TypeError: add got incompatible shapes for broadcasting: (2,), (3,)",
        "return jnp.sum(params + jnp.ones(3))",
    ),
    calls: (
        "loss(params) fails",
        "TypeError: add got incompatible shapes for broadcasting: (2,), (3,)",
        "return jnp.sum(params + jnp.ones(3))",
    ),
    loops: (
        "the gradient of loss(params) fails",
        "ValueError: Reverse-mode differentiation does not work for lax.while_loop",
        "return jax.lax.while_loop(lambda x: x < 9, lambda x: 2 * x, jnp.sum(params))",
    ),
}


@pytest.mark.parametrize("loss", LINES, ids=lambda loss: loss.__name__)
def test_an_error_in_a_loss_is_its_own_line_and_what_to_do(loss) -> None:
    with pytest.raises(ProblemError) as caught:
        own(loss, jnp.ones(2))
    call, why, text = LINES[loss]
    said = str(caught.value)
    assert "\n" not in said and "site-packages" not in said
    number = 1 + [line.strip() for line in Path(__file__).read_text().splitlines()].index(text)
    assert said.startswith(f"{call}: ") and f"test_own.py:{number}: " in said
    assert why in said and said.endswith(f"; in: {text}")


def test_an_error_in_a_criterion_or_a_model_is_its_own_line() -> None:
    def wrong(outputs, targets):
        return jnp.mean(outputs - jnp.ones((5, 1)))

    with pytest.raises(
        ProblemError, match=r"^loss\(params, data\) fails: .*; in: return jnp.mean\("
    ):
        of_model(Linen(), (INPUTS, TARGETS), wrong)

    class Wide(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(1)(x @ jnp.ones((5, 5)))

    with pytest.raises(ProblemError, match=r"initialised .*; in: return linen.Dense\(1\)\(x @"):
        of_model(Wide(), (INPUTS, TARGETS))


@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 2, 3)])
def test_mse_of_a_study_is_mse_of_a_config_whatever_the_shape(shape) -> None:
    outputs, targets = np.random.default_rng(2).standard_normal((2, *shape)).astype(np.float32)
    ours = criterion_of("mse")(jnp.asarray(outputs), jnp.asarray(targets))
    assert float(ours) == pytest.approx(0.5 * np.sum((outputs - targets) ** 2) / 6, rel=1e-6)
    assert float(objective.mse(outputs, targets)) == pytest.approx(float(ours), rel=1e-6)
