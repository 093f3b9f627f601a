"""Image classifiers as flax modules, by the ``kind`` that a config names.

    network = build({"kind": "cnn", "channels": [8, 16], "activation": "tanh"}, classes=10)
    parameters = initialise(network, images, seed=0)
    logits = network.apply({"params": parameters}, images)  # (sample, class)

Images are (sample, row, column, channel). Nothing is random after the start (no dropout), and with
any activation but ``relu`` the logits are smooth in the weights. Arithmetic is in the precision of
parameters and images.

The convolutional network and the transformer keep the features first and the samples last. Every
layer is then one matrix product with a long last axis, and norms, softmax and pooling reduce over a
leading axis, which a CPU does with vector instructions along the samples. Measured with 1,000
digits on 2 cores, gradients inside a `lax.scan` as in training: the network with channels 8 and 16
takes 2.2 ms so, 3.2 ms with the samples first, and 27 ms with `lax.conv`, which XLA does not spread
over cores inside a loop (it takes 5.4 ms outside); the transformer (width 16, depth 2, patch 4)
takes 5.9 ms so and 7.7 ms with the samples first. The convolutional network's Hessian-vector
product is the one thing that is slower so, 6.9 against 5.8 ms; a run takes many more gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "gelu": nn.gelu,
}

Images = Float[Array, "sample row column channel"]
Logits = Float[Array, "sample class"]


class ModelError(ValueError):
    """A model that cannot be built: one line with the setting, its value and what is allowed."""


NORMALISATIONS = ("none", "layer")


class MLP(nn.Module):
    """Fully connected network on the flattened image; with `normalisation` "layer" its hidden
    layers are `Normalised`.
    """  # noqa: D205

    classes: int
    hidden: tuple[int, ...] = (32, 32)
    activation: str = "tanh"
    normalisation: str = "none"

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        layer = Normalised if self.normalisation == "layer" else nn.Dense
        features = images.reshape(images.shape[0], -1)
        for width in self.hidden:
            features = ACTIVATIONS[self.activation](layer(width)(features))
        return nn.Dense(self.classes)(features)


class CNN(nn.Module):
    """Convolutions, 3 x 3 and of stride 1 with zeros around the image, each followed by the
    activation and 2 x 2 average pooling, then a linear layer; with `normalisation` "layer" the
    convolutions are `NormalisedConvolution`.

    Pooling leaves out the last row or column of an odd number.
    """  # noqa: D205

    classes: int
    channels: tuple[int, ...] = (8, 16)
    activation: str = "tanh"
    normalisation: str = "none"

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        side = min(images.shape[1:3])
        if side < 2 ** len(self.channels):
            why = f"channels has {len(self.channels)} entries, each of which halves the image"
            raise ModelError(f"{why}; its {side} pixels must be at least {2 ** len(self.channels)}")
        layer = NormalisedConvolution if self.normalisation == "layer" else Convolution
        features = images.transpose(3, 1, 2, 0)
        for channels in self.channels:
            features = ACTIVATIONS[self.activation](layer(channels)(features))
            features = _average_pool(features)
        return Dense(self.classes)(features.reshape(-1, features.shape[-1])).T


class ViT(nn.Module):
    """Vision transformer: linear patch embedding, learned positions, pre-norm blocks of
    self-attention and a GELU network, and a linear layer on the mean of the normed tokens.

    Reference: Dosovitskiy et al. 2021 (arXiv 2010.11929), with the mean in place of a class token
    as in Zhai et al. 2022 (arXiv 2106.04560).
    """  # noqa: D205

    classes: int
    width: int = 16
    depth: int = 2
    heads: int = 2
    patch: int = 4
    mlp_ratio: int = 2

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        patches = _patches(images, self.patch)
        tokens = Dense(self.width)(patches)
        positions = self.param(
            "positions", nn.initializers.truncated_normal(0.02), tokens.shape[:2]
        )
        tokens = tokens + positions[..., None]
        for _ in range(self.depth):
            tokens = tokens + Attention(self.heads)(LayerNorm()(tokens))
            hidden = nn.gelu(Dense(self.mlp_ratio * self.width)(LayerNorm()(tokens)))
            tokens = tokens + Dense(self.width)(hidden)
        return Dense(self.classes)(LayerNorm()(tokens).mean(1)).T


KINDS: dict[str, type[nn.Module]] = {"mlp": MLP, "cnn": CNN, "vit": ViT}


def build(settings: Mapping[str, Any], classes: int) -> nn.Module:
    """The network that the settings describe.

    Two networks of equal settings are equal and have the same hash.

    Args:
        settings: ``kind`` (a key of `KINDS`) and fields of that module; the others have defaults.
        classes: how many logits.

    Raises:
        ModelError: an unknown kind, setting or activation, or heads that do not divide the width.
            Applying the network raises it where the image is too small for the convolutions, or no
            whole number of patches.
    """
    options = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()}
    kind = options.pop("kind", None)
    if kind not in KINDS:
        raise ModelError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    known = {field.name for field in fields(KINDS[kind])} - {"classes", "parent", "name"}
    for key, value in options.items():
        if key not in known:
            takes = f"{kind} takes only {', '.join(sorted(known))}"
            raise ModelError(f"{key} is {value!r}, but {takes}")
    activation = options.get("activation", "tanh")
    if activation not in ACTIVATIONS:
        allowed = ", ".join(ACTIVATIONS)
        raise ModelError(f"activation is {activation!r}; it must be one of {allowed}")
    normalisation = options.get("normalisation", "none")
    if normalisation not in NORMALISATIONS:
        allowed = ", ".join(NORMALISATIONS)
        raise ModelError(f"normalisation is {normalisation!r}; it must be one of {allowed}")
    network = KINDS[kind](classes=classes, **options)
    if isinstance(network, ViT) and network.width % network.heads:
        raise ModelError(f"heads is {network.heads}; it must divide width, {network.width}")
    return network


def scale_invariant(network: nn.Module) -> tuple[tuple[str, ...], ...]:
    """Paths, in the tree of parameters, of the kernels whose scale the logits do not depend on.

    Those of `Normalised` and `NormalisedConvolution` layers, each as a whole and in the order of the
    layers. No other parameter of these networks has this property at all weights: not the scale and
    bias after the norm, not the last layer, and no layer of a transformer, where norms stand before
    the kernels.
    """
    if isinstance(network, MLP) and network.normalisation == "layer":
        layers = [f"{Normalised.__name__}_{k}" for k in range(len(network.hidden))]
    elif isinstance(network, CNN) and network.normalisation == "layer":
        layers = [f"{NormalisedConvolution.__name__}_{k}" for k in range(len(network.channels))]
    else:
        layers = []
    return tuple((layer, "kernel") for layer in layers)


def initialise(network: nn.Module, images: Images, seed: int) -> PyTree[Float[np.ndarray, "..."]]:
    """Initial parameters: Lecun-normal kernels, zero biases, flax's own defaults.

    All numbers come from one draw, cut to the shapes of the parameters. It compiles in 0.3 s where
    `network.init`, which draws for each kernel, takes up to 6 s in every process of a pipeline. It
    is in single precision, so that a seed means the same network in any.

    Args:
        network: as `build` returns it.
        images: of the shape that the network is for; their number does not matter.
        seed: of the draw.

    Returns:
        The tree of parameters, float32.
    """
    key = jax.random.key(seed)
    shapes = jax.eval_shape(network.init, key, images)["params"]
    named, structure = jax.tree_util.tree_flatten_with_path(shapes)
    ends = np.cumsum([leaf.size for _, leaf in named])
    draws = np.asarray(jax.random.truncated_normal(key, -2, 2, (ends[-1],), jnp.float32))
    pieces = np.split(draws / np.float32(_TRUNCATED_DEVIATION), ends[:-1])
    leaves = [
        _initial(path[-1].key, piece.reshape(leaf.shape))
        for (path, leaf), piece in zip(named, pieces, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)


_TRUNCATED_DEVIATION = 0.87962566103423978  # of a standard normal cut off at -2 and 2


def _initial(name: str, draw: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """The initial value of a parameter from random numbers of variance 1 and its shape."""
    match name:
        case "kernel":
            return draw / np.float32(math.sqrt(math.prod(draw.shape[:-1])))
        case "positions":
            return draw * np.float32(0.02)
        case "scale":
            return np.ones_like(draw)
        case "bias":
            return np.zeros_like(draw)
    raise ModelError(f"parameter {name} has no initial value; it must be kernel, bias or scale")


class Normalised(nn.Module):
    """Linear map of the last axis, then mean 0 and variance 1 along it, then an affine map of each
    feature: a layer that does not depend on the scale of its kernel.

    The linear map has no bias, which would not be scaled with the kernel. The norm divides by
    sqrt(variance + 1e-12): where the variance is above 1e-5, adding 1e-12 is below the rounding of
    single precision, so that the invariance is exact but for rounding; and a sample whose features
    are all equal gives 0.
    """  # noqa: D205

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "sample feature"]) -> Float[Array, "sample out"]:
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        scale = self.param("scale", nn.initializers.ones, shape[1:])
        bias = self.param("bias", nn.initializers.zeros, shape[1:])
        y = x @ kernel
        y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt((y * y).mean(-1, keepdims=True) + 1e-12)
        return scale * y + bias


# Layers with features first and samples last; parameters have the shapes of flax's own layers.


class Dense(nn.Module):
    """Linear map of the first axis, plus a bias."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "feature *any"]) -> Float[Array, "out *any"]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[0], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = kernel.T @ x.reshape(x.shape[0], -1) + bias[:, None]
        return y.reshape(self.features, *x.shape[1:])


class Convolution(nn.Module):
    """Convolution 3 x 3 as a matrix product with the nine shifted images."""

    channels: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "channel row column sample"]
    ) -> Float[Array, "out row column sample"]:
        shape = (3, 3, x.shape[0], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return _convolve(x, kernel) + bias[:, None, None, None]


class NormalisedConvolution(nn.Module):
    """Convolution without bias, then mean 0 and variance 1 over all channels and pixels of a
    sample, then an affine map of each channel: see `Normalised`.
    """  # noqa: D205

    channels: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "channel row column sample"]
    ) -> Float[Array, "out row column sample"]:
        shape = (3, 3, x.shape[0], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        scale = self.param("scale", nn.initializers.ones, (self.channels,))
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        y = _convolve(x, kernel)
        y = y - y.mean((0, 1, 2))
        y = y * jax.lax.rsqrt((y * y).mean((0, 1, 2)) + 1e-12)
        return scale[:, None, None, None] * y + bias[:, None, None, None]


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 along the first axis, then an affine map of each feature."""

    @nn.compact
    def __call__(self, x: Float[Array, "feature token sample"]) -> Float[Array, "..."]:
        scale = self.param("scale", nn.initializers.ones, x.shape[:1])
        bias = self.param("bias", nn.initializers.zeros, x.shape[:1])
        x = x - x.mean(0)
        x = x * jax.lax.rsqrt((x * x).mean(0) + 1e-6)
        return scale[:, None, None] * x + bias[:, None, None]


class Attention(nn.Module):
    """Multi-head self-attention, scaled dot product, between the tokens of a sample."""

    heads: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "feature token sample"]
    ) -> Float[Array, "feature token sample"]:
        width = x.shape[0]
        shape = (3, self.heads, width // self.heads, *x.shape[1:])
        query, key, value = Dense(3 * width)(x).reshape(shape)
        scores = jnp.einsum("hdqn,hdkn->hqkn", query, key) / math.sqrt(width // self.heads)
        mixed = jnp.einsum("hqkn,hdkn->hdqn", jax.nn.softmax(scores, axis=2), value)
        return Dense(width)(mixed.reshape(x.shape))


def _convolve(
    x: Float[Array, "channel row column sample"], kernel: Float[Array, "3 3 channel out"]
) -> Float[Array, "out row column sample"]:
    channels, rows, columns, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [x[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    neighbours = jnp.concatenate(shifted).reshape(9 * channels, -1)
    y = kernel.reshape(9 * channels, -1).T @ neighbours
    return y.reshape(-1, rows, columns, x.shape[-1])


def _average_pool(
    x: Float[Array, "channel row column sample"],
) -> Float[Array, "channel half_row half_column sample"]:
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "valid") / 4


def _patches(images: Images, side: int) -> Float[Array, "pixel token sample"]:
    samples, rows, columns, channels = images.shape
    if rows % side or columns % side:
        raise ModelError(f"patch is {side}; it must divide the image's {rows} x {columns} pixels")
    x = images.reshape(samples, rows // side, side, columns // side, side, channels)
    x = x.transpose(2, 4, 5, 1, 3, 0)
    return x.reshape(side * side * channels, -1, samples)
