"""The discrete run on minibatches: every step sees the gradient of a few samples only.

The samples are shuffled, taken in that order, a batch a step, and shuffled anew when fewer than a batch are left, so
that no sample is drawn twice in an epoch. It is no map of the state any more, and no flow models it.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rodflow.dynamics.discrete import Consecutive, Discrete
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State


class Shuffled(NamedTuple):
    """The run, the order of the samples in this epoch, and how many of its batches are used up."""

    run: Consecutive
    order: Int[Array, " sample"]
    used: Int[Array, ""]


class Minibatch(Process):
    """The optimizer on batches. Its loss and gradient norm are those of the batch of the step.

    The map's loss has to offer what `rodflow.problem.objective.Objective` does: `samples`, how many there are, and
    `of`, the loss on some of them.

    Attributes:
        size: samples in a batch.
    """

    size: int = eqx.field(static=True)

    @eqx.filter_jit
    def first(
        self, optimizer: OptimizerMap, weights: Float[Array, " parameter"], key: Array
    ) -> Shuffled:
        """The carry at step 0, from the step on the first batch."""
        order = jnp.arange(optimizer.loss.samples)  # type: ignore[attr-defined]
        order, used, on_batch = self._draw(optimizer, order, jnp.asarray(0), key)
        return Shuffled(Discrete().first(on_batch, weights, key), order, used)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Shuffled:
        order = jnp.arange(optimizer.loss.samples)  # type: ignore[attr-defined]
        run = Discrete().begin(optimizer, before, now, after)
        return Shuffled(run, order, jnp.asarray(0))

    def advance(
        self, optimizer: OptimizerMap, carry: Shuffled, key: Array
    ) -> tuple[Shuffled, Observation]:
        order, used, on_batch = self._draw(optimizer, carry.order, carry.used, key)
        run, seen = Discrete().advance(on_batch, carry.run, key)
        return Shuffled(run, order, used), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Shuffled) -> Snapshot:
        return Discrete().snapshot(optimizer, carry.run)

    def _draw(
        self, optimizer: OptimizerMap, order: Array, used: Array, key: Array
    ) -> tuple[Array, Array, OptimizerMap]:
        """The order, how many batches of it are used up with the next one, and the optimizer on that."""
        order = jax.lax.cond(used == 0, lambda: jax.random.permutation(key, order), lambda: order)
        chosen = jax.lax.dynamic_slice(order, (used * self.size,), (self.size,))
        on_batch = eqx.tree_at(lambda one: one.loss, optimizer, optimizer.loss.of(chosen))  # type: ignore[attr-defined]
        return order, (used + 1) % (order.size // self.size), on_batch
