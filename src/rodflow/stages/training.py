"""The training stage: discrete runs of the optimizer, with the states from which flows start."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import xarray as xr

from rodflow.config.settings import shared
from rodflow.dynamics.process import Progress, Recording, grid
from rodflow.dynamics.training import discrete, discrete_side_by_side
from rodflow.errors import RodflowError
from rodflow.optimizers.optimizer_map import OptimizerMap
from rodflow.stages.run import Settings, build, kept_by, label
from rodflow.store.checkpoint import Checkpoint, Scratch
from rodflow.store.trajectory import with_states

SMALL = 1e6
"""Samples times weights of runs that are faster as one vmapped batch on a CPU: larger ones keep a core busy alone, and
of minibatches a batch shuffles at every step (benchmarks/side_by_side.py)."""


class BatchError(RodflowError, ValueError):
    """Runs that cannot be trained together."""


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
        "snapshot_steps": grid(start, 1, steps, first["snapshots"]["every"]),
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
        how |= {"keep": keep, "checkpoint": Checkpoint(scratch, "runs")}
        recordings = iter(discrete_side_by_side(maps, weights, seeds=seeds, **how))
    else:
        recordings = (
            discrete(
                maps[run],
                weights[run],
                seed=seeds[run],
                keep=keep[run],
                checkpoint=Checkpoint(scratch, f"run{run}"),
                **how,
            )
            for run in range(len(settings))
        )
    for optimizer, at, recording, own in zip(maps, weights, recordings, settings, strict=True):
        if not recording.snapshots:  # diverged before the first one
            recording = replace(recording, snapshots={"weights": np.zeros((0, at.size), at.dtype)})
        yield _discrete(optimizer, recording, own)


def _discrete(optimizer: OptimizerMap, recording: Recording, settings: Settings) -> xr.Dataset:
    data = label(optimizer, recording, "discrete", settings)
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
