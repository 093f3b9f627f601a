"""Losses of a few weights at the edge of stability, for toys.yaml.

Berthier 2026 (arXiv 2609.01034) has one direction x that oscillates and its curvature y, which the gradient drives up
at the rate eps until it passes 2 / eta:

    L(x, y) = (y + zeta x) x^2 / 2 - eps (x + y).

The oscillation x = X, -X, X, ... pushes y down by X^2 / 2 a unit of eta, so that it settles at X^2 = 2 eps. His paper
has a case of three and a case of five weights with two unstable directions, whose form is not known to us. Ours are

    L(x, Y) = x' Y x / 2 + zeta (x_1^3 + x_2^3) / 2 - eps (x_1 + x_2 + tr Y)

with Y a multiple of the identity (three weights: the two directions share a curvature), or any symmetric matrix (five
weights: the second direction comes to the edge after the first, and then both turn about each other).
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Weights = dict[str, Float[Array, "..."]]
Toy = tuple[Callable[[Weights, Array], Array], Weights]

LATER = 1.5
"""When the second direction of five weights comes to the edge, over when the first does."""


def nothing() -> tuple[np.ndarray, np.ndarray]:
    """One sample without content: the loss is one of the weights alone."""
    return np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32)


def value(outputs: Array, targets: Array) -> Float[Array, ""]:
    """The loss is what the toy answers."""
    return jnp.mean(outputs)


def one(eps: float, learning_rate: float, zeta: float = 1.0, ahead: int = 100) -> Toy:
    """Berthier's toy of two weights.

    Args:
        eps: how fast the curvature rises, and how far from zero the direction is at rest.
        learning_rate: of gradient descent; the curvature starts so far below 2 / eta that it is there after `ahead`
            steps.
        zeta: how the curvature changes along the direction.
        ahead: see above.
    """

    def loss(weights: Weights, inputs: Array) -> Array:
        x, y = weights["x"], weights["y"]
        return ((y + zeta * x) * x**2 / 2 - eps * (x + y)) * jnp.ones(len(inputs))

    start = _below(eps, learning_rate, ahead)
    return loss, {"x": jnp.asarray(eps / 6), "y": jnp.asarray(start)}


def two_of_one_curvature(
    eps: float, learning_rate: float, zeta: float = 1.0, ahead: int = 100
) -> Toy:
    """Our analogue of three weights: two directions of the same curvature y. The arguments are those of `one`."""

    def loss(weights: Weights, inputs: Array) -> Array:
        x, y = weights["x"], weights["y"]
        return (_of_two(x, y * x, zeta) - eps * (jnp.sum(x) + y)) * jnp.ones(len(inputs))

    start = _below(eps, learning_rate, ahead)
    return loss, {"x": _two_at_rest(eps), "y": jnp.asarray(start)}


def two(eps: float, learning_rate: float, zeta: float = 1.0, ahead: int = 100) -> Toy:
    """Our analogue of five weights: two directions whose curvature is a matrix. The arguments are those of `one`.

    The entry beside the diagonal is y_3 / sqrt 2, so that gradient descent knows no axes but those of zeta.
    """

    def loss(weights: Weights, inputs: Array) -> Array:
        x, y = weights["x"], weights["y"]
        beside = y[2] / jnp.sqrt(2.0)
        image = jnp.stack([y[0] * x[0] + beside * x[1], beside * x[0] + y[1] * x[1]])
        return (_of_two(x, image, zeta) - eps * (jnp.sum(x) + y[0] + y[1])) * jnp.ones(len(inputs))

    first, second = (_below(eps, learning_rate, n * ahead) for n in (1, LATER))
    return loss, {"x": _two_at_rest(eps), "y": jnp.asarray([first, second, 0.0])}


def _of_two(x: Array, image: Array, zeta: float) -> Array:
    return (x @ image + zeta * jnp.sum(x**3)) / 2


def _below(eps: float, learning_rate: float, ahead: float) -> float:
    """The curvature from which 2 / eta is so many steps away."""
    return 2 / learning_rate - ahead * learning_rate * eps


def _two_at_rest(eps: float) -> Array:
    """Near to where the two directions are at rest, and not the same in both."""
    return jnp.asarray([eps / 6, eps / 7])
