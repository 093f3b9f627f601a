"""A flow from three consecutive states of the discrete run.

Example:
    ::

        optimizer = optimizer_map(loss, optax.adam(1e-3), weights)
        run = discrete(
            optimizer, weights, steps=600, snapshot_steps=grid(50, 1, 600, 10), hold=[50]
        )
        flow = integrate("rod", optimizer, run.held[50][:3], start=50, stop=600, every=10)
"""

import equinox as eqx
import jax

from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.process import Keep, Process, Progress, Recording, grid, record
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.store.checkpoint import Checkpoint


def integrate(
    flow: str | Process,
    optimizer: OptimizerMap,
    states: tuple[State, State, State],
    *,
    start: int,
    stop: int,
    every: int,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
    keep: Keep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Recording:
    """Run a flow from three consecutive states of the discrete run.

    Args:
        flow: the name of a module of `rodflow.dynamics.flows` or a `Process`.
        optimizer: the map that the discrete run iterated.
        states: the discrete run's states at start - 1, start and start + 1.
        start, stop: first and last step observed.
        every: distance of snapshots, counted from `start`.
        seed: of the rounding-sized noise that seeds the oscillation, or of the batches.
        batch_size: samples in a batch, for a flow of minibatch training that is given by its name.
        progress: called after every chunk with step and loss.
        keep, checkpoint: see `rodflow.dynamics.process.record`.

    Returns:
        What was observed at every step from `start` to `stop`, cut where the loss ceases to be finite, and the
        snapshots.

    Raises:
        CatalogueError: there is no flow of this name.
        OptimizerError: the flow is not written for this optimizer.
        CheckpointError: the checkpoint cannot be written.
    """
    process = _process(flow, batch_size) if isinstance(flow, str) else flow
    carry = eqx.filter_jit(process.begin)(optimizer, *states)
    return record(
        process,
        optimizer,
        carry,
        first=start,
        last=stop,
        snapshot_steps=grid(start, start, stop, every),
        key=jax.random.key(seed),
        progress=progress,
        keep=keep,
        checkpoint=checkpoint,
    )


def _process(flow: str, batch_size: int | None) -> Process:
    make = FLOWS.load(flow).process
    made: Process = make(batch_size) if FLOWS[flow].batches else make()
    return made
