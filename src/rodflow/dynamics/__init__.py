"""Dynamics: the optimizer as a map, the discrete run, and every flow that models it.

Example:
    ::

        optimizer = optimizer_map(loss, optax.adam(1e-3), weights)
        run = discrete(
            optimizer, weights, steps=600, snapshot_steps=grid(50, 1, 600, 10), hold=[50]
        )
        flow = integrate("rod", optimizer, run.held[50][:3], start=50, stop=600, every=10)
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax

from rodflow.dynamics.adam_continuous import AdamContinuous
from rodflow.dynamics.central_flow import CentralFlow
from rodflow.dynamics.covariance_closure import CovarianceClosure
from rodflow.dynamics.discrete import scale_invariant
from rodflow.dynamics.edge_flow import EdgeFlow
from rodflow.dynamics.optimizer_map import OptimizerError, OptimizerMap, State, optimizer_map
from rodflow.dynamics.process import Keep, Process, Progress, Recording, grid, record
from rodflow.dynamics.rod_flow import RodFlow
from rodflow.dynamics.rod_unit_step import RodUnitStep
from rodflow.dynamics.stable_flow import StableFlow
from rodflow.dynamics.training import discrete, discrete_side_by_side
from rodflow.journal import Journal

FLOWS: dict[str, Callable[[], Process]] = {
    "stable": StableFlow,
    "rod": RodFlow,
    "rod_unit_step": RodUnitStep,
    "closure": CovarianceClosure,
    "central": CentralFlow,
    "central_unregularised": partial(CentralFlow, regularised=False),
    "edge": EdgeFlow,
    "adam_continuous": AdamContinuous,
}
"""The flows by the names that a config uses."""


def integrate(
    flow: str | Process,
    optimizer: OptimizerMap,
    states: tuple[State, State, State],
    *,
    start: int,
    stop: int,
    every: int,
    seed: int = 0,
    progress: Progress | None = None,
    keep: Keep | None = None,
    journal: Journal | None = None,
) -> Recording:
    """Run a flow from three consecutive states of the discrete run.

    Args:
        flow: a name in `FLOWS` or a `Process`.
        optimizer: the map that the discrete run iterated.
        states: the discrete run's states at start - 1, start and start + 1.
        start, stop: first and last step observed.
        every: distance of snapshots, counted from `start`.
        seed: of the rounding-sized noise that seeds the oscillation.
        progress: called after every chunk with step and loss.
        keep, journal: see `rodflow.dynamics.process.record`.
    """
    process = FLOWS[flow]() if isinstance(flow, str) else flow
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
        journal=journal,
    )


__all__ = [
    "FLOWS",
    "Keep",
    "OptimizerError",
    "OptimizerMap",
    "Process",
    "Progress",
    "Recording",
    "State",
    "discrete",
    "discrete_side_by_side",
    "grid",
    "integrate",
    "optimizer_map",
    "scale_invariant",
]
