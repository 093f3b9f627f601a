"""A small results tree with made-up numbers, written as the stages write theirs."""

from pathlib import Path

import numpy as np
import xarray as xr

from rodflow import artifact
from rodflow.comparison import compare
from rodflow.results import StoredRun
from rodflow.trajectory import trajectory

FLOWS = ("stable", "rod", "rod_unit_step")
START, STEPS, EVERY = 20, 200, 10
DRIFT = {"discrete": 0.0, "stable": 3e-2, "rod": 3e-4, "rod_unit_step": 1e-4}
THRESHOLDS = {"heavy_ball": 38.0, "adam": 38.0, "nadam": 13.571, "nesterov": 13.571}


def write_run(
    root: Path,
    optimizer: str = "gd",
    model: str = "mlp",
    seed: int = 0,
    *,
    flows: tuple[str, ...] = FLOWS,
    diverged: dict[str, int] | None = None,
    learning_rate: float = 0.1,
) -> StoredRun:
    """Store every artifact of one run.

    Args:
        root: the experiment's folder.
        optimizer, model, seed: which run.
        flows: which flows it has.
        diverged: process -> the step at which it diverged.
        learning_rate: step size.
    """
    folder = root / model / optimizer / f"seed{seed}"
    settings = {
        "optimizer": {"name": optimizer, "learning_rate": learning_rate, "eps": 1e-8},
        "seed": seed,
        "start": START,
        "steps": STEPS,
        "snapshots": {"every": EVERY},
    }
    rng = np.random.default_rng([seed, *optimizer.encode()])
    where = {"kind": "trajectory", "root": root, "settings": settings}
    trajectories: dict[str, xr.Dataset] = {}
    sharpness: dict[str, xr.Dataset] = {}
    for process in ("discrete", *flows):
        stop = (diverged or {}).get(process)
        data = _trajectory(process, rng, stop)
        limit = THRESHOLDS.get(optimizer, 2.0) / learning_rate
        measured = _sharpness(process, data, limit, rng)
        status = data.attrs["status"]
        artifact.write(data, folder / f"{process}.nc", **where, status=status)
        path = folder / "sharpness" / f"{process}.nc"
        artifact.write(measured, path, **where | {"kind": "sharpness"})
        trajectories[process], sharpness[process] = data, measured
    numbers = compare(trajectories, sharpness, start=START, steps=STEPS)
    artifact.write(numbers, folder / "comparison.nc", **where | {"kind": "comparison"})
    return StoredRun(folder)


def _trajectory(process: str, rng: np.random.Generator, stop: int | None) -> xr.Dataset:
    first = 1 if process == "discrete" else START
    steps = np.arange(first, stop or STEPS + 1)
    kept = np.arange(first - (first - START) % -EVERY, steps[-1] + 1, EVERY)
    level = 0.4 * np.exp(-steps / 70) + 1e-3
    if stop:
        level = level * 10.0 ** np.clip(3 * (steps - stop + 12), 0, 38)
    wobble = 0.05 * np.minimum(steps / STEPS, 1)
    series = {"loss": level * (1 + wobble * (-1.0) ** steps)}
    if process.startswith("rod"):
        series |= {"loss_plus": level * (1 + wobble), "loss_minus": level * (1 - wobble)}
    away = DRIFT.get(process, 1e-2) * (1 + rng.random((len(kept), 3)))
    weights = kept[:, None] * np.array([1.0, 0.5, -0.2]) / STEPS
    weights = weights + away * np.maximum(kept - START, 0)[:, None] / STEPS
    return trajectory(
        steps,
        {name: values.astype(np.float32) for name, values in series.items()},
        kept,
        {"weights": weights.astype(np.float32)},
        process=process,
        title=process,
        attributes={"status": f"diverged at step {stop}" if stop else "completed"},
    )


def _sharpness(
    process: str, data: xr.Dataset, limit: float, rng: np.random.Generator
) -> xr.Dataset:
    at = data["snapshot"] / STEPS
    ratio = 0.3 + (1.7 if process == "stable" else 0.0) * at + np.minimum(at * 1.5, 0.7)
    ratio = ratio + 0.02 * rng.random(ratio.size)
    found = xr.Dataset({"sharpness_over_threshold": ratio}, {"snapshot": data["snapshot"]})
    return found.assign_attrs(process=process, threshold=limit)
