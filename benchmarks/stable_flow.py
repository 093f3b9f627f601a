"""The stable flow against its solution and against the method that it had before, over the runs of a results folder.

    python benchmarks/stable_flow.py reference build/stable results/digits [--runs RUN ...]
    python benchmarks/stable_flow.py measure build/stable results/digits [--runs RUN ...]
    python benchmarks/stable_flow.py table build/stable

A run is named by its folder, `mlp/adam/seed1`; without a name all that have a stable flow are taken. The reference
solves dz/dt = F(z) - z from the stored states in float64 by Tsit5, as far as a budget of gradients reaches. It is kept.
Each method runs in processes of its own without compiled programs. Its seconds are those of the processor for the
whole run, tracing and compilation included, so that what else the machine does matters little. The distance from the
reference is taken over the distance that this one has travelled, and averaged over the snapshots behind the start.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("NPROC", "1")

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.adaptive import follow_unit
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.stages.run import Prepared, prepare
from rodflow.store import artifact

BUDGET = 150_000
"""Gradients of a reference."""
RTOL, ATOL = 1e-8, 1e-12
METHODS = ("former", "present")


class Former(Process):
    """The method of Bogacki and Shampine with an adaptive step, in every unit of time."""

    rtol: float = 1e-4
    atol: float = 1e-6
    max_steps: int = eqx.field(static=True, default=10_000)

    def begin(
        self, optimizer: OptimizerMap, before: State, now: State, after: State
    ) -> tuple[State, Array]:
        centre = from_consecutive(optimizer, before, now, after).centre
        return centre, jnp.ones([], centre.weights.dtype)

    def advance(
        self, optimizer: OptimizerMap, carry: tuple[State, Array], key: Array
    ) -> tuple[tuple[State, Array], Observation]:
        loss = optimizer.loss(carry[0].weights)

        def unit(carry: tuple[State, Array]) -> tuple[tuple[State, Array], Array]:
            state, dt, stages = follow_unit(
                lambda z: jax.tree.map(jnp.subtract, optimizer(z), z),
                *carry,
                diffrax.PIDController(rtol=self.rtol, atol=self.atol),
                self.max_steps,
            )
            return (state, dt), stages

        carry, stages = jax.lax.cond(
            jnp.isfinite(loss), unit, lambda c: (c, jnp.zeros([], c[1].dtype)), carry
        )
        return carry, {"loss": loss, "gradients": stages}

    def snapshot(self, optimizer: OptimizerMap, carry: tuple[State, Array]) -> Snapshot:
        return {"weights": carry[0].weights, "memory": carry[0].memory}


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


def follow(results: Path, path: str, method: str, kept: Path) -> None:
    """One method in this process: its snapshots, gradients and seconds."""
    run, states = begun(results, path)
    process = Former() if method == "former" else FLOWS.load("stable").process()
    began, used = time.perf_counter(), time.process_time()
    found = integrate(
        process,
        run.optimizer,
        states,
        start=run.settings["start"],
        stop=run.settings["steps"],
        every=run.every,
        keep=lambda snapshot: {"weights": snapshot["weights"]},
    )
    used, seconds = time.process_time() - used, time.perf_counter() - began
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        kept,
        weights=found.snapshots["weights"],
        steps=found.snapshot_steps,
        gradients=found.series["gradients"],
        loss=found.series["loss"],
        adaptive=found.series.get("adaptive", np.zeros(0)),
    )
    said = {"seconds": used, "wall": seconds, "status": found.status}
    print(json.dumps(said))


def measure(results: Path, path: str, folder: Path, methods: list[str], rounds: int) -> None:
    """The methods by turns, each in a new process."""
    for _ in range(rounds):
        for method in methods:
            kept = folder / path / f"{method}.npz"
            command = [
                sys.executable,
                __file__,
                "follow",
                kept,
                results,
                "--runs",
                path,
                "--method",
                method,
            ]
            own = {name: value for name, value in os.environ.items() if "JAX_" not in name}
            done = subprocess.run(
                [*map(str, command)], env=own, check=True, capture_output=True, text=True
            )
            said = json.loads(done.stdout.splitlines()[-1])
            print(f"{path:<46} {method:<8} {said}", flush=True)
            with (folder / path / f"{method}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(said) + "\n")


def distance(found: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> np.ndarray:
    """Of each snapshot that both have, behind the start, over the distance travelled by the reference."""
    count = min(len(found["weights"]), len(reference["weights"]))
    true = reference["weights"][:count]
    travelled = np.linalg.norm(true - true[0], axis=1)[1:]
    return np.linalg.norm(found["weights"][:count] - true, axis=1)[1:] / travelled


def row(folder: Path, path: str) -> list[str]:
    """What was measured of a run."""
    reference = np.load(folder / path / "reference.npz")
    numbers = {}
    for method in METHODS:
        found = np.load(folder / path / f"{method}.npz")
        lines = (folder / path / f"{method}.jsonl").read_text().splitlines()
        best = min((json.loads(line) for line in lines), key=lambda said: said["seconds"])
        away = distance(found, reference)
        count = len(found["gradients"]) - 1
        numbers[method] = {
            "cost": found["gradients"].sum() / count,
            "away": f"{away.mean():.1e} ({away.max():.1e})",
            "mean": away.mean(),
            "seconds": best["seconds"],
            "adaptive": f"{int(found['adaptive'].sum())} of {count + 1}",
            "total": len(found["weights"]),
            "status": best["status"],
        }
    a, b = (numbers[method] for method in METHODS)
    fails = []
    if b["mean"] > max(a["mean"], 1e-4):
        fails.append("distance")
    if b["cost"] > a["cost"]:
        fails.append("gradients")
    if b["seconds"] > 1.1 * a["seconds"] + 0.3:
        fails.append("time")
    if not b["status"].startswith("completed"):
        fails.append(b["status"])
    return [
        path.replace("/seed1", "").replace("sweeps/adam/", ""),
        f"{a['cost']:.1f}",
        f"{b['cost']:.1f}",
        a["away"],
        b["away"],
        f"{len(reference['weights'])} of {b['total']}",
        b["adaptive"],
        f"{a['seconds']:.1f}",
        f"{b['seconds']:.1f}",
        ", ".join(fails) or "none",
    ]


def table(folder: Path, paths: Iterable[str]) -> None:
    """Markdown, and the sum of the seconds."""
    heads = (
        *("run", "gradients before", "after", "distance before", "distance after"),
        *("snapshots", "adaptive", "seconds before", "after", "fails"),
    )
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    rows = [row(folder, path) for path in paths]
    for cells in rows:
        print(f"| {' | '.join(cells)} |")
    print(
        f"\nSeconds in all: {sum(float(c[7]) for c in rows):.0f}, {sum(float(c[8]) for c in rows):.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=["reference", "measure", "follow", "table"])
    parser.add_argument("folder", type=Path, help="where what is found is kept")
    parser.add_argument("results", type=Path, nargs="?", help="the folder of an experiment")
    parser.add_argument("--runs", nargs="*", default=[], help="which of its runs")
    parser.add_argument("--method", choices=METHODS, default="present")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.do == "follow":
        follow(options.results, options.runs[0], options.method, options.folder)
        return
    if options.do == "table":
        found = sorted(options.folder.rglob("present.npz"))
        table(options.folder, [str(p.parent.relative_to(options.folder)) for p in found])
        return
    stored = sorted(options.results.glob("**/seed*/stable.nc"))
    known = [str(path.parent.relative_to(options.results)) for path in stored]
    for path in options.runs or known:
        if options.do == "measure":
            measure(options.results, path, options.folder, options.methods, options.rounds)
        elif not (kept := options.folder / path / "reference.npz").exists():
            refer(options.results, path, kept)


if __name__ == "__main__":
    main()
