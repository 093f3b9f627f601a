"""Which samples the steps of a run see: drawn without replacement until fewer than a batch are left.

The samples are shuffled, taken in that order, a batch a step, and shuffled anew when fewer than a batch are left, so
that no sample is drawn twice in an epoch.
"""

from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rodflow.optimizers.optimizer_map import Loss, OptimizerMap


class Epoch(NamedTuple):
    """The order of the samples in this epoch, and how many of its batches are used up."""

    order: Int[Array, " sample"]
    used: Int[Array, ""]


def samples(loss: Loss) -> int:
    """How many samples a loss is the mean of; it must say so, as `rodflow.problem.objective.Objective` does."""
    return cast(int, loss.samples)  # type: ignore[attr-defined]


def on(loss: Loss, chosen: Int[Array, " chosen"]) -> Loss:
    """The loss on some of the samples."""
    return cast(Loss, loss.of(chosen))  # type: ignore[attr-defined]


def unshuffled(loss: Loss) -> Epoch:
    """Before the first epoch."""
    return Epoch(jnp.arange(samples(loss)), jnp.asarray(0))


def draw(epoch: Epoch, size: int, key: Array) -> tuple[Epoch, Int[Array, " chosen"]]:
    """The next batch, from an order of its own where an epoch begins.

    Args:
        epoch: which batches were drawn.
        size: samples in a batch.
        key: of the order, if a new one is needed.
    """
    order = jax.lax.cond(
        epoch.used == 0, lambda: jax.random.permutation(key, epoch.order), lambda: epoch.order
    )
    chosen = jax.lax.dynamic_slice(order, (epoch.used * size,), (size,))
    return Epoch(order, (epoch.used + 1) % (order.size // size)), chosen


def on_batch(optimizer: OptimizerMap, chosen: Int[Array, " chosen"]) -> OptimizerMap:
    """The optimizer on a batch."""
    return cast(
        OptimizerMap, eqx.tree_at(lambda one: one.loss, optimizer, on(optimizer.loss, chosen))
    )
