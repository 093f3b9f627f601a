"""The discrete run on minibatches: every step sees the gradient of a few samples only.

It is no map of the state any more. The flows that model it (`rodflow.dynamics.flows.pair`) draw batches of their own.
"""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float

from rodflow.dynamics import batches
from rodflow.dynamics.batches import Epoch
from rodflow.dynamics.discrete import Consecutive, Discrete
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.linalg.batch_sharpness import batch_sharpness
from rodflow.optimizers.optimizer_map import OptimizerMap, State

LOOKED_AT = 32
"""Batches over which the batch sharpness of a snapshot is averaged at most."""


class Shuffled(NamedTuple):
    """The run, and which batches of this epoch it has seen."""

    run: Consecutive
    epoch: Epoch


class Minibatch(Process):
    """The optimizer on batches. Its loss and gradient norm are those of the batch of the step.

    The map's loss has to offer what `rodflow.problem.objective.Objective` does: `samples`, how many there are, and
    `of`, the loss on some of them. At a snapshot it is looked at as a whole: `full_loss` at the iterate, and the
    sharpness of batches there.

    Attributes:
        size: samples in a batch.
    """

    size: int = eqx.field(static=True)

    @eqx.filter_jit
    def first(
        self, optimizer: OptimizerMap, weights: Float[Array, " parameter"], key: Array
    ) -> Shuffled:
        """The carry at step 0, from the step on the first batch.

        Args:
            optimizer: the map on all samples.
            weights: where it begins.
            key: of the order of the first epoch.
        """
        epoch, chosen = batches.draw(
            batches.before_first(optimizer.loss, self.size), self.size, key
        )
        return Shuffled(Discrete().first(batches.on_batch(optimizer, chosen), weights, key), epoch)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Shuffled:
        run = Discrete().begin(optimizer, before, now, after)
        return Shuffled(run, batches.before_first(optimizer.loss, self.size))

    def advance(
        self, optimizer: OptimizerMap, carry: Shuffled, key: Array
    ) -> tuple[Shuffled, Observation]:
        epoch, chosen = batches.draw(carry.epoch, self.size, key)
        run, seen = Discrete().advance(batches.on_batch(optimizer, chosen), carry.run, key)
        return Shuffled(run, epoch), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Shuffled) -> Snapshot:
        weights = carry.run.now.weights
        # Another order than that of the epoch, whose last batches the weights have just been fitted to.
        order = jax.random.permutation(jax.random.key(0), carry.epoch.order)
        count = min(LOOKED_AT, order.size // self.size)
        groups = order[: count * self.size].reshape(count, self.size)
        return {
            **Discrete().snapshot(optimizer, carry.run),
            "full_loss": optimizer.loss(weights),
            "batch_sharpness": batch_sharpness(
                partial(batches.on, optimizer.loss), weights, groups
            ),
        }
