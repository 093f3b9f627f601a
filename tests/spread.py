"""Program of test_compute.py: results with samples over devices and in chunks, against those without either.

Prints, as JSON, the largest difference of each result relative to its largest value.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from problem.test_objective import KINDS, MLP, dataset
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.training import discrete
from rodflow.linalg.curvature import hessian_products
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.problem import objective
from rodflow.stages.flow import flow_run
from rodflow.stages.training import discrete_run
from small import jit

DATA = dataset(samples=28)
WAYS = {
    "devices": {"devices": 4},
    "chunks": {"samples_at_once": 10},  # 10, 10 and 8, which overlaps
    "both": {"devices": 4, "samples_at_once": 3},  # of 7: 3, 3 and 1
}


def difference(found, expected) -> float:
    """The largest of all leaves, each relative to its largest value."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(np.nanmax(np.abs(a - b)) / np.nanmax(np.abs(b))) for a, b in pairs)


def derivatives(model, **way):
    """Loss, gradient and a Hessian-vector product, all of one program."""
    loss, weights = objective.build(DATA, model, "cross_entropy", 0, jnp.float64, **way)

    @jit
    def all_of(loss, weights):
        direction = jnp.cos(jnp.arange(weights.size))[:, None]
        return *jax.value_and_grad(loss)(weights), hessian_products(loss, weights)(direction)

    return jax.device_get(all_of(loss, weights))


def run_and_flow(**way):
    """Weights of a discrete run and of the rod flow that starts from it, double precision."""
    loss, weights = objective.build(DATA, MLP, "mse", 0, jnp.float64, **way)
    optimizer = optimizer_map(loss, TABLE["gd"].build(learning_rate=0.5), weights)
    run = discrete(optimizer, weights, steps=12, snapshot_steps=[4, 12], hold=[4])
    around = tuple(run.held[4][:3])
    flow = integrate("rod_unit_step", optimizer, around, start=4, stop=12, every=8)
    batches = discrete(optimizer, weights, steps=4, snapshot_steps=[4], batch_size=12, seed=1)
    return {
        "run": run.snapshots["weights"],
        "flow": flow.snapshots["weights"],
        "batches": batches.snapshots["weights"],
    }


def through_the_stages(**way):
    """Run and flow as the workflow makes them, single precision."""
    settings = {
        "batch_size": None,
        "criterion": "mse",
        "dataset": {"name": "digits"},
        "model": MLP,
        "optimizer": {"name": "gd", "learning_rate": 0.5},
        "seed": 0,
        "snapshots": {"every": 5},
        "start": 5,
        "steps": 20,
    }
    settings |= {"compute": way} if way else {}
    run = discrete_run(DATA, settings)
    flow = flow_run(DATA, run, "rod_unit_step", settings)
    return run["weights"].values, flow["weights"].values


def main() -> None:
    if sys.argv[1:] == ["stages"]:
        print(json.dumps(difference(through_the_stages(**WAYS["both"]), through_the_stages())))
        return
    found = {}
    jax.config.update("jax_enable_x64", True)
    for model in KINDS:
        plain = derivatives(model)
        for name, way in WAYS.items() if model is MLP else [("both", WAYS["both"])]:
            found[f"{model['kind']} {name}"] = difference(derivatives(model, **way), plain)
    plain, followed = run_and_flow(), run_and_flow(**WAYS["both"])
    for part in plain:
        found[f"{part} both"] = difference(followed[part], plain[part])
    loss, _ = objective.build(DATA, MLP, "mse", 0, devices=4)
    found["samples of each device"] = [len(share.data) for share in loss.inputs.addressable_shards]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
