"""The central flow beside the published JAX code of one of its authors, github.com/alex-damian/central_flows_jax.

    git clone https://github.com/alex-damian/central_flows_jax PATH
    python -m pip install cvxpy cvxopt
    python benchmarks/published_central_flow.py --published PATH/src

Both follow a run of an MLP on digits from the same weights and second moment, by turns in chunks of ten unit steps,
each with its own number of Euler steps. Errors and distances are geometric means over the snapshots from the onset on,
and in brackets at the end; sharpness is measured alike along both. The last line is local: both take a unit step from
each such place of ours, and what they differ by is divided by how far ours departs from a stable step; median and
largest. One thread each: where other work shares the cores, the threads of OpenBLAS wait for each other.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ |= dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rodflow.dynamics.flows.central import Central, CentralFlow, inverse_preconditioner
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.process import _chunk, grid
from rodflow.dynamics.training import discrete
from rodflow.linalg.eigensolver import largest_eigenpairs, random_guess
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.problem import labelled
from rodflow.stages.run import prepare

EVERY, START = 10, 20
# Pixels that are always zero leave weights without a gradient, whose second moment makes NaN of the published flow.
SCALINGS = {"gd": "unit", "rmsprop": "standard"}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "gd": {"name": "gd", "learning_rate": 0.16},
    "rmsprop": {"name": "rmsprop", "learning_rate": 6.4e-4, "b2": 0.99, "eps": 1e-8},
}
COUNTS = ("gradients", "hessian_products", "third_derivatives")
Unit = tuple[Central, dict[str, Array]]


class Ours:
    """Chunks of up to ten unit steps, compiled as one program."""

    def __init__(self, optimizer: OptimizerMap) -> None:
        self.optimizer, self.process = optimizer, CentralFlow()

    def begin(self, states: tuple[State, State, State]) -> Central:
        return eqx.filter_jit(self.process.begin)(self.optimizer, *states)

    def go(self, carry: Central, length: int) -> Unit:
        where = jax.random.key(0), jnp.asarray(0), jnp.asarray(length)
        carry, seen = _chunk(self.process, self.optimizer, carry, *where, EVERY)
        return self.process.adapt(self.optimizer, carry), seen


class Published:
    """The same by the published code, between states of ours."""

    def __init__(self, optimizer: OptimizerMap, chosen: dict[str, Any], like: State) -> None:
        from central_flows_jax import Flow, GradientDescent, RMSProp

        rate, self.like = chosen["learning_rate"], like
        self.adaptive = chosen["name"] != "gd"
        if self.adaptive:
            rule = RMSProp(rate, chosen["b2"], chosen["eps"], bias_correction=True)
            rule.initialize_state(like.weights)
        else:
            rule = GradientDescent(rate)
            rule.init(like.weights)
        self.flow = Flow(lambda w: optimizer.loss(w), rule)
        self.scale = eqx.filter_jit(
            lambda z: jnp.sqrt(inverse_preconditioner(optimizer, z))[:, None]
        )

    def there(self, carry: Central) -> tuple[Array, Array, Array]:
        """Weights, second moment before count, and directions in the metric of the weights."""
        state = carry.state
        memory = jax.tree.leaves(state.memory)[::-1] if self.adaptive else [jnp.zeros(1)]
        flat = jnp.concatenate([jnp.ravel(leaf) for leaf in memory])
        return state.weights, flat, carry.directions * self.scale(state)

    def here(self, weights: Array, flat: Array, directions: Array) -> Central:
        leaves = [flat[-1], flat[:-1]] if self.adaptive else []
        state = State(weights, jax.tree.unflatten(jax.tree.structure(self.like.memory), leaves))
        return Central(state, directions / self.scale(state), jnp.asarray(0))

    def go(self, carry: Central, length: int, **how: int) -> Unit:
        at, counts = self.there(carry), []
        for _ in range(length):
            at, seen = self.flow.central(*at, **how)
            counts.append(seen["counts"])
        found = jax.tree.map(lambda *x: jnp.stack(x), *counts)
        steps = jnp.full(length, how.get("substeps", 4))
        return self.here(*at), dict(zip(COUNTS, (steps, found["d2L"], found["d3L"]), strict=True))

    def stable(self, carry: Central) -> Central:
        return self.here(*self.flow.stable(*self.there(carry))[0])


def run(
    flow: Ours | Published, carry: Central, chunks: int
) -> Iterator[tuple[Central, dict, float]]:
    """Where the flow is after each chunk, what it counted in it and the seconds that it took."""
    for _ in range(chunks):
        began = time.perf_counter()
        carry, seen = jax.block_until_ready(flow.go(carry, EVERY))
        seconds = time.perf_counter() - began
        yield carry, {name: float(seen[name].sum()) for name in COUNTS}, seconds


@eqx.filter_jit
def sharpness(optimizer: OptimizerMap, state: State) -> Array:
    """The largest eigenvalue of P^{-1/2} H P^{-1/2}, over the threshold."""
    scale = jnp.sqrt(inverse_preconditioner(optimizer, state))[:, None]
    _, product = jax.linearize(jax.grad(optimizer.loss), state.weights)
    guess = random_guess(jax.random.key(1), state.weights.size, 6)
    columns = jax.vmap(product, 1, 1)
    return largest_eigenpairs(lambda u: scale * columns(scale * u), guess, 1e-3).values[0] / 2


def mean(values: np.ndarray) -> str:
    return f"{np.exp(np.log(values).mean()):.2g} ({values[-1]:.2g})"


def compare(chosen: dict[str, Any], directions: int) -> dict[str, list[str]]:
    """The rows of the table: what -> of ours and of the published code."""
    made = prepare(labelled.load(chosen["dataset"]), chosen)
    optimizer, steps = made.optimizer, chosen["steps"]
    at = grid(START, START, steps, EVERY)
    iterates = discrete(optimizer, made.weights, steps=steps, snapshot_steps=at, hold=[START])
    states = iterates.held[START][:3]
    stable = integrate("stable", optimizer, states, start=START, stop=steps, every=EVERY)
    middle = iterates.snapshots["weights"]

    began = time.perf_counter()
    ours = Ours(optimizer)
    begin = jax.block_until_ready(ours.begin(states))
    first = time.perf_counter() - began
    began = time.perf_counter()
    theirs = Published(optimizer, chosen["optimizer"], begin.state)
    guess = random_guess(jax.random.key(0), begin.state.weights.size, directions)
    other = theirs.here(*theirs.there(begin._replace(directions=guess)))
    firsts = [first, time.perf_counter() - began]
    both = zip(*(run(f, c, len(at) - 1) for f, c in ((ours, begin), (theirs, other))), strict=True)
    pairs = list(both)

    memory = iterates.snapshots["memory"]
    seen = [State(w, jax.tree.map(lambda x, i=i: x[i], memory)) for i, w in enumerate(middle)]
    ratio = np.array([sharpness(optimizer, state) for state in seen])
    onset = int(np.flatnonzero(ratio >= 1)[0])
    rows: dict[str, list[str]] = {}
    travelled = np.linalg.norm(middle[1:] - middle[0], axis=1)
    weights = [np.array([pair[k][0].state.weights for pair in pairs]) for k in (0, 1)]
    later = slice(onset - 1, None)  # of arrays without the start
    away = np.linalg.norm(weights[0] - stable.snapshots["weights"][1:], axis=1)
    apart = np.linalg.norm(weights[1] - weights[0], axis=1)
    errors = [np.linalg.norm(w - middle[1:], axis=1) / travelled for w in weights]
    units = steps - START
    seconds = np.array([[one[2] for one in pair] for pair in pairs])
    usual = np.median(seconds[later], axis=0) / EVERY
    rows["onset, last step"] = [f"{at[onset]}, {steps}", "the same"]
    rows["tracking error"] = [mean(error[later]) for error in errors]
    rows["apart over ours from stable"] = ["", mean((apart / away)[later])]
    sharp = [[float(sharpness(optimizer, p[k][0].state)) for p in pairs][later] for k in (0, 1)]
    rows["sharpness over threshold, lowest to highest"] = [
        f"{min(row):.3f} to {max(row):.3f}" for row in sharp
    ]
    for name in COUNTS:
        totals = [sum(pair[k][1][name] for pair in pairs) / units for k in (0, 1)]
        rows[f"{name.replace('_', ' ')} a unit step"] = [f"{x:.1f}" for x in totals]
    rows["ms a unit step from the onset on"] = [f"{1e3 * x:.1f}" for x in usual]
    fold = np.median(seconds[later, 1] / seconds[later, 0])
    rows["published over ours, by turns"] = ["", f"{fold:.1f}"]
    rows["s from nothing, compiled with it"] = [
        f"{a + b:.1f}" for a, b in zip(seconds.sum(axis=0), firsts, strict=True)
    ]
    local = []
    for carry in [pair[0][0] for pair in pairs][onset - 1 : -1]:
        one, two = ours.go(carry, 1)[0], theirs.go(carry, 1, substeps=2)[0]
        base = np.asarray(theirs.stable(carry).state.weights)
        local.append(
            np.linalg.norm(one.state.weights - two.state.weights)
            / np.linalg.norm(one.state.weights - base)
        )
    rows["a unit step of two Euler steps, apart"] = [
        "",
        f"{np.median(local):.2g}, {max(local):.2g}",
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, required=True, help="the folder of its sources")
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS), choices=OPTIMIZERS)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--hidden", type=int, nargs="+", default=[32, 32])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--directions", type=int, default=5, help="that the published code tracks")
    options = parser.parse_args()
    sys.path.insert(0, str(options.published))
    for name in options.optimizers:
        chosen = {
            "batch_size": None,
            "criterion": "mse",
            "dataset": {
                "name": "digits",
                "samples": options.samples,
                "size": 8,
                "scaling": SCALINGS[name],
            },
            "model": {"kind": "mlp", "hidden": options.hidden, "activation": "tanh"},
            "optimizer": OPTIMIZERS[name],
            "seed": 1,
            "snapshots": {"every": EVERY},
            "start": START,
            "steps": options.steps,
        }
        print(f"| {name} | ours | published |\n| --- | --- | --- |")
        for what, cells in compare(chosen, options.directions).items():
            print(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
