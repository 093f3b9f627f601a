"""Training: the discrete run from initial weights, one after the other or several side by side."""

from collections.abc import Sequence
from typing import TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.minibatch import Minibatch
from rodflow.dynamics.process import Keep, Progress, Recording, fold_in, record
from rodflow.dynamics.side_by_side import SideBySide, apart, of_each, stacked
from rodflow.optimizers.optimizer_map import OptimizerMap
from rodflow.store.checkpoint import Checkpoint


def discrete(
    optimizer: OptimizerMap,
    weights: Float[Array, " parameter"],
    *,
    steps: int,
    snapshot_steps: Sequence[int],
    hold: Sequence[int] = (),
    batch_size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    keep: Keep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Recording:
    """Train for `steps` steps from these weights.

    Observed at steps 0 to `steps`; at step 0 the state before is taken as the initial one, so the rod length there
    means nothing and is NaN. `held` has the carry at each of the steps in `hold`: of a full-batch run the three
    consecutive states around it, from which flows start.

    Args:
        optimizer: the map that is iterated.
        weights: where it begins.
        steps: how many.
        snapshot_steps: increasing steps at which weights are kept.
        hold: steps whose carry is wanted.
        batch_size: samples in a step; None: all.
        seed: of the batches.
        progress: called after every chunk.
        keep, checkpoint: see `rodflow.dynamics.process.record`.

    Raises:
        CheckpointError: the checkpoint cannot be written.
    """
    return _train(
        _process(batch_size),
        optimizer,
        weights,
        steps,
        key=jax.random.key(seed),
        snapshot_steps=snapshot_steps,
        hold=hold,
        progress=progress,
        keep=keep,
        checkpoint=checkpoint,
    )


def discrete_side_by_side(
    optimizers: Sequence[OptimizerMap],
    weights: Sequence[Float[Array, " parameter"]],
    *,
    steps: int,
    snapshot_steps: Sequence[int],
    hold: Sequence[int] = (),
    batch_size: int | None = None,
    seeds: Sequence[int],
    progress: Progress | None = None,
    keep: Sequence[Keep] | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[Recording]:
    """As `discrete`, of several runs that differ in numbers only: see `rodflow.dynamics.side_by_side`.

    Args:
        optimizers: the map of each run; they may differ in the hyperparameters of a `Tuned` transformation.
        weights: where each run begins.
        steps, snapshot_steps, hold, batch_size: as for `discrete`, the same for all.
        seeds: of the batches, one a run.
        progress: called after every chunk, with the mean of the losses.
        keep: what of a snapshot is kept, one function a run, whose answers have the same shapes; None: everything.
        checkpoint: of all runs together.

    Returns:
        One recording a run, in the same order.

    Raises:
        CheckpointError: the checkpoint cannot be written.
    """
    recording = _train(
        SideBySide(_process(batch_size)),
        stacked(optimizers),
        jnp.stack(list(weights)),
        steps,
        key=jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32)),
        snapshot_steps=snapshot_steps,
        hold=hold,
        progress=progress,
        keep=None if keep is None else of_each(keep),
        checkpoint=checkpoint,
    )
    return apart(recording, len(optimizers))


class How(TypedDict):
    """The arguments of `rodflow.dynamics.process.record` that a training hands on."""

    snapshot_steps: Sequence[int]
    hold: Sequence[int]
    progress: Progress | None
    keep: Keep | None
    checkpoint: Checkpoint | None


def _process(batch_size: int | None) -> Discrete | Minibatch:
    return Discrete() if batch_size is None else Minibatch(batch_size)


def _train(
    process: Discrete | Minibatch | SideBySide,
    optimizer: OptimizerMap,
    weights: Array,
    steps: int,
    *,
    key: Array,
    **how: Unpack[How],
) -> Recording:
    before = fold_in(key, jnp.asarray(steps + 1))  # of a step number that no later step has
    carry = process.first(optimizer, weights, before)
    recording = record(process, optimizer, carry, first=0, last=steps, key=key, **how)
    lengths = np.array(recording.series["rod_length"])
    lengths[:1] = np.nan
    recording.series["rod_length"] = lengths
    return recording
