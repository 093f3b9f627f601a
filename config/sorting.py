"""The sorting task for sorting.yaml: a sequence of digits, and the same digits in their order.

A model reads both in a row and says at each token which one comes next. Only what it says of the sorted half is judged,
which it can know; the half before is random. Cohen et al. 2024 (arXiv 2410.24206) train sequence models on such a task;
the length, the digits and the number of sequences here are ours.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def data(
    length: int = 6, digits: int = 3, sequences: int = 100
) -> tuple[Int[np.ndarray, "sample token"], Float[np.ndarray, "sample token digit"]]:
    """Different sequences, drawn from a fixed seed, and which digit follows each token.

    Args:
        length: of a sequence before it is sorted.
        digits: how many there are.
        sequences: how many samples; at most digits to the power of length.

    Returns:
        The tokens, int32, 2 length - 1 of them; and one-hot targets, float32, which are zero where nothing is judged.
    """
    chosen = np.random.default_rng(0).permutation(digits**length)[:sequences]
    drawn = chosen[:, None] // digits ** np.arange(length) % digits
    row = np.concatenate([drawn, np.sort(drawn)], axis=1)
    targets = np.eye(digits, dtype=np.float32)[row[:, 1:]]
    targets[:, : length - 1] = 0
    return row[:, :-1].astype(np.int32), targets


def squared_error(
    outputs: Float[Array, "sample token digit"], targets: Float[Array, "sample token digit"]
) -> Float[Array, ""]:
    """Half the squared error, summed over digits, averaged over the tokens that are judged."""
    judged = targets.sum(-1)
    return 0.5 * jnp.sum(judged * jnp.sum((outputs - targets) ** 2, -1)) / jnp.sum(judged)
