"""Replicas of a discrete run: the same optimizer from weights that differ at the start by rounding.

At the edge of stability training amplifies rounding. How far a replica goes from the run is therefore the floor under
the error of any model of the dynamics.
"""

from collections.abc import Iterator

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array

from rodflow.dynamics.discrete import Consecutive, consecutive
from rodflow.dynamics.process import Progress, Recording, grid
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.stages.again import AT_SNAPSHOT, AT_STEP, run_on
from rodflow.stages.run import Prepared, not_started
from rodflow.store.checkpoint import Checkpoint, Scratch, let_go
from rodflow.store.trajectory import described

PERTURBATION = 1e-7
"""Relative size of the difference between a run and its replica, about the rounding of float32."""


def replicas(
    run: Prepared,
    discrete: xr.Dataset,
    *,
    count: int,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """Run again `count` times, with the weights at t0 multiplied by 1 + 1e-7 N(0, 1), element by element.

    Args:
        run: ready to go.
        discrete: its discrete run, with its states around t0.
        count: how many replicas; each draws its own noise from the run's seed and its number.
        progress, scratch: told after every chunk of steps; where a killed job continues from.

    Returns:
        `weights` [replica, snapshot, parameter], midpoints as in the discrete run; `loss` [replica, step]. A replica
        that diverges is NaN from there on and the status says so, of the first one that does. All are NaN where the
        discrete run did not get to the start or is on minibatches.
    """
    start, steps = run.settings["start"], run.settings["steps"]
    snapshots = np.array(grid(start, start, steps, run.every))
    kept = Checkpoint(scratch, "replicas")
    losses = np.full((count, steps + 1 - start), np.nan, run.weights.dtype)
    nowhere = np.full((1, run.weights.size), np.nan, run.weights.dtype)
    status = "completed" if run.replayable(discrete) else not_started(discrete)
    for replica, recording in enumerate(_recordings(run, discrete, count, progress, scratch)):
        found: list[np.ndarray] = []
        if recording is not None:
            found = list(recording.snapshots["weights"])
            losses[replica, : len(recording.steps)] = recording.series["loss"]
            if recording.status != "completed" and status == "completed":
                status = f"replica {replica + 1} {recording.status}"
        for row in found:
            kept.append("weights", row[None])
            let_go(row)
        for _ in range(len(snapshots) - len(found)):
            kept.append("weights", nowhere)
    weights = kept.column("weights").reshape(count, len(snapshots), run.weights.size)
    return xr.Dataset(
        {
            "weights": (
                ("replica", "snapshot", "parameter"),
                weights,
                described("flat weights: midpoint of the replica's iterates"),
            ),
            "loss": (("replica", "step"), losses, described("full-batch loss of the replica")),
        },
        {
            "replica": ("replica", np.arange(1, count + 1), described("number of the replica")),
            "snapshot": ("snapshot", snapshots, AT_SNAPSHOT),
            "step": ("step", np.arange(start, steps + 1), AT_STEP),
        },
        {
            "title": f"replicas of {discrete.attrs['title']}",
            "status": status,
            "perturbation": PERTURBATION,
        },
    )


def _recordings(
    run: Prepared,
    discrete: xr.Dataset,
    count: int,
    progress: Progress | None,
    scratch: Scratch | None,
) -> Iterator[Recording | None]:
    """What each replica did; None where the discrete run diverged before the start."""
    around = run.replayable(discrete)
    start, steps = run.settings["start"], run.settings["steps"]
    for number in range(count):
        if around is None:
            yield None
            continue
        key = jax.random.fold_in(jax.random.key(run.settings["seed"]), number)
        yield run_on(
            run.optimizer,
            _perturbed(run.optimizer, around, key),
            start,
            steps,
            grid(start, start, steps, run.every),
            progress,
            keep=lambda snapshot: {"weights": snapshot["weights"]},
            checkpoint=Checkpoint(scratch, f"replica{number + 1}"),
        )


def _perturbed(
    optimizer: OptimizerMap, around: tuple[State, State, State], key: Array
) -> Consecutive:
    """The carry of a discrete run that goes on from slightly other weights at the middle state."""
    before, now, _ = around
    noise = jax.random.normal(key, now.weights.shape, now.weights.dtype)
    moved = now._replace(weights=now.weights * (1 + PERTURBATION * noise))
    return consecutive(optimizer, before, moved)
