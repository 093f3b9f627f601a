"""What the flows of minibatch training say of the noise: its size, whether there is any, and what it must not do."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rodflow.optimizers.optimizer_map import OptimizerMap, State

OF_ITS_OWN = 1
"""What a flow folds into the key of a step, so that it draws no batch by the key of the run."""

ROUNDING = 1e-5
"""Noise over gradient below which a batch differs from all samples by the order of a sum only."""


def own_key(key: Array) -> Array:
    """The key by which a flow draws the batch of a step."""
    return jax.random.fold_in(key, OF_ITS_OWN)


def relative(noise: Float[Array, " parameter"], gradient: Float[Array, " parameter"]) -> Array:
    """The norm of the noise over that of the full gradient.

    Args:
        noise: the gradient of a batch less that of all samples.
        gradient: that of all samples, at the same weights.
    """
    return jnp.linalg.norm(noise) / jnp.linalg.norm(gradient)


def turned_negative(optimizer: OptimizerMap, before: State, *after: State) -> Float[Array, ""]:
    """How many entries of the auxiliary leaves were not negative before and are so after, counted in each state after.

    Args:
        optimizer: the map, which knows which leaves are auxiliary.
        before: the state before a step.
        after: one state after it or several, such as those of two copies.
    """

    def leaves(state: State) -> list[Array]:
        every = zip(jax.tree.leaves(state), optimizer.oscillating, strict=True)
        return [leaf for leaf, swings in every if not swings]

    counts = [
        jnp.sum((old >= 0) & (new < 0))
        for state in after
        for old, new in zip(leaves(before), leaves(state), strict=True)
    ]
    return jnp.asarray(sum(counts), jnp.float32)


def remark(series: dict[str, np.ndarray], steps: np.ndarray) -> str:
    """What a reader must know of the noise of a run, in words; usually nothing.

    Args:
        series: what the flow observed, of which `noise` (see `relative`) and `negative` (see `turned_negative`)
            are read, [step].
        steps: the steps of these values.
    """
    words = []
    negative = np.flatnonzero(series["negative"])
    if negative.size:
        words.append(f"the noise makes a second moment negative at step {steps[negative[0]]}")
    noise = series["noise"]
    if noise.size and np.all(noise < ROUNDING):
        words.append("the batches leave no noise")
    return "; ".join(words)
