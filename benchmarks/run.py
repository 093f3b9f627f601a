"""Cost per step of every flow, in units of the discrete run's, side by side on this machine.

    make bench ARGS="--optimizers gd adam"

Each process runs the same chunk of steps in turn, several rounds; the fastest round of each counts, compilation left
out. One thread, like the workflow's jobs.
"""

import argparse
import importlib.metadata
import os
import platform
import time
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
os.environ.setdefault("NPROC", "1")

import jax
import jax.numpy as jnp

from rodflow import datasets, settings, stages
from rodflow.dynamics import FLOWS, OptimizerMap
from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.process import Process, _chunk  # the compiled unit of work itself

STEPS, ROUNDS = 50, 7


def seconds_per_step(
    processes: dict[str, Process], optimizer: OptimizerMap, states: tuple
) -> dict[str, tuple[float, float]]:
    """Seconds per step and seconds of the first, compiling call, by process."""
    carries = {name: p.begin(optimizer, *states) for name, p in processes.items()}
    key, first, length = jax.random.key(0), jnp.asarray(0), jnp.asarray(STEPS)
    compiling, best = {}, dict.fromkeys(processes, float("inf"))
    for turn in range(ROUNDS + 1):
        for name, process in processes.items():
            began = time.perf_counter()
            carry = carries[name]
            jax.block_until_ready(_chunk(process, optimizer, carry, key, first, length, STEPS))
            elapsed = time.perf_counter() - began
            if turn == 0:
                compiling[name] = elapsed
            else:
                best[name] = min(best[name], elapsed / STEPS)
    return {name: (best[name], compiling[name]) for name in processes}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="config.yaml", type=Path)
    parser.add_argument("--model", default="mlp")
    parser.add_argument(
        "--optimizers", nargs="+", default=["gd", "rmsprop_scalar", "rmsprop", "adam"]
    )
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks.md"))
    args = parser.parse_args()

    experiment = settings.resolve(settings.load(args.config))
    data = datasets.load(experiment.dataset)
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`; ratios are measured side by side in one run, one thread.",
        "",
        f"* machine: {platform.machine()}, {os.cpu_count()} cores, {platform.system()}; device "
        f"{jax.devices()[0].device_kind}",
        "* versions: Python "
        + platform.python_version()
        + ", "
        + ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("jax", "optax", "diffrax")),
        f"* experiment: {experiment.name}, {args.model}, {experiment.dataset['samples']} samples",
        "",
        "| optimizer | process | ms per step | over discrete | first call, s |",
        "|---|---|---|---|---|",
    ]
    for name in args.optimizers:
        run = experiment.run(f"{args.model}/{name}/seed{experiment.runs[0].seed}")
        optimizer, weights = stages.build(data, run.settings)
        state = optimizer.initial(weights)
        for _ in range(20):
            state = optimizer(state)
        following = optimizer(state)
        processes = {"discrete": Discrete()} | {flow: FLOWS[flow]() for flow in run.flows}
        found = seconds_per_step(processes, optimizer, (state, following, optimizer(following)))
        for process, (step, compiling) in found.items():
            ratio = step / found["discrete"][0]
            lines.append(
                f"| {name} | {process} | {1e3 * step:.3f} | {ratio:.1f} | {compiling:.1f} |"
            )
    text = "\n".join(lines) + "\n"
    args.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
