"""How far the stored sharpness is below the largest eigenvalue along a run, what it says of that, and what it costs.

    python benchmarks/sharpness_errors.py config/eos.yaml tanh/gd/seed1
    python benchmarks/sharpness_errors.py config/digits-mlp.yaml mlp/adam/seed1 --count 1

The reference is a search from random vectors at each snapshot, to a residual of 1e-3. Beside the stage as it is
stand checks of every snapshot, and of the first and the last one only.
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
    parser.add_argument(
        "--count", type=int, default=None, help="eigenvalues; default: of the config"
    )
    args = parser.parse_args()
    experiment = resolve(load(args.config))
    settings = experiment.run(args.run).settings
    dataset = labelled.load(experiment.dataset)
    trajectory = discrete_run(dataset, settings).isel(snapshot=slice(args.snapshots))
    how = {**experiment.sharpness} | ({"count": args.count} if args.count else {})
    exact, raw = reference(dataset, trajectory, settings, how["count"])
    print(
        "checked every | products a snapshot: all, unchecked, checked | below the largest: mean, most"
    )
    print(
        "  | stated: median, most | snapshots below by more than stated | raw: mean, most | status"
    )
    for span in (10**9, stage.SPAN, 1):
        stage.SPAN = span
        found = stage.sharpness(dataset, trajectory, settings, **how)
        products, checked = found["hessian_products"], found["missed_probability"].notnull()
        low = 1 - found["eigenvalue"].values[:, 0] / exact[:, 0]
        stated = found["error"].values[:, 0]
        raw_low = 1 - found["raw_sharpness"].values / raw
        costs = [float(products.where(which).mean()) for which in (True, ~checked, checked)]
        print(
            f"{span} | {', '.join(f'{cost:.1f}' for cost in costs)} | {low.mean():.2e}, {low.max():.2e}"
            f" | {np.median(stated):.2e}, {stated.max():.2e} | {np.sum(low > stated + 1e-3**2)}"
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
