"""How far the stable flow is from the solution of its equation, and what it takes, over the runs of a results folder.

    python benchmarks/stable_flow.py reference build/stable --results results/digits [--runs RUN ...]
    python benchmarks/stable_flow.py measure build/stable --results results/digits --label before [--runs RUN ...]
    python benchmarks/stable_flow.py table build/stable --labels before after

A method is measured from a checkout of the code that has it, under a label of its own. A run is named by its folder,
`mlp/adam/seed1`; without a name all that have a stable flow are taken. The reference solves dz/dt = F(z) - z from the
stored states in float64 by Tsit5, as far as a budget of gradients reaches. It is kept. Each measurement is a process
of its own without compiled programs. Its seconds are those of the processor for the whole run, tracing and compilation
included, so that what else the machine does matters little. The distance from the reference is taken over the distance
that this one has travelled, and averaged over the snapshots behind the start.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("NPROC", "1")

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rodflow.dynamics.integration import integrate
from rodflow.dynamics.lifted import from_consecutive
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.stages.run import Prepared, prepare
from rodflow.store import artifact

BUDGET = 150_000
"""Gradients of a reference."""
RTOL, ATOL = 1e-8, 1e-12
WHAT = ("gradients a step", "distance", "seconds")


def begun(results: Path, path: str) -> tuple[Prepared, tuple[State, State, State]]:
    """A stored run, ready to go, and the three states from which its flows start."""
    stored = artifact.read(results / path / "discrete.nc")
    run = prepare(artifact.read(results / "dataset.nc"), artifact.settings(stored))
    states = run.states_at_start(stored)
    if states is None:
        raise SystemExit(f"{path}: diverged before its start")
    return run, states


def refer(results: Path, path: str, kept: Path) -> None:
    """Solve the equation in float64 from snapshot to snapshot and keep what was reached."""
    run, states = begun(results, path)
    with jax.enable_x64(True):
        double = jax.tree.map(_double, (run.optimizer, states))
        optimizer, states = double
        start, stop, every = run.settings["start"], run.settings["steps"], run.every

        @eqx.filter_jit
        def solve(optimizer: OptimizerMap, state: State, dt: Array) -> tuple[State, Array, Array]:
            found = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, z, _: optimizer.evaluate_increment(z)[1]),
                diffrax.Tsit5(),
                0.0,
                float(every),
                dt,
                state,
                stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
                saveat=diffrax.SaveAt(t1=True),
                max_steps=BUDGET,
                adjoint=diffrax.ForwardMode(),
                throw=False,
            )
            end = jax.tree.map(lambda leaf: leaf[0], found.ys)
            return end, every / found.stats["num_accepted_steps"], found.stats["num_steps"]

        state, dt, spent = from_consecutive(optimizer, *states).centre, jnp.asarray(0.1), 0
        reached = [np.asarray(state.weights)]
        for _ in range(start + every, stop + 1, every):
            state, dt, steps = solve(optimizer, state, dt)
            spent += 6 * int(steps)
            if spent > BUDGET or not np.isfinite(state.weights).all():
                break
            reached.append(np.asarray(state.weights))
    kept.parent.mkdir(parents=True, exist_ok=True)
    steps_of = start + every * np.arange(len(reached))
    np.savez(kept, weights=np.stack(reached), steps=steps_of, gradients=spent)
    print(
        f"{path:<46} {len(reached)} snapshots to step {steps_of[-1]} of {stop}, {spent} gradients",
        flush=True,
    )


def _double(leaf: object) -> object:
    floating = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if floating else leaf


def follow(results: Path, path: str, kept: Path) -> None:
    """The stable flow in this process: its snapshots, gradients and seconds."""
    run, states = begun(results, path)
    began, used = time.perf_counter(), time.process_time()
    found = integrate(
        "stable",
        run.optimizer,
        states,
        start=run.settings["start"],
        stop=run.settings["steps"],
        every=run.every,
        keep=lambda snapshot: {"weights": snapshot["weights"]},
    )
    used, seconds = time.process_time() - used, time.perf_counter() - began
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(kept, weights=found.snapshots["weights"], gradients=found.series["gradients"])
    print(json.dumps({"seconds": used, "wall": seconds, "status": found.status}))


def measure(results: Path, path: str, folder: Path, label: str) -> None:
    """Once more in a new process; of several times the fastest counts."""
    kept = folder / path / f"{label}.npz"
    command = [sys.executable, __file__, "follow", kept, "--results", results, "--runs", path]
    own = {name: value for name, value in os.environ.items() if "JAX_" not in name}
    done = subprocess.run([*map(str, command)], env=own, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout.splitlines()[-1])
    print(f"{path:<46} {label:<8} {said}", flush=True)
    with kept.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(said) + "\n")


def distance(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> np.ndarray:
    """Of each snapshot that both have, behind the start, over the distance travelled by the reference."""
    count = min(len(found["weights"]), len(reference["weights"]))
    true = reference["weights"][:count]
    travelled = np.linalg.norm(true - true[0], axis=1)[1:]
    return np.linalg.norm(found["weights"][:count] - true, axis=1)[1:] / travelled


@dataclass(frozen=True)
class Found:
    """What was measured of a run under a label: gradients a step, distances, seconds and the status."""

    cost: float
    away: np.ndarray
    seconds: float
    status: str

    @classmethod
    def of(cls, folder: Path, label: str) -> "Found":
        """From the files in the folder of a run."""
        kept = np.load(folder / f"{label}.npz")
        lines = (folder / f"{label}.jsonl").read_text(encoding="utf-8").splitlines()
        best = min(map(json.loads, lines), key=lambda said: said["seconds"])
        return cls(
            cost=float(kept["gradients"].sum()) / (len(kept["gradients"]) - 1),
            away=distance(kept, np.load(folder / "reference.npz")),
            seconds=best["seconds"],
            status=best["status"],
        )


def table(folder: Path, labels: list[str]) -> None:
    """In Markdown: the runs that were measured under all labels, one a line, and the sum of their seconds."""
    heads = ["run", *(f"{what}, {label}" for what in WHAT for label in labels), "snapshots"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    total = dict.fromkeys(labels, 0.0)
    for kept in sorted(folder.rglob("reference.npz")):
        if not all(kept.with_name(f"{label}.jsonl").exists() for label in labels):
            continue
        found = {label: Found.of(kept.parent, label) for label in labels}
        for label in labels:
            total[label] += found[label].seconds
        cells = [
            str(kept.parent.relative_to(folder).parent),
            *(f"{one.cost:.2f}" for one in found.values()),
            *(f"{one.away.mean():.1e} ({one.away.max():.1e})" for one in found.values()),
            *(f"{one.seconds:.1f}" for one in found.values()),
            str(len(found[labels[0]].away)),
        ]
        ended = {one.status for one in found.values() if not one.status.startswith("completed")}
        print(f"| {' | '.join(cells)} |", *sorted(ended))
    print("\nSeconds in all:", ", ".join(f"{label} {total[label]:.0f}" for label in labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=["reference", "measure", "follow", "table"])
    parser.add_argument("folder", type=Path, help="where what is found is kept")
    parser.add_argument("--results", type=Path, help="the folder of an experiment")
    parser.add_argument("--runs", nargs="*", default=[], help="which of its runs")
    parser.add_argument("--label", default="now", help="of what is measured")
    parser.add_argument("--labels", nargs="+", default=["now"], help="of what is listed")
    options = parser.parse_args()
    if options.do == "table":
        table(options.folder, options.labels)
        return
    if options.results is None:
        parser.error("--results is missing: the folder of an experiment")
    if options.do == "follow":
        follow(options.results, options.runs[0], options.folder)
        return
    stored = sorted(options.results.glob("**/seed*/stable.nc"))
    known = [str(path.parent.relative_to(options.results)) for path in stored]
    for path in options.runs or known:
        if options.do == "measure":
            measure(options.results, path, options.folder, options.label)
        elif not (kept := options.folder / path / "reference.npz").exists():
            refer(options.results, path, kept)


if __name__ == "__main__":
    main()
