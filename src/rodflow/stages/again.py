"""The discrete run once more, from its stored states."""

from collections.abc import Iterable

import jax

from rodflow.dynamics.discrete import Consecutive, Discrete
from rodflow.dynamics.process import Keep, Progress, Recording, record
from rodflow.optimizers.optimizer_map import OptimizerMap
from rodflow.store.checkpoint import Checkpoint
from rodflow.store.trajectory import described

AT_STEP = described("optimizer step")
AT_SNAPSHOT = described("optimizer step at which weights are kept")


def run_on(
    optimizer: OptimizerMap,
    carry: Consecutive,
    first: int,
    last: int,
    snapshot_steps: Iterable[int],
    progress: Progress | None,
    *,
    keep: Keep,
    checkpoint: Checkpoint,
    hold: int | None = None,
) -> Recording:
    """The discrete run from a carry at step `first` to step `last`.

    Args:
        optimizer: its map.
        carry: the three states around `first`.
        first, last: the range of observed steps.
        snapshot_steps: increasing steps in this range at which a snapshot is kept.
        progress: called after every chunk of steps; None: nobody is told.
        keep: from what the run shows at a snapshot to what is kept of it.
        checkpoint: of this replay and no other; if it was saved before, the replay continues there.
        hold: a step in this range whose carry is wanted, in `held`; None: none.
    """
    return record(
        Discrete(),
        optimizer,
        carry,
        first=first,
        last=last,
        snapshot_steps=[int(step) for step in snapshot_steps],
        key=jax.random.key(0),
        hold=[] if hold is None else [hold],
        progress=progress,
        keep=keep,
        checkpoint=checkpoint,
    )
