"""The training stage: discrete runs of the optimizer, with the states from which flows start."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypedDict

import jax
import numpy as np
import xarray as xr

from rodflow.config.experiment import shared
from rodflow.config.values import Settings
from rodflow.dynamics.process import Progress, Recording, grid
from rodflow.dynamics.training import discrete, discrete_side_by_side
from rodflow.errors import RodflowError
from rodflow.stages.run import Prepared, prepare
from rodflow.store.checkpoint import Checkpoint, Scratch
from rodflow.store.trajectory import with_states

SMALL = 1e6
"""Samples times weights of runs that are faster as one vmapped batch on a CPU: larger ones keep a core busy alone, and
of minibatches a batch shuffles at every step (benchmarks/side_by_side.py)."""


class BatchError(RodflowError, ValueError):
    """Runs that cannot be trained together."""


class _How(TypedDict):
    """The arguments that runs of one batch share, whether they are side by side or not."""

    steps: int
    snapshot_steps: Sequence[int]
    hold: Sequence[int]
    batch_size: int | None
    progress: Progress | None


def discrete_run(
    dataset: xr.Dataset, settings: Settings, progress: Progress | None = None
) -> xr.Dataset:
    """The discrete run of one set of settings as a trajectory: see `train`.

    Args:
        dataset: the training data, see `rodflow.stages.run.prepare`.
        settings: of a `rodflow.config.experiment.Run`.
        progress: called after every chunk of steps.
    """
    return next(train([prepare(dataset, settings)], progress))


def discrete_runs(
    dataset: xr.Dataset,
    settings: Sequence[Settings],
    progress: Progress | None = None,
    scratch: Scratch | None = None,
    *,
    side_by_side: bool | None = None,
) -> Iterator[xr.Dataset]:
    """The discrete runs of several settings, on one data set: see `train`.

    Args:
        dataset: the training data, see `rodflow.stages.run.prepare`.
        settings: of each run.
        progress, scratch, side_by_side: see `train`.

    Yields:
        The trajectories, in order.

    Raises:
        BatchError: the runs differ in more than hyperparameters and seed.
    """
    runs = [prepare(dataset, one) for one in settings]
    yield from train(runs, progress, scratch, side_by_side=side_by_side)


def train(
    runs: Sequence[Prepared],
    progress: Progress | None = None,
    scratch: Scratch | None = None,
    *,
    side_by_side: bool | None = None,
) -> Iterator[xr.Dataset]:
    """Train several runs that differ in hyperparameters and seed only, with one compiled program.

    Args:
        runs: ready to go.
        progress: called after every chunk of steps.
        scratch: where a killed job continues from.
        side_by_side: as one vmapped batch, or one after the other. None: as a batch where that is faster, see `SMALL`.

    Yields:
        The trajectories, in order.

    Raises:
        BatchError: the runs differ in something else.
    """
    if len({json.dumps(shared(run.settings), sort_keys=True) for run in runs}) > 1:
        raise BatchError("runs of one batch may differ in hyperparameters and seed only")
    first = runs[0].settings
    how: _How = {
        "steps": first["steps"],
        "snapshot_steps": grid(first["start"], 1, first["steps"], runs[0].every),
        "hold": [first["start"]],
        "batch_size": first["batch_size"],
        "progress": progress,
    }
    if side_by_side is None:
        side_by_side = len(runs) > 1 and _faster_side_by_side(runs[0])
    if side_by_side and len(runs) > 1:
        recordings = iter(
            discrete_side_by_side(
                [run.optimizer for run in runs],
                [run.weights for run in runs],
                seeds=[run.settings["seed"] for run in runs],
                keep=[run.keep for run in runs],
                checkpoint=Checkpoint(scratch, "runs"),
                **how,
            )
        )
    else:
        recordings = (
            discrete(
                run.optimizer,
                run.weights,
                seed=run.settings["seed"],
                keep=run.keep,
                checkpoint=Checkpoint(scratch, f"run{number}"),
                **how,
            )
            for number, run in enumerate(runs)
        )
    for run, recording in zip(runs, recordings, strict=True):
        yield _labelled(run, recording)


def _faster_side_by_side(run: Prepared) -> bool:
    settings = run.settings
    if "compute" in settings:  # which is there for want of memory
        return False
    samples = getattr(run.optimizer.loss, "samples", 1)  # a loss of one's own may not say
    small = settings["batch_size"] is None and samples * run.weights.size < SMALL
    return small or jax.default_backend() != "cpu"


def _labelled(run: Prepared, recording: Recording) -> xr.Dataset:
    if not recording.snapshots:  # diverged before the first one
        none = np.zeros((0, run.weights.size), run.weights.dtype)
        recording = replace(recording, snapshots={"weights": none})
    data = run.label(recording, "discrete")
    start = run.settings["start"]
    if run.settings["batch_size"] is not None:
        for name in ("loss", "gradient_norm"):
            full = data[name].attrs["long_name"]
            data[name].attrs["long_name"] = full.replace("full-batch", "the step's batch:", 1)
    if start not in recording.held:
        return data
    held = recording.held[start]
    around = held if run.settings["batch_size"] is None else held.run
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), around.before, around.now, around.after
    )
    leaves = [
        (jax.tree_util.keystr(path, simple=True, separator="."), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(stacked)
    ]
    return with_states(data, leaves, start)
