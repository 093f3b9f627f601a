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
    """The discrete run from a carry at step `first` to step `last`."""
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
