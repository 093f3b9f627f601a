"""Which samples the steps of a run see: drawn without replacement until fewer than a batch are left.

The samples are shuffled, taken in that order, a batch a step, and shuffled anew when fewer than a batch are left, so
that no sample is drawn twice in an epoch.
"""

from typing import NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rodflow.errors import RodflowError
from rodflow.optimizers.optimizer_map import Loss, OptimizerMap


class BatchError(RodflowError, ValueError):
    """Batches that a loss does not have."""


class Epoch(NamedTuple):
    """The order of the samples in this epoch, and how many of its batches are used up."""

    order: Int[Array, " sample"]
    used: Int[Array, ""]


def samples(loss: Loss) -> int:
    """How many samples a loss is the mean of; it must say so, as `rodflow.problem.objective.Objective` does."""
    return cast(int, loss.samples)  # type: ignore[attr-defined]


def on(loss: Loss, chosen: Int[Array, " chosen"]) -> Loss:
    """The loss on some of the samples.

    Args:
        loss: a mean over samples that offers `of`, as `rodflow.problem.objective.Objective` does.
        chosen: the indices of the samples, of which the mean is taken instead.
    """
    return cast(Loss, loss.of(chosen))  # type: ignore[attr-defined]


def before_first(loss: Loss, size: int | None) -> Epoch:
    """Before the first epoch.

    Args:
        loss: a mean over samples, see `on`.
        size: samples in a batch.

    Raises:
        BatchError: the loss is no such mean, or has no batches of this size.
    """
    if not hasattr(loss, "samples") or not hasattr(loss, "of"):
        raise BatchError(
            f"the loss ({type(loss).__name__}) has no batches; it must have `samples`, how many it is the mean of, "
            f"and `of(indices)`, the loss on some of them, as rodflow.problem.objective.Objective does"
        )
    if size is None or not 1 <= size <= samples(loss):
        raise BatchError(
            f"batch_size is {size}; it must be a whole number from 1 to {samples(loss)}"
        )
    return unshuffled(loss)


def unshuffled(loss: Loss) -> Epoch:
    """Before the first epoch, of a loss that has batches."""
    return Epoch(jnp.arange(samples(loss)), jnp.asarray(0))


def draw(epoch: Epoch, size: int, key: Array) -> tuple[Epoch, Int[Array, " chosen"]]:
    """The next batch, from an order of its own where an epoch begins.

    Args:
        epoch: which batches were drawn.
        size: samples in a batch.
        key: of the order, if a new one is needed.

    Returns:
        The epoch with this batch used up, and the indices of its samples.
    """
    order = jax.lax.cond(
        epoch.used == 0, lambda: jax.random.permutation(key, epoch.order), lambda: epoch.order
    )
    chosen = jax.lax.dynamic_slice(order, (epoch.used * size,), (size,))
    return Epoch(order, (epoch.used + 1) % (order.size // size)), chosen


def on_batch(optimizer: OptimizerMap, chosen: Int[Array, " chosen"]) -> OptimizerMap:
    """The optimizer on a batch: the same step, of the gradient of some samples only.

    Args:
        optimizer: the map on all samples, whose loss offers what `on` needs.
        chosen: the indices of the samples in the batch.
    """
    return cast(
        OptimizerMap, eqx.tree_at(lambda one: one.loss, optimizer, on(optimizer.loss, chosen))
    )
