"""What the measurements share: problems at the edge of stability, rounds side by side, gradients and their products."""

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import xarray as xr
from jax import Array

from rodflow.config.catalogue import FLOWS
from rodflow.config.experiment import Experiment, Run
from rodflow.config.settings import load, resolve
from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.process import (
    Process,
    _chunk,  # the compiled unit of work itself
)
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.problem import labelled
from rodflow.stages.run import prepare

CONFIG = Path(__file__).parents[1] / "config.yaml"
Call = Callable[[], Any]


@functools.cache
def experiment() -> Experiment:
    """The default one."""
    return resolve(load(CONFIG))


@functools.cache
def images() -> xr.Dataset:
    """Its data set."""
    return labelled.load(experiment().dataset)


def run_of(model: str, optimizer: str) -> Run:
    """Its run of this model and optimizer."""
    return experiment().run(f"{model}/{optimizer}/seed{experiment().runs[0].seed}")


@dataclass(frozen=True)
class Problem:
    """A run half-way through, where it is at the edge of stability: the map and three consecutive states."""

    optimizer: OptimizerMap
    states: tuple[State, State, State]


@functools.cache
def problem(model: str, optimizer: str) -> Problem:
    """Of the default experiment."""
    run = run_of(model, optimizer).settings
    made = prepare(images(), run)
    step, weights = made.optimizer, made.weights

    @eqx.filter_jit
    def train(step: OptimizerMap, weights: Array) -> State:
        return jax.lax.fori_loop(0, run["steps"] // 2, lambda _, z: step(z), step.initial(weights))

    before = train(step, weights)
    now = eqx.filter_jit(step)(before)
    return Problem(step, (before, now, eqx.filter_jit(step)(now)))


def process(name: str) -> Process:
    """The discrete run or a flow."""
    return Discrete() if name == "discrete" else FLOWS.load(name).process()


@functools.cache
def chunk(model: str, optimizer: str, name: str, steps: int) -> Call:
    """A compiled chunk of steps of a process that has settled from its start; it returns what is seen at each."""
    at, moves = problem(model, optimizer), process(name)
    key, first, length = jax.random.key(0), jnp.asarray(0), jnp.asarray(steps)
    carry = eqx.filter_jit(moves.begin)(at.optimizer, *at.states)
    for _ in range(2):
        carry, _ = _chunk(moves, at.optimizer, carry, key, first, length, steps)
        carry = moves.adapt(at.optimizer, carry)

    def call() -> dict[str, Array]:
        return jax.block_until_ready(_chunk(moves, at.optimizer, carry, key, first, length, steps))[
            1
        ]

    return call


@eqx.filter_jit
def _gradient(loss: Call, weights: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(loss)(weights)


@eqx.filter_jit
def _gradients(loss: Call, weights: Array, rate: Array, count: int) -> Array:
    def step(weights: Array, _: None) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(loss)(weights)
        return (
            weights - rate * gradient,
            value,
        )  # each needs the one before, so that none is left out

    return jax.lax.scan(step, weights, length=count)[0]


@eqx.filter_jit
def _products(loss: Call, weights: Array, vector: Array, count: int) -> Array:
    _, product = jax.linearize(jax.grad(loss), weights)

    def step(vector: Array, _: None) -> tuple[Array, None]:
        image = product(vector)
        return image / jnp.linalg.norm(image), None

    return jax.lax.scan(step, vector, length=count)[0]


@eqx.filter_jit
def _third_derivatives(loss: Call, weights: Array, vector: Array, count: int) -> Array:
    def step(vector: Array, _: None) -> tuple[Array, None]:
        def along(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
            return lambda w: jax.jvp(function, (w,), (vector,))[1]

        image = along(along(jax.grad(loss)))(weights)
        return image / jnp.linalg.norm(image), None

    return jax.lax.scan(step, vector, length=count)[0]


def gradients(loss: Call, weights: Array, count: int) -> Call:
    """`count` gradients of a loss in a row."""
    rate = jnp.asarray(1e-6)
    return lambda: jax.block_until_ready(_gradients(loss, weights, rate, count))


def derivatives(model: str, optimizer: str, order: int, count: int) -> Call:
    """`count` bare derivatives of the loss in a row: gradients, their products (2) or third derivatives (3)."""
    at = problem(model, optimizer)
    loss, weights = at.optimizer.loss, at.states[1].weights
    if order == 1:
        return gradients(loss, weights, count)
    function = _products if order == 2 else _third_derivatives
    vector = jnp.ones_like(weights)
    return lambda: jax.block_until_ready(function(loss, weights, vector, count))


def flops(loss: Call, weights: Array) -> float:
    """Floating-point operations of one gradient as XLA counts them in the compiled program, without transcendentals."""
    compiled = _gradient.lower(loss, weights).compile()
    return float(compiled.compiled.cost_analysis()["flops"])


def side_by_side(benchmark: Any, call: Call, beside: dict[str, Call], rounds: int = 7) -> Any:
    """Time a call by rounds, and before each round what it is to be compared with.

    Whatever else the machine does meets all of them alike, so that the ratio of their fastest rounds is fair.

    Args:
        benchmark: pytest-benchmark's fixture; the fastest round of each of the others goes into its `extra_info`, in
            seconds, under `beside`.
        call: what is measured.
        beside: what else, by name.
        rounds: how many, after one that does not count.

    Returns:
        What the call returned.
    """
    seconds: dict[str, list[float]] = {name: [] for name in beside}

    def others() -> None:
        for name, other in beside.items():
            began = time.perf_counter()
            other()
            seconds[name].append(time.perf_counter() - began)

    result = benchmark.pedantic(call, setup=others, rounds=rounds, warmup_rounds=1)
    benchmark.extra_info["beside"] = {
        name: min(times[1:] or times) for name, times in seconds.items()
    }
    return result


@dataclass(frozen=True)
class Spent:
    """Wall and processor time in seconds, and the largest resident memory in MiB, of a command; and what it said."""

    seconds: float
    processor: float
    memory: float
    said: str

    @property
    def numbers(self) -> dict[str, float]:
        """All but what it said."""
        return {"seconds": self.seconds, "processor": self.processor, "memory": self.memory}


# A process begins with the largest memory of the one that started it, so a small one stands between.
BETWEEN = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=sys.stderr)
seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
sys.exit(done.returncode)
"""


def spent(
    command: list[Any], folder: Path | None = None, status: int = 0, **environment: str
) -> Spent:
    """Run a command that ends with a status, with these variables in its environment, and none of JAX's."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN, *map(str, command)],
        cwd=folder,
        env=own | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    seconds, processor, memory = json.loads(done.stdout)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Spent(seconds, processor, memory / unit, done.stderr)
