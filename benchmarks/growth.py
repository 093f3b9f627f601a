"""How time per step and memory grow with parameters, samples and steps, and what larger networks would cost.

    python benchmarks/growth.py         # a few minutes on one core; writes its section of docs/scaling.md

Gradient descent on digits, an MLP of two layers of equal width, one thread, time of the processor; all processes of a
size in turn, the fastest of a few rounds, compilation left out. Memory is what XLA reserves for temporaries, which is
exact; with the number of steps it is the peak of a process of its own.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
os.environ["NPROC"] = "1"

import argparse
import importlib.metadata
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.discrete import Discrete
from rodflow.linalg import subspace
from rodflow.linalg.curvature import hessian_products
from rodflow.linalg.eigensolver import random_guess
from rodflow.problem import labelled, objective
from rodflow.stages.flow import flow_run
from rodflow.stages.run import prepare
from rodflow.stages.training import discrete_run

DOCUMENT = Path(__file__).parents[1] / "docs/scaling.md"
BEGIN, END = "<!-- made by benchmarks/growth.py -->\n", "<!-- end -->\n"
WIDTHS, SAMPLES = (32, 64, 128, 256), (225, 450, 900, 1797)
WIDTH, IMAGES = 32, 900  # of the sizes at which the other one grows
STEPS, ROUNDS, BLOCKS = 30, 3, 10  # a macro step is up to some tens of steps long
LENGTHS, LENGTHS_WIDTH = (250, 1000, 4000), 64
FLOW_NAMES = ("stable", "rod_unit_step", "rod_macro", "rod", "central")
TIMES = (10, 1000)


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of temporaries of a step, or of a block of Hessian products; what it evaluates."""

    seconds: float
    memory: int
    gradients: float = 0.0
    products: float = 0.0


def settings(width: int, samples: int, steps: int = 20) -> dict[str, Any]:
    """Of a run of gradient descent, with a step size at which no width diverges."""
    return {
        "batch_size": None,
        "criterion": "mse",
        "dataset": {"name": "digits", "samples": samples, "size": 8, "scaling": "unit"},
        "model": {"kind": "mlp", "hidden": [width, width], "activation": "tanh"},
        "optimizer": {"name": "gd", "learning_rate": 0.1 * WIDTH / width},
        "seed": 1,
        "snapshots": {"every": 10},
        "start": 10,
        "steps": steps,
    }


def costs(width: int, samples: int) -> tuple[int, dict[str, Cost]]:
    """How many parameters there are, and what each process costs."""
    chosen = settings(width, samples)
    made = prepare(labelled.load(chosen["dataset"]), chosen)
    optimizer, weights = made.optimizer, made.weights

    @jax.jit
    def consecutive(optimizer: Any, weights: Any) -> tuple:
        state = jax.lax.fori_loop(
            0, 20, lambda _, state: optimizer(state), optimizer.initial(weights)
        )
        following = optimizer(state)
        return state, following, optimizer(following)

    states = consecutive(optimizer, weights)
    processes = {"discrete": Discrete()} | {name: FLOWS.load(name).process() for name in FLOW_NAMES}
    programs: dict[str, Callable[[], Any]] = {}
    memory = {}
    for name, process in processes.items():

        def steps(optimizer: Any, carry: Any, keys: Any, process: Any = process) -> Any:
            return jax.lax.scan(
                lambda carry, key: process.advance(optimizer, carry, key), carry, keys
            )

        begin = jax.jit(
            lambda optimizer, states, process=process: process.begin(optimizer, *states)
        )
        given = (optimizer, begin(optimizer, states), jax.random.split(jax.random.key(0), STEPS))
        compiled = jax.jit(steps).lower(*given).compile()
        memory[name] = compiled.memory_analysis().temp_size_in_bytes
        programs[name] = partial(compiled, *given)
    guess, ones = random_guess(jax.random.key(0), weights.size, 3), jnp.ones_like(weights)

    def search(loss: Any, weights: Any, ones: Any, guess: Any) -> Any:
        _, product = jax.linearize(jax.grad(loss), weights)
        how = {"count": 3, "tracked": 3, "raw": False, "most": 3 * BLOCKS}
        return subspace.search(product, ones, guess, jnp.zeros([]), **how)

    given = (optimizer.loss, states[1].weights, ones, guess)
    compiled = jax.jit(search).lower(*given).compile()
    memory["sharpness"] = compiled.memory_analysis().temp_size_in_bytes
    programs["sharpness"] = partial(compiled, *given)

    best = dict.fromkeys(programs, np.inf)
    results = {}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            began = time.process_time()
            results[name] = jax.block_until_ready(program())
            best[name] = min(best[name], time.process_time() - began)
    for name in processes:
        if not np.isfinite(results[name][1]["loss"]).all():
            raise RuntimeError(f"{name} diverges at width {width}: its time means nothing")
    found = {}
    for name, seconds in best.items():
        seen = {} if name == "sharpness" else results[name][1]
        each = BLOCKS if name == "sharpness" else STEPS
        gradients = float(np.mean(seen.get("gradients", 1.0))) if seen else 0.0
        products = float(np.mean(seen.get("hessian_products", 0.0))) if seen else 3.0
        found[name] = Cost(seconds / each, memory[name], gradients, products)
    return weights.size, found


def length(steps: int) -> dict[str, float]:
    """Seconds and peak memory in bytes of a discrete run and its rod flow, in this process."""
    chosen = settings(LENGTHS_WIDTH, SAMPLES[0], steps) | {"snapshots": {"every": 2}}
    data = labelled.load(chosen["dataset"])
    began = time.process_time()
    run = discrete_run(data, chosen)
    flow_run(data, run, "rod_unit_step", chosen)
    scale = 1024 if sys.platform == "linux" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return {"seconds": time.process_time() - began, "memory": peak}


def chunks() -> list[str]:
    """What it gives to work on a part of the samples at a time, for a convolutional network."""
    data = labelled.load(settings(1, 1000)["dataset"])
    rows = []
    for at_once in (None, 250, 100, 25):
        loss, weights = objective.build(
            data, {"kind": "cnn", "channels": [8, 16]}, "mse", 0, samples_at_once=at_once
        )
        cells = []
        for program in (
            lambda loss, weights: jax.value_and_grad(loss)(weights),
            lambda loss, weights: hessian_products(loss, weights)(jnp.stack([weights] * 3, 1)),
        ):
            compiled = jax.jit(program).lower(loss, weights).compile()
            best = np.inf
            for _ in range(1 + ROUNDS):
                began = time.process_time()
                jax.block_until_ready(compiled(loss, weights))
                best = min(best, time.process_time() - began)
            mib = compiled.memory_analysis().temp_size_in_bytes / 2**20
            cells += [f"{mib:.1f}", f"{1e3 * best:.1f}"]
        rows.append(f"| {at_once or 'all'} | " + " | ".join(cells) + " |")
    return rows


def slopes(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Of log value over log size, by least squares: over all sizes, and over the last three."""
    x, y = np.log(sizes), np.log(values)
    return float(np.polyfit(x, y, 1)[0]), float(np.polyfit(x[-3:], y[-3:], 1)[0])


def predicted(size: float, sizes: Sequence[float], values: Sequence[float]) -> float:
    """Between the sizes measured along straight lines in logarithms, beyond them with the slope of the last three."""
    if size <= sizes[-1]:
        return float(np.exp(np.interp(np.log(size), np.log(sizes), np.log(values))))
    return values[-1] * (size / sizes[-1]) ** slopes(sizes, values)[1]


def table(title: str, sizes: Sequence[int], found: Sequence[dict[str, Cost]]) -> list[str]:
    """Milliseconds and MiB at each size, with slopes."""
    heads = [f"{size:,}" for size in sizes]
    lines = [f"| {title}, ms | " + " | ".join(heads) + " | slope | of the last three |"]
    lines.append("|---" * (len(sizes) + 3) + "|")
    for name in found[0]:
        seconds = [at[name].seconds for at in found]
        cells = [f"{1e3 * value:.2f}" for value in seconds]
        cells += [f"{slope:.2f}" for slope in slopes(sizes, seconds)]
        lines.append(f"| {_shown(name)} | " + " | ".join(cells) + " |")
    lines += ["", lines[0].replace(", ms", ", MiB"), lines[1]]
    for name in found[0]:
        bytes_ = [at[name].memory for at in found]
        cells = [f"{value / 2**20:.2f}" for value in bytes_]
        cells += [f"{slope:.2f}" for slope in slopes(sizes, bytes_)]
        lines.append(f"| {_shown(name)} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _shown(name: str) -> str:
    return "sharpness, a block of 3 products" if name == "sharpness" else name.replace("_", " ")


def _amount(value: float, units: Sequence[tuple[str, float]]) -> str:
    name, size = next((unit for unit in units if value >= unit[1]), units[-1])
    return f"{value / size:.3g} {name}"


TIME = (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3))
SPACE = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))


def larger(sizes: Sequence[int], found: Sequence[dict[str, Cost]]) -> list[str]:
    """What 1,000 steps of the smallest network cost, and of larger ones; 100 snapshots of sharpness."""
    wanted = [sizes[0] * times for times in (1, *TIMES)]
    heads = " | ".join(f"{size:,} parameters" for size in wanted)
    lines = [f"| 1,000 steps | {heads} |", "|---" * (len(wanted) + 1) + "|"]
    for name in found[0]:
        cells = []
        for size in wanted:
            steps = 100 * BLOCKS / 3 if name == "sharpness" else 1000
            seconds = steps * predicted(size, sizes, [at[name].seconds for at in found])
            memory = predicted(size, sizes, [at[name].memory for at in found])
            cells.append(f"{_amount(seconds, TIME)}, {_amount(memory, SPACE)}")
        shown = "sharpness, 100 snapshots" if name == "sharpness" else _shown(name)
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    disc = [_amount(4.0 * 100 * size, SPACE) for size in wanted]
    lines.append("| on disk, weights of 100 snapshots, each process | " + " | ".join(disc) + " |")
    return [*lines, ""]


def report() -> str:
    """Measure everything; the section of the document."""
    began = time.perf_counter()
    widths = [costs(width, IMAGES) for width in WIDTHS]
    print(f"parameters: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    samples = [widths[0][1] if n == IMAGES else costs(WIDTH, n)[1] for n in SAMPLES]
    print(f"samples: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    sizes, found = [size for size, _ in widths], [at for _, at in widths]
    lengths = []
    for steps in LENGTHS:
        command = [sys.executable, __file__, "--length", str(steps)]
        lengths.append(json.loads(subprocess.check_output(command, text=True)))
    names = ("jax", "diffrax", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    evaluated = "; ".join(
        f"{_shown(name)} {cost.gradients:.3g} and {cost.products:.3g}"
        for name, cost in found[0].items()
        if name != "sharpness"
    )
    lines = [
        f"Measured on {platform.machine()}, {platform.system()}, one thread, processor time; Python "
        f"{platform.python_version()}, {versions}.",
        f"Gradients and Hessian products a step, at {sizes[0]:,} parameters: {evaluated}.",
        "",
        f"With the parameters, {IMAGES} images:",
        "",
        *table("parameters", sizes, found),
        f"With the images, width {WIDTH}:",
        "",
        *table("images", SAMPLES, samples),
        f"With the steps, width {LENGTHS_WIDTH}, {SAMPLES[0]} images, a snapshot every other step: discrete run and "
        "rod flow in unit steps, one after the other, compilation included:",
        "",
        "| steps | " + " | ".join(f"{steps:,}" for steps in LENGTHS) + " |",
        "|---" * (len(LENGTHS) + 1) + "|",
        "| s | " + " | ".join(f"{one['seconds']:.1f}" for one in lengths) + " |",
        "| peak MiB | " + " | ".join(f"{one['memory'] / 2**20:.0f}" for one in lengths) + " |",
        "",
        f"What 10 and 1,000 times the parameters cost, {IMAGES} images, one core (the last column goes "
        f"{sizes[0] * TIMES[-1] / sizes[-1]:.0f} times beyond the largest network measured, with the slope of the "
        "last three):",
        "",
        *larger(sizes, found),
        "Samples at once, a network with channels 8 and 16, 1,000 digits:",
        "",
        "| samples_at_once | gradient, MiB | ms | three Hessian products, MiB | ms |",
        "|---|---|---|---|---|",
        *chunks(),
        "",
        f"The measurement took {time.perf_counter() - began:.0f} s.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, help="measure a run of so many steps, print JSON")
    args = parser.parse_args()
    if args.length:
        print(json.dumps(length(args.length)))
        return
    text = report()
    print(text)
    before, rest = DOCUMENT.read_text().split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + text + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
