"""What the stages of one run share: its map, its preconditioner, and the labels of what it gives.

`settings` are those of a `rodflow.config.settings.Run`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from rodflow.dynamics.discrete import scale_invariant
from rodflow.dynamics.process import Keep, Recording
from rodflow.optimizers.alternation import alternating_gains
from rodflow.optimizers.optimizer_map import OptimizerMap, State, optimizer_map
from rodflow.optimizers.table import TABLE, Optimizer
from rodflow.problem import objective
from rodflow.store.trajectory import states, trajectory

Settings = Mapping[str, Any]


def optimizer_of(settings: Settings) -> tuple[Optimizer, dict[str, float]]:
    """The row of the optimizer table and the hyperparameters that a run names."""
    hyperparameters = dict(settings["optimizer"])
    return TABLE[hyperparameters.pop("name")], hyperparameters


def preconditioner(settings: Settings, here: xr.Dataset) -> Float[np.ndarray, " parameter"]:
    """The diagonal of P at one snapshot of a trajectory, one number a weight.

    Where the optimizer has no threshold of its own it is the inverse of the stored alternating gain.
    """
    optimizer, hyperparameters = optimizer_of(settings)
    if optimizer.threshold is None:
        return np.asarray(1 / here["gain"].values)
    moment = jnp.asarray(here["second_moment"].values) if optimizer.adaptive else None
    ones = np.ones(here["weights"].shape, np.float32)
    return np.asarray(optimizer.preconditioner(moment, **hyperparameters)) * ones


def build(dataset: xr.Dataset, settings: Settings) -> tuple[OptimizerMap, Array]:
    """The optimizer map of a run and its initial weights."""
    loss, weights = objective.of_run(dataset, settings)
    optimizer, hyperparameters = optimizer_of(settings)
    transformation = optimizer.tuned(weights.dtype, **hyperparameters)
    return optimizer_map(loss, transformation, weights), weights


def kept_by(optimizer: OptimizerMap, settings: Settings) -> Keep:
    """What of a snapshot is stored: of the memory the second moment, or the alternating gain where P is that."""
    row, hyperparameters = optimizer_of(settings)

    def keep(snapshot: dict[str, Any]) -> dict[str, Any]:
        kept = dict(snapshot)
        memory = kept.pop("memory")
        if row.threshold is None:
            state = jax.tree.map(lambda leaf: leaf[None], State(kept["weights"], memory))
            kept["gain"] = alternating_gains(optimizer, state)[0]
        elif row.adaptive:
            with np.errstate(all="ignore"):  # of a run that diverges
                kept["second_moment"] = np.asarray(row.second_moment(memory, **hyperparameters))
        return kept

    return keep


def states_at_start(
    optimizer: OptimizerMap, weights: Array, discrete: xr.Dataset
) -> tuple[State, State, State] | None:
    """The discrete run's states at start - 1, start and start + 1; None if it diverged before."""
    leaves = states(discrete)
    if not leaves:
        return None
    structure = jax.tree.structure(optimizer.initial(weights))
    before, now, after = (
        State(*jax.tree.unflatten(structure, [jnp.asarray(leaf[k]) for leaf in leaves]))
        for k in range(3)
    )
    return before, now, after


def not_started(discrete: xr.Dataset) -> str:
    """The status of what should have started from a discrete run that did not get there."""
    return f"not started: discrete run {discrete.attrs['status']}"


def title(process: str, settings: Settings) -> str:
    """One line that says what a trajectory is."""
    what = "iterates" if process == "discrete" else f"{process.replace('_', ' ')} flow"
    return f"{what} of {settings['optimizer']['name']}, {settings['model']['kind']} on {settings['dataset']['name']}"


def label(
    optimizer: OptimizerMap, recording: Recording, process: str, settings: Settings
) -> xr.Dataset:
    """A recording as a labelled trajectory."""
    return trajectory(
        recording.steps,
        recording.series,
        recording.snapshot_steps,
        recording.snapshots,
        process=process,
        title=title(process, settings),
        attributes={
            "status": recording.status,
            "compile_time_s": recording.compile_time,
            "step_time_s": recording.step_time,
        },
        kernels=[*scale_invariant(optimizer)] if "alignment" in recording.series else (),
    )
