"""How much of a flow's distance to its run is rounding: the same run in single and in double precision.

    python benchmarks/precision.py config/any-optimizer.yaml mlp/muon/seed1 --rates 0.005 0.0025 0.00125

One run of a config, at its own learning rate or at others, from the same initial weights in both precisions. Each flow
starts from the run's own states; a replica is the run again from weights that differ at that place by rounding (1e-7 of
themselves in single precision, 1e-16 in double). Distances are those of the claims: to the run's midpoint, over the
distance that this has travelled from the start of the flows; at the last snapshot, and the median over all of them. A
rod is as long as it is at the last snapshot, over its longest.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rodflow.config.settings import load, resolve
from rodflow.dynamics.discrete import consecutive
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.process import Recording, grid
from rodflow.dynamics.training import discrete
from rodflow.optimizers.optimizer_map import OptimizerMap, State, optimizer_map
from rodflow.problem import labelled, objective
from rodflow.stages.again import run_on
from rodflow.stages.run import optimizer_of
from rodflow.store.checkpoint import Checkpoint

ROUNDING = {"single": 1e-7, "double": 1e-16}
States = tuple[State, State, State]


def problem(settings: dict[str, Any], dtype: jnp.dtype) -> tuple[OptimizerMap, Array]:
    """The map of a run and its initial weights, all its numbers of this type."""
    what = settings["model"], settings["criterion"], settings["seed"]
    data, own = labelled.load(settings["dataset"]), settings.get("own")
    loss, weights = objective.build(data, *what, dtype, own=own)
    known, hyperparameters = optimizer_of(settings)
    transformation = known.tuned(weights.dtype, **hyperparameters)
    unravel = None if transformation.shapeless else loss.unravel
    return optimizer_map(loss, transformation, weights, unravel=unravel), weights


def replica(optimizer: OptimizerMap, states: States, rounding: float, at: list[int]) -> Recording:
    """The run again, from weights that differ at its start by rounding."""
    before, now, _ = states
    noise = jax.random.normal(jax.random.key(0), now.weights.shape, now.weights.dtype)
    moved = now._replace(weights=now.weights * (1 + rounding * noise))
    return run_on(
        optimizer,
        consecutive(optimizer, before, moved),
        at[0],
        at[-1],
        at,
        None,
        keep=lambda snapshot: {"weights": snapshot["weights"]},
        checkpoint=Checkpoint(None, "replica"),
    )


def distances(settings: dict[str, Any], flows: list[str], precision: str) -> Iterator[str]:
    """One row for the replica and one for each flow."""
    optimizer, weights = problem(settings, jnp.float64 if precision == "double" else jnp.float32)
    start, steps, every = settings["start"], settings["steps"], settings["snapshots"]["every"]
    at = grid(start, start, steps, every)
    run = discrete(optimizer, weights, steps=steps, snapshot_steps=at, hold=[start])
    states = run.held[start][:3]
    middle = run.snapshots["weights"]
    travelled = np.linalg.norm(middle[1:] - middle[0], axis=1)
    long = np.asarray(run.series["rod_length"])[start:]
    there = {"replica": replica(optimizer, states, ROUNDING[precision], at)}
    for flow in flows:
        there[flow] = integrate(flow, optimizer, states, start=start, stop=steps, every=every)
    for name, found in there.items():
        row = found.snapshots["weights"]
        away = np.linalg.norm(row[1:] - middle[1 : len(row)], axis=1) / travelled[: len(row) - 1]
        numbers = [away[-1], np.median(away), long[-1] / np.nanmax(long)]
        cells = [f"{settings['optimizer']['learning_rate']:g}", precision, name, found.status]
        yield f"| {' | '.join(cells + [f'{number:.2g}' for number in numbers])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("run", help="MODEL/OPTIMIZER/seedN")
    parser.add_argument("--rates", type=float, nargs="+", help="default: that of the run")
    parser.add_argument("--start", type=int, help="of the flows; default: that of the run")
    parser.add_argument("--precisions", nargs="+", default=[*ROUNDING], choices=ROUNDING)
    parser.add_argument("--flows", nargs="+", default=["rod_unit_step", "stable"])
    options = parser.parse_args()
    settings = resolve(load(options.config)).run(options.run).settings
    settings = settings | {"start": options.start or settings["start"]}
    head = "rate", "precision", "", "status", "at the end", "median", "rod at the end"
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for rate in options.rates or [settings["optimizer"]["learning_rate"]]:
        chosen = settings | {"optimizer": settings["optimizer"] | {"learning_rate": rate}}
        for precision in options.precisions:
            with jax.enable_x64(precision == "double"):
                for row in distances(chosen, options.flows, precision):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
