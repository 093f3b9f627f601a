"""A small network that learns a Chebyshev polynomial, for chebyshev.yaml.

Cohen et al. 2021 (arXiv 2103.00065) show the edge of stability on such a regression of one number on one number. Ours
has twenty points between -1 and 1, a network of two hidden layers of tanh, and half the mean squared error.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Layers = list[dict[str, Float[Array, "..."]]]


def points(number: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Points at equal distances; the targets are those of each model, so here they are 0."""
    places = np.linspace(-1, 1, number, dtype=np.float32)[:, None]
    return places, np.zeros_like(places)


def half_mean_square(outputs: Array, targets: Array) -> Float[Array, ""]:
    """What the models answer is how far they are off."""
    return 0.5 * jnp.mean((outputs - targets) ** 2)


def fit(
    degree: int, width: int = 20, *, key: Array
) -> tuple[Callable[[Layers, Array], Array], Layers]:
    """A network less the polynomial that it learns.

    Args:
        degree: of the Chebyshev polynomial.
        width: of both hidden layers.
        key: of the initial weights, which are normal, of variance 1 / inputs; biases are 0.
    """
    sizes = (1, width, width, 1)
    keys = jax.random.split(key, len(sizes) - 1)
    start = [
        {"kernel": jax.random.normal(k, (a, b)) / a**0.5, "bias": jnp.zeros(b)}
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]

    def residuals(layers: Layers, x: Array) -> Array:
        hidden = x
        for layer in layers[:-1]:
            hidden = jnp.tanh(hidden @ layer["kernel"] + layer["bias"])
        output = hidden @ layers[-1]["kernel"] + layers[-1]["bias"]
        return output - jnp.cos(degree * jnp.arccos(x))

    return residuals, start
