"""Error against cost of the flows: how near they stay to the run, and how many gradients a step they take for it.

    python benchmarks/work_precision.py build/work_precision            # measure, then draw
    python benchmarks/work_precision.py build/work_precision --draw     # draw again what was measured

Runs of the default experiment's MLP with gradient descent, scalar RMSProp and RMSProp (`--optimizers`). The error is
the geometric mean of the tracking error over the snapshots, as in the audit. Macro steps give a line, over their
tolerance. A Hessian product counts as two gradients, a third derivative as four. The lines are the predictability
floor, which is the error of a replica of the run, and the cost of the run itself, one gradient a step.
"""

import argparse
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from measuring import images, run_of

from rodflow.analysis.comparison import geometric_mean, tracking_error
from rodflow.config.catalogue import FLOWS, OPTIMIZERS
from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.flows.rod_macro import RodMacro
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.process import Process, Recording, grid
from rodflow.dynamics.training import discrete
from rodflow.figures.core.style import PALETTE
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.stages.run import prepare
from rodflow.store.trajectory import trajectory

TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4)
PRICES = {"gradients": 1, "hessian_products": 2, "third_derivatives": 4}
OTHERS = ("stable", "rod", "rod_unit_step", "central", "edge")
MACRO = "rod_macro"
REPLICAS = 3
TICKS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32)


def error(found: Recording, run: Recording) -> float:
    """Geometric mean of the tracking error."""
    at, beside = (
        trajectory(
            recording.steps,
            {"loss": recording.series["loss"]},
            recording.snapshot_steps,
            {"weights": recording.snapshots["weights"]},
            process="",
            title="",
        )
        for recording in (found, run)
    )
    return float(geometric_mean(tracking_error(at, beside)))


def cost(found: Recording) -> float:
    """Gradients a step, with what else is formed at its price."""
    total = sum(
        price * found.series[name].sum() for name, price in PRICES.items() if name in found.series
    )
    return float(total) / (found.steps.size - 1)


def measure(name: str, others: list[str]) -> dict[str, list[list[float]]]:
    """Points (cost, error) by flow, and of the floor, of the run of one optimizer."""
    settings = run_of("mlp", name).settings
    made = prepare(images(), settings)
    optimizer, weights = made.optimizer, made.weights
    start, stop, every = settings["start"], settings["steps"], settings["snapshots"]["every"]
    where = {"start": start, "stop": stop, "every": every, "seed": settings["seed"]}
    steps = grid(start, 1, stop, every)
    run = discrete(optimizer, weights, steps=stop, snapshot_steps=steps, hold=[start])
    states = run.held[start][:3]

    def point(flow: str | Process) -> list[float]:
        found = integrate(flow, optimizer, states, **where)
        print(f"{name:<16} {flow!s:<60} {cost(found):7.2f} {error(found, run):.2e}", flush=True)
        return [cost(found), error(found, run)]

    known = [flow for flow in others if FLOWS[flow].supports(name, OPTIMIZERS[name])]
    points = {flow: [point(flow)] for flow in known}
    points[MACRO] = [point(RodMacro(tolerance=tolerance)) for tolerance in TOLERANCES]
    points["floor"] = [[1.0, floor] for floor in floors(optimizer, states, run, start)]
    return points


def floors(
    optimizer: OptimizerMap, states: tuple[State, State, State], run: Recording, start: int
) -> list[float]:
    """The error of the run again, from weights that differ by rounding."""
    found = []
    for seed in range(REPLICAS):
        noise = 1 + 1e-7 * np.random.default_rng(seed).standard_normal(
            run.held[start].now.weights.shape
        )
        moved = [z._replace(weights=(z.weights * noise).astype(z.weights.dtype)) for z in states]
        again = integrate(
            Discrete(), optimizer, tuple(moved), start=start, stop=int(run.steps[-1]), every=10
        )
        found.append(error(again, run))
    return found


def draw(points: dict[str, dict[str, list[list[float]]]], path: Path) -> None:
    """One panel an optimizer."""
    figure, axes = plt.subplots(
        1, len(points), figsize=(3.6 * len(points), 3.4), squeeze=False, layout="constrained"
    )
    for panel, (name, flows) in zip(axes[0], points.items(), strict=True):
        for flow, measured in flows.items():
            if flow == "floor":
                values = [value for _, value in measured]
                panel.axhspan(min(values), max(values), color="0.88", zorder=0, label="replicas")
                continue
            declared = FLOWS[flow]
            color = "black" if declared.color == "ink" else PALETTE[declared.color]
            marker = (
                {"marker": "o", "ms": 4} if flow == MACRO else {"marker": "s", "ls": "", "ms": 6}
            )
            panel.plot(*np.transpose(measured), color=color, label=declared.short, **marker)
        panel.axvline(1, color="0.5", lw=0.8, ls=":", label="the run itself")
        low, high = panel.get_xlim()[0] / 1.3, panel.get_xlim()[1] * 1.3
        panel.set(xscale="log", xlim=(low, high))
        panel.set_xticks([tick for tick in TICKS if low <= tick <= high])
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
        panel.set(yscale="log", xlabel="gradients a step", title=OPTIMIZERS[name].label)
    axes[0, 0].set_ylabel("tracking error")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.savefig(path.with_suffix(".png"), dpi=160)
    figure.savefig(path.with_suffix(".pdf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="where the numbers (.json) and the figure go")
    parser.add_argument("--optimizers", nargs="+", default=["gd", "rmsprop_scalar", "rmsprop"])
    parser.add_argument("--flows", nargs="*", default=[*OTHERS], help="beside macro steps")
    parser.add_argument("--draw", action="store_true", help="do not measure")
    options = parser.parse_args()
    stored = options.path.with_suffix(".json")
    if not options.draw:
        stored.parent.mkdir(parents=True, exist_ok=True)
        measured = {name: measure(name, options.flows) for name in options.optimizers}
        stored.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    draw(json.loads(stored.read_text(encoding="utf-8")), options.path)


if __name__ == "__main__":
    main()
