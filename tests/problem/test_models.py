"""Networks: the mathematics of each against flax's own layers, precision, smoothness, errors."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from representatives import now
from rodflow.problem import networks
from rodflow.problem.layers import ModelError, product

KINDS = [
    {"kind": "mlp", "hidden": [6, 5]},
    {"kind": "cnn", "channels": [3, 4]},
    {"kind": "vit", "width": 6, "depth": 1, "heads": 2, "patch": 4},
]
each_kind = pytest.mark.parametrize("settings", KINDS, ids=lambda settings: settings["kind"])


def images(samples: int = 5, side: int = 8, channels: int = 2, dtype=np.float32) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, side, side, channels)).astype(dtype)


def parameters_of(network: nn.Module, x: np.ndarray):
    """Random values for every parameter, so that a bias or a scale left out shows."""
    rng = np.random.default_rng(1)
    start = networks.initialise(network, x, seed=0)
    return jax.tree.map(lambda p: (p + 0.1 * rng.normal(size=p.shape)).astype(x.dtype), start)


class SamplesFirstCNN(nn.Module):
    """The same network, of flax's layers; takes the same parameters."""

    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, x):
        for k, channels in enumerate(self.channels):
            x = nn.tanh(nn.Conv(channels, (3, 3), name=f"Convolution_{k}")(x))
            x = nn.avg_pool(x, (2, 2), (2, 2))
        # The features are ordered channel, row, column.
        return nn.Dense(3, name="Dense_0")(x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1))


class SamplesFirstAttention(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x):
        samples, tokens, width = x.shape
        qkv = nn.Dense(3 * width)(x).reshape(samples, tokens, 3, self.heads, -1)
        mixed = nn.dot_product_attention(*(qkv[:, :, k] for k in range(3)))
        return nn.Dense(width)(mixed.reshape(x.shape))


class SamplesFirstViT(nn.Module):
    """The same network, of flax's layers; takes the same parameters."""

    width: int
    depth: int
    heads: int
    patch: int

    @nn.compact
    def __call__(self, x):
        squares = [
            x[:, i : i + self.patch, j : j + self.patch].reshape(x.shape[0], -1)
            for i in range(0, x.shape[1], self.patch)
            for j in range(0, x.shape[2], self.patch)
        ]
        x = nn.Dense(self.width)(jnp.stack(squares, 1))
        x = x + self.param("positions", nn.initializers.zeros, x.shape[:0:-1]).T
        for k in range(self.depth):
            attention = SamplesFirstAttention(self.heads, name=f"Attention_{k}")
            x = x + attention(nn.LayerNorm()(x))
            hidden = nn.gelu(nn.Dense(2 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(hidden)
        return nn.Dense(3)(nn.LayerNorm()(x).mean(1))


@pytest.mark.parametrize("side", [8, 7])
def test_cnn_is_the_network_of_flax_convolutions(side):
    network, x = networks.build({"kind": "cnn", "channels": [3, 4]}, 3), images(side=side)
    parameters = {"params": parameters_of(network, x)}
    expected = jax.jit(SamplesFirstCNN((3, 4)).apply)(parameters, x)
    np.testing.assert_allclose(jax.jit(network.apply)(parameters, x), expected, atol=1e-5)


def test_vit_is_the_network_of_flax_attention():
    options = {"width": 6, "depth": 2, "heads": 2, "patch": 4}
    network, x = networks.build({"kind": "vit", **options}, 3), images()
    parameters = {"params": parameters_of(network, x)}
    expected = jax.jit(SamplesFirstViT(**options).apply)(parameters, x)
    np.testing.assert_allclose(jax.jit(network.apply)(parameters, x), expected, atol=1e-5)


def test_mlp_is_matrix_products_and_tanh():
    network, x = networks.build({"kind": "mlp", "hidden": [6, 5]}, 3), images()
    parameters = parameters_of(network, x)
    expected = x.reshape(len(x), -1)
    for k in range(3):
        layer = parameters[f"Dense_{k}"]
        expected = expected @ layer["kernel"] + layer["bias"]
        expected = np.tanh(expected) if k < 2 else expected
    np.testing.assert_allclose(network.apply({"params": parameters}, x), expected, atol=1e-5)


@pytest.mark.parametrize("activation", now(["tanh", "relu", "gelu"], "gelu"))
@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_activation_is_the_one_asked_for(kind, activation):
    network, x = networks.build({"kind": kind, "activation": activation}, 3), images()
    other = networks.build({"kind": kind, "activation": "tanh"}, 3)
    parameters = {"params": parameters_of(network, x)}
    same = np.allclose(network.apply(parameters, x), other.apply(parameters, x), atol=1e-4)
    assert same == (activation == "tanh")


@each_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_is_in_the_precision_of_the_input(settings, dtype):
    with jax.enable_x64(True):
        x = images(dtype=dtype)
        network = networks.build(settings, 3)
        parameters = {"params": parameters_of(network, x)}
        program = jax.make_jaxpr(network.apply)(parameters, x)
    other = {np.float32: "f64", np.float64: "f32"}[dtype]
    assert program.out_avals[0].dtype == dtype
    assert f"{other}[" not in str(program)


@each_kind
def test_samples_do_not_mix(settings):
    network, x = networks.build(settings, 3), images()
    parameters = {"params": parameters_of(network, x)}
    logits = jax.jit(network.apply)
    one_by_one = [logits(parameters, x[k : k + 1])[0] for k in range(len(x))]
    np.testing.assert_allclose(logits(parameters, x), one_by_one, atol=1e-5)


@each_kind
def test_equal_settings_give_equal_networks(settings):
    assert networks.build(settings, 3) == networks.build(dict(settings), 3)
    assert hash(networks.build(settings, 3)) == hash(networks.build(dict(settings), 3))
    assert networks.build(settings, 3) != networks.build(settings, 4)


@each_kind
def test_initial_parameters_have_the_shapes_of_the_network(settings):
    network, x = networks.build(settings, 3), images()
    expected = jax.eval_shape(network.init, jax.random.key(0), x)["params"]
    found = networks.initialise(network, x, seed=0)
    assert jax.tree.map(lambda p: (p.shape, p.dtype), found) == jax.tree.map(
        lambda p: (p.shape, p.dtype), expected
    )


def test_initial_parameters_depend_on_the_seed_alone():
    network = networks.build({"kind": "mlp"}, 3)
    first = networks.initialise(network, images(samples=5), seed=1)
    again = networks.initialise(network, images(samples=2), seed=1)
    other = networks.initialise(network, images(), seed=2)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first["Dense_0"]["kernel"], other["Dense_0"]["kernel"])


def test_initial_kernels_are_lecun_normal():
    network = networks.build({"kind": "cnn", "channels": [64, 64]}, 10)
    kernel = networks.initialise(network, images(), seed=0)["Convolution_1"]["kernel"]
    assert np.std(kernel) == pytest.approx(1 / np.sqrt(9 * 64), rel=0.02)
    assert np.abs(kernel).max() < 2 / 0.8796 / np.sqrt(9 * 64)


@each_kind
def test_networks_start_with_zero_biases_and_unit_scales(settings):
    start = networks.initialise(networks.build(settings, 3), images(), seed=0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(start):
        constant = {"bias": 0, "scale": 1}.get(path[-1].key)
        assert constant is None or np.all(leaf == constant)


@pytest.mark.parametrize("settings", now(KINDS, *KINDS[:2]), ids=lambda settings: settings["kind"])
def test_hessian_vector_product_is_the_derivative_of_the_gradient(settings):
    with jax.enable_x64(True):
        x = images(dtype=np.float64)
        network = networks.build(settings, 3)
        parameters = parameters_of(network, x)
        direction = jax.tree.map(np.cos, parameters)

        @jax.jit
        def gradient_and_product(p):
            gradient = jax.grad(lambda p: jnp.sum(network.apply({"params": p}, x) ** 2))
            return jax.jvp(gradient, (p,), (direction,))

        def gradient(step):
            moved = jax.tree.map(lambda p, d: p + step * d, parameters, direction)
            return gradient_and_product(moved)[0]

        _, product = gradient_and_product(parameters)
        slope = jax.tree.map(lambda a, b: (a - b) / 2e-6, gradient(1e-6), gradient(-1e-6))
        for exact, numeric in zip(jax.tree.leaves(product), jax.tree.leaves(slope), strict=True):
            np.testing.assert_allclose(exact, numeric, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "rnn"}, "kind is 'rnn'; it must be one of mlp, cnn, vit"),
        ({}, "kind is None; it must be one of mlp, cnn, vit"),
        ({"kind": "mlp", "depth": 2}, "depth is 2, but mlp takes only activation, hidden"),
        ({"kind": "mlp", "name": "x"}, "name is 'x', but mlp takes only activation, hidden"),
        ({"kind": "cnn", "activation": "sin"}, "activation is 'sin'; it must be one of tanh,"),
        ({"kind": "vit", "heads": 3}, "heads is 3; it must divide width, 16"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(settings, message):
    with pytest.raises(ModelError, match=re.escape(message)) as error:
        networks.build(settings, 10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vit", "patch": 3}, "patch is 3; it must divide the image's 8 x 8 pixels"),
        ({"kind": "cnn", "channels": [2] * 4}, "channels has 4 entries, each of which halves"),
    ],
)
def test_an_image_that_does_not_fit_is_said_in_one_line(settings, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        networks.initialise(networks.build(settings, 10), images(), seed=0)


def test_the_product_of_a_layer_is_that_of_flax_with_the_same_derivatives():
    x = jax.random.normal(jax.random.key(0), (7, 5))
    own, theirs = nn.Dense(3, dot_general=product), nn.Dense(3)
    parameters = own.init(jax.random.key(1), x)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), parameters, theirs.init(jax.random.key(1), x))
    )
    mine, other = (
        jax.value_and_grad(lambda p, x, layer=layer: jnp.sum(jnp.tanh(layer.apply(p, x))), (0, 1))(
            parameters, x
        )
        for layer in (own, theirs)
    )
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
