"""Layers of the networks, and what their modules share.

The convolutional network and the transformer keep the features first and the samples last. Every
layer is then one matrix product with a long last axis, and norms, softmax and pooling reduce over a
leading axis, which a CPU does with vector instructions along the samples. Measured with 1,000
digits on 2 cores, gradients inside a `lax.scan` as in training: the network with channels 8 and 16
takes 2.2 ms so, 3.2 ms with the samples first, and 27 ms with `lax.conv`, which XLA does not spread
over cores inside a loop (it takes 5.4 ms outside); the transformer (width 16, depth 2, patch 4)
takes 5.9 ms so and 7.7 ms with the samples first. The convolutional network's Hessian-vector
product is the one thing that is slower so, 6.9 against 5.8 ms; a run takes many more gradients.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.errors import RodflowError

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": nn.relu,
    "gelu": nn.gelu,
}

Images = Float[Array, "sample row column channel"]
Logits = Float[Array, "sample class"]


class ModelError(RodflowError, ValueError):
    """A model that cannot be built: one line with the setting, its value and what is allowed."""


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
        y = product(x, kernel)
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
    """Multi-head self-attention, scaled dot product, between the tokens of a sample.

    With `causal` each token sees itself and those before it only.
    """

    heads: int
    causal: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "feature token sample"]
    ) -> Float[Array, "feature token sample"]:
        width = x.shape[0]
        shape = (3, self.heads, width // self.heads, *x.shape[1:])
        query, key, value = Dense(3 * width)(x).reshape(shape)
        scores = jnp.einsum("hdqn,hdkn->hqkn", query, key) / math.sqrt(width // self.heads)
        if self.causal:
            order = jnp.arange(x.shape[1])
            scores = jnp.where((order[:, None] >= order)[..., None], scores, -jnp.inf)
        mixed = jnp.einsum("hqkn,hdkn->hdqn", jax.nn.softmax(scores, axis=2), value)
        return Dense(width)(mixed.reshape(x.shape))


def product(
    x: Float[Array, "sample feature"], kernel: Float[Array, "feature out"], *_: object, **__: object
) -> Float[Array, "sample out"]:
    """The product x @ kernel, its derivative by the kernel fast; a `dot_general` for `flax.linen.Dense`.

    That derivative is d^T x, transposed, for the derivative d by the product. XLA would rather form x^T d, which its
    matrix product for CPUs does at less than a third of the speed where samples and features are many. It cannot
    exchange the two across a barrier. `make bench` measures what this gives.

    Args:
        x: inputs.
        kernel: weights; what flax gives besides, axes and precision, is not used.
    """
    rows = jax.lax.optimization_barrier(kernel.T)
    return jax.lax.dot_general(x, rows, (((1,), (1,)), ((), ())))


def _convolve(
    x: Float[Array, "channel row column sample"], kernel: Float[Array, "3 3 channel out"]
) -> Float[Array, "out row column sample"]:
    channels, rows, columns, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [x[:, i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    neighbours = jnp.concatenate(shifted).reshape(9 * channels, -1)
    y = kernel.reshape(9 * channels, -1).T @ neighbours
    return y.reshape(-1, rows, columns, x.shape[-1])


def average_pool(
    x: Float[Array, "channel row column sample"],
) -> Float[Array, "channel half_row half_column sample"]:
    """Means over squares of 2 x 2 pixels; the last row or column of an odd number is left out."""
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "valid") / 4


def patches(images: Images, side: int) -> Float[Array, "pixel token sample"]:
    """The squares of an image as vectors, row after row; in each the channels of a pixel lie together.

    Args:
        images: samples first.
        side: of a square, in pixels.

    Raises:
        ModelError: the side does not divide the image.
    """
    samples, rows, columns, channels = images.shape
    if rows % side or columns % side:
        raise ModelError(f"patch is {side}; it must divide the image's {rows} x {columns} pixels")
    x = images.reshape(samples, rows // side, side, columns // side, side, channels)
    x = x.transpose(2, 4, 5, 1, 3, 0)
    return x.reshape(side * side * channels, -1, samples)
