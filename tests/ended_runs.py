"""Real runs that end as they are told to, and what the later stages make of them, called as the workflow calls them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import optax
import pytest
import xarray as xr

from rodflow.cli.jobs import Job
from rodflow.cli.main import parser
from rodflow.cli.stages import comparison, outputs, replay
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.optimizers.tuned import Tuned
from rodflow.problem import labelled, objective
from rodflow.stages import run as runs
from rodflow.stages.flow import follow
from rodflow.stages.progress import Clock
from rodflow.stages.run import Prepared
from rodflow.stages.sharpness import Search, along
from rodflow.stages.training import train
from rodflow.store import artifact
from synthetic_results import EVERY, START, STATES, STEPS

SETTINGS: dict[str, Any] = {
    "dataset": {"name": "digits", "samples": 20, "scaling": "unit", "size": 8},
    "batch_size": None,
    "criterion": "mse",
    "model": {"kind": "mlp", "hidden": [3], "activation": "tanh"},
    "seed": 0,
    "snapshots": {"every": EVERY},
    "start": START,
    "steps": STEPS,
}
OPTIMIZERS = {
    "gd": {"learning_rate": 0.5},
    "adam": {"learning_rate": 0.05, "b1": 0.5, "b2": 0.99, "eps": 1e-8},
}
FLOWS = ("stable", "rod")
NEVER = 10**6
REPLICAS = 2

ENDS: dict[str, dict[str, Any]] = {
    **STATES,
    "no progress": {"flat": True},
    "a flow before its first step": {"diverged": {"rod": START}},
    "one flow": {"diverged": {"rod": 57}, "flows": ("rod",)},
}
"""What may be wrong with a run: of `STATES`, and what only a run that was computed can be."""


@dataclass(frozen=True)
class Ended:
    """What the stages made of a run.

    Attributes:
        trajectories, sharpness: by process.
        made: the other artifacts by name, as they were read back.
    """

    trajectories: dict[str, xr.Dataset]
    sharpness: dict[str, xr.Dataset]
    made: dict[str, xr.Dataset]

    @property
    def discrete(self) -> xr.Dataset:
        return self.trajectories["discrete"]


@cache
def breaking(name: str) -> Callable[..., optax.GradientTransformation]:
    """An optimizer of the table whose step before step `at` is so long that the loss is infinite there."""

    def build(at: Any, **hyperparameters: Any) -> optax.GradientTransformation:
        inner = TABLE[name].build(**hyperparameters)

        def init(weights: Any) -> Any:
            return inner.init(weights), jnp.zeros([], jnp.int32)

        def update(gradient: Any, state: Any, weights: Any = None) -> Any:
            updates, memory = inner.update(gradient, state[0], weights)
            longer = jnp.where(state[1] + 1 >= at, 1e30, 1.0)
            return longer * updates, (memory, state[1] + 1)

        return optax.GradientTransformation(init, update)

    return build


@cache
def data() -> xr.Dataset:
    return labelled.load(SETTINGS["dataset"])


def prepared(settings: dict[str, Any], at: int, *, flat: bool = False) -> Prepared:
    """A run that diverges at a step, with numbers for what differs, so that all share their programs.

    Args:
        settings: of the run.
        at: the step.
        flat: whether its loss is a constant instead, so that every derivative is exactly zero.
    """
    name = settings["optimizer"]["name"]
    made = runs.prepare(data(), settings)
    loss, weights = objective.of_run(data(), settings)
    if flat:
        network = loss.network
        loss = replace(loss, network=lambda tree, inputs: 0 * network(tree, inputs))
    numbers = {"at": at, **OPTIMIZERS[name]}
    arrays = {key: jnp.asarray(value, weights.dtype) for key, value in numbers.items()}
    optimizer = optimizer_map(loss, Tuned(breaking(name), arrays), weights)
    return replace(made, optimizer=optimizer)


def cut(flow: xr.Dataset, stop: int) -> xr.Dataset:
    """A flow as it would be had its loss been lost at a step; the snapshot there is taken before."""
    short = flow.sel(step=slice(None, stop - 1), snapshot=slice(None, stop))
    return short.assign_attrs(status=f"diverged at step {stop}")


def ended(folder: Path, end: str, name: str = "gd", restart: int | None = None) -> Ended:
    """What the stages make of a run of some optimizer with some end, and with a `restart` if it is given."""
    how = ENDS[end]
    every = NEVER if end == "one snapshot" else EVERY
    optimizer = {"name": name, **OPTIMIZERS[name]}
    settings = SETTINGS | {"snapshots": {"every": every}, "optimizer": optimizer}
    stops = how.get("diverged", {})
    run = prepared(settings, stops.get("discrete", NEVER), flat=how.get("flat", False))
    discrete = next(train([run]))
    trajectories = {"discrete": discrete}
    for flow in how.get("flows", FLOWS):
        found = follow(run, discrete, flow)
        trajectories[flow] = cut(found, stops[flow]) if flow in stops else found
    change = how.get("change", lambda process, data: data)
    measure = how.get("measured", lambda process, data: data)
    trajectories = {process: change(process, one) for process, one in trajectories.items()}
    search, of = Search(1, 1e-2), (run.optimizer.loss, run.known, run.hyperparameters)
    sharpness = {
        process: measure(process, along(*of, one, search)) for process, one in trajectories.items()
    }
    store(folder, settings, trajectories, sharpness)
    with pytest.MonkeyPatch.context() as patched:  # of what no config can say
        patched.setattr(runs, "prepare", lambda *_: run)
        patched.setattr(objective, "of_run", lambda *_: (run.optimizer.loss, run.weights))
        made = called(
            folder, settings, list(trajectories), restart, compared=how.get("replays") is None
        )
    return Ended(trajectories, sharpness, made)


def store(
    folder: Path,
    settings: dict[str, Any],
    trajectories: dict[str, xr.Dataset],
    sharpness: dict[str, xr.Dataset],
) -> None:
    """Write what the stages read."""
    where = folder / "dataset.nc"
    of = settings["dataset"]
    artifact.write(data(), where, kind="dataset", root=folder, settings=of, status="completed")
    for kind, found in (("trajectory", trajectories), ("sharpness", sharpness)):
        for process, one in found.items():
            path = folder / ("sharpness" if kind == "sharpness" else "") / f"{process}.nc"
            status = one.attrs["status"]
            artifact.write(one, path, kind=kind, root=folder, settings=settings, status=status)


def called(
    folder: Path,
    settings: dict[str, Any],
    processes: list[str],
    restart: int | None,
    *,
    compared: bool,
) -> dict[str, xr.Dataset]:
    """The artifacts of the replays, the outputs and the comparison, with the replays in it or without."""
    common = {"settings": settings, "dataset": folder / "dataset.nc"}
    paths = [folder / f"{process}.nc" for process in processes]
    measured = [folder / "sharpness" / path.name for path in paths]
    replayed = [folder / f"{kind}.nc" for kind in replay.KINDS]
    of_discrete = {"discrete": paths[0], "sharpness": measured[0]}
    choices = {"restart": restart, "replicas": REPLICAS}
    call("replay", replay, folder, **common, **of_discrete, **choices, output=replayed)
    call("outputs", outputs, folder, **common, trajectories=paths, output=folder / "outputs.nc")
    call(
        "comparison",
        comparison,
        folder,
        settings=[settings],
        trajectories=paths,
        sharpness=measured,
        replays=replayed[:2] if compared else [],
        output=[folder / "comparison.nc"],
    )
    kinds = (*replay.KINDS, "outputs", "comparison")
    return {kind: artifact.read(folder / f"{kind}.nc", kind=kind) for kind in kinds}


def call(name: str, stage: Any, folder: Path, **options: Any) -> None:
    """Run a stage with the words of the workflow."""
    words = ["stage", name, "--root", str(folder)]
    for option, value in options.items():
        parts = value if isinstance(value, list) and option != "settings" else [value]
        texts = [str(part) if isinstance(part, Path) else json.dumps(part) for part in parts]
        if option == "settings" and isinstance(value, list):
            texts = [json.dumps(value)]
        words += [f"--{option}", *texts]
    args = parser().parse_args(words)
    stage.run(Job(args, Clock(name, STEPS), lambda: name))
