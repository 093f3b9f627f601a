"""The stages of one run: labelled data set in, labelled data set out.

The workflow's scripts are thin shells around these functions; they can be called from a notebook as well:

    run = discrete_run(dataset, settings)
    flow = flow_run(dataset, run, "rod", settings)
    found = sharpness(dataset, flow, settings, count=3, tolerance=1e-3, every=1)  # rodflow.sharpness

`settings` are those of a `rodflow.settings.Run`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from rodflow import dynamics, objective
from rodflow.dynamics import Keep, OptimizerMap, Progress, Recording, State
from rodflow.journal import Journal, Scratch
from rodflow.optimizers import TABLE, Optimizer
from rodflow.settings import shared
from rodflow.stability import alternating_gains
from rodflow.trajectory import states, trajectory, with_states

Settings = Mapping[str, Any]


SMALL = 1e6
"""Samples times weights of runs that are faster as one vmapped batch on a CPU: larger ones keep a core busy alone, and
of minibatches a batch shuffles at every step (benchmarks/side_by_side.py)."""


class BatchError(ValueError):
    """Runs that cannot be trained together."""


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
    return dynamics.optimizer_map(loss, transformation, weights), weights


def discrete_run(
    dataset: xr.Dataset, settings: Settings, progress: Progress | None = None
) -> xr.Dataset:
    """Train: the discrete run as a trajectory, with the states from which flows start."""
    return next(discrete_runs(dataset, [settings], progress))


def discrete_runs(
    dataset: xr.Dataset,
    settings: Sequence[Settings],
    progress: Progress | None = None,
    scratch: Scratch | None = None,
    *,
    side_by_side: bool | None = None,
) -> Iterator[xr.Dataset]:
    """Train several runs that differ in hyperparameters and seed only, with one compiled program.

    Args:
        dataset: the training data.
        settings: of each run.
        progress: called after every chunk of steps.
        scratch: where a killed run continues from.
        side_by_side: as one vmapped batch, or one after the other. None: as a batch where that is faster, see `SMALL`.

    Yields:
        The trajectories, in order.

    Raises:
        BatchError: the runs differ in something else.
    """
    if len({json.dumps(shared(one), sort_keys=True) for one in settings}) > 1:
        raise BatchError("runs of one batch may differ in hyperparameters and seed only")
    maps, weights = zip(*(build(dataset, one) for one in settings), strict=True)
    first, seeds = settings[0], [one["seed"] for one in settings]
    start, steps = first["start"], first["steps"]
    how: dict[str, Any] = {
        "steps": steps,
        "snapshot_steps": dynamics.grid(start, 1, steps, first["snapshots"]["every"]),
        "hold": [start] if first["batch_size"] is None else (),
        "batch_size": first["batch_size"],
        "progress": progress,
    }
    if side_by_side is None:
        small = first["batch_size"] is None and maps[0].loss.samples * weights[0].size < SMALL
        faster = small or jax.default_backend() != "cpu"
        side_by_side = faster and "compute" not in first  # which is there for want of memory
    keep = [kept_by(optimizer, own) for optimizer, own in zip(maps, settings, strict=True)]
    if side_by_side and len(settings) > 1:
        how |= {"keep": keep, "journal": Journal(scratch, "runs")}
        recordings = iter(dynamics.discrete_side_by_side(maps, weights, seeds=seeds, **how))
    else:
        recordings = (
            dynamics.discrete(
                maps[run],
                weights[run],
                seed=seeds[run],
                keep=keep[run],
                journal=Journal(scratch, f"run{run}"),
                **how,
            )
            for run in range(len(settings))
        )
    for optimizer, at, recording, own in zip(maps, weights, recordings, settings, strict=True):
        if not recording.snapshots:  # diverged before the first one
            recording = replace(recording, snapshots={"weights": np.zeros((0, at.size), at.dtype)})
        yield _discrete(optimizer, recording, own)


def _discrete(optimizer: OptimizerMap, recording: Recording, settings: Settings) -> xr.Dataset:
    data = _label(optimizer, recording, "discrete", settings)
    start = settings["start"]
    if settings["batch_size"] is not None:
        for name in ("loss", "gradient_norm"):
            full = data[name].attrs["long_name"]
            data[name].attrs["long_name"] = full.replace("full-batch", "the step's batch:", 1)
    if start not in recording.held:
        return data
    around = recording.held[start]
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), around.before, around.now, around.after
    )
    leaves = [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(stacked)
    ]
    return with_states(data, leaves, start)


def flow_run(
    dataset: xr.Dataset,
    discrete: xr.Dataset,
    flow: str,
    settings: Settings,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """Integrate a flow from the discrete run's states around the start, as a trajectory.

    A discrete run that diverged before the start gives a trajectory without steps whose status says so.
    """
    optimizer, weights = build(dataset, settings)
    around = states_at_start(optimizer, weights, discrete)
    if around is None:
        none = np.zeros(0)
        kept = {"weights": np.zeros((0, weights.size), np.float32)}
        return trajectory(
            none,
            {"loss": none},
            none,
            kept,
            process=flow,
            title=_title(flow, settings),
            attributes={"status": not_started(discrete)},
        )
    recording = dynamics.integrate(
        flow,
        optimizer,
        around,
        start=settings["start"],
        stop=settings["steps"],
        every=settings["snapshots"]["every"],
        seed=settings["seed"],
        progress=progress,
        keep=kept_by(optimizer, settings),
        journal=Journal(scratch, flow),
    )
    return _label(optimizer, recording, flow, settings)


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


def _title(process: str, settings: Settings) -> str:
    what = "iterates" if process == "discrete" else f"{process.replace('_', ' ')} flow"
    return f"{what} of {settings['optimizer']['name']}, {settings['model']['kind']} on {settings['dataset']['name']}"


def _label(
    optimizer: OptimizerMap, recording: Recording, process: str, settings: Settings
) -> xr.Dataset:
    return trajectory(
        recording.steps,
        recording.series,
        recording.snapshot_steps,
        recording.snapshots,
        process=process,
        title=_title(process, settings),
        attributes={
            "status": recording.status,
            "compile_time_s": recording.compile_time,
            "step_time_s": recording.step_time,
        },
        kernels=[*dynamics.scale_invariant(optimizer)] if "alignment" in recording.series else (),
    )
