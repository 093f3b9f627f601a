"""How far the stored sharpness is below the largest eigenvalue along a run, and what it costs.

    python benchmarks/sharpness_errors.py config/eos.yaml tanh/gd/seed1

The reference is a search from random vectors at each snapshot, to a residual of 1e-3. Beside the stage as it is
stand checks of every snapshot, and of the last one only.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from rodflow.config.settings import load, resolve
from rodflow.linalg.curvature import top_eigenpairs
from rodflow.linalg.eigensolver import random_guess
from rodflow.problem import labelled
from rodflow.stages import sharpness as stage
from rodflow.stages.run import Settings, prepare
from rodflow.stages.training import discrete_run

FOLLOWED = 6
"""Eigenpairs that the reference has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("run")
    parser.add_argument("--snapshots", type=int, default=None, help="the first so many only")
    args = parser.parse_args()
    experiment = resolve(load(args.config))
    settings = experiment.run(args.run).settings
    dataset = labelled.load(experiment.dataset)
    trajectory = discrete_run(dataset, settings).isel(snapshot=slice(args.snapshots))
    count = experiment.sharpness["count"]
    exact, raw = reference(dataset, trajectory, settings, count)
    print("checked every | products a snapshot | below the largest: mean, most | raw: mean, most")
    for every in (10**9, stage.CHECKED_EVERY, 1):
        stage.CHECKED_EVERY = every
        found = stage.sharpness(dataset, trajectory, settings, **experiment.sharpness)
        low = 1 - found["eigenvalue"].values[:, 0] / exact[:, 0]
        raw_low = 1 - found["raw_sharpness"].values / raw
        name = every if every < 10**9 else "never but at the end"
        print(
            f"{name} | {float(found['hessian_products'].mean()):.1f} | {low.mean():.2e}, {low.max():.2e}"
            f" | {raw_low.mean():.2e}, {raw_low.max():.2e} | {found.attrs['status']}"
        )


def reference(
    dataset: xr.Dataset, trajectory: xr.Dataset, settings: Settings, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of A, [snapshot, eigenvalue], and of H, [snapshot]."""
    run = prepare(dataset, settings)
    found = []
    for index in range(trajectory.sizes["snapshot"]):
        here = trajectory.isel(snapshot=index)
        weights = jnp.asarray(here["weights"].values)
        found.append(
            top_eigenpairs(
                run.optimizer.loss,
                weights,
                jnp.asarray(run.preconditioner(here)),
                random_guess(jax.random.key(index), weights.size, FOLLOWED),
                1e-3,
                count=count,
                key=jax.random.key(index + 10**6),
            )
        )
    return np.array([one.values for one in found]), np.array([one.raw_value for one in found])


if __name__ == "__main__":
    main()
