"""Runs on minibatches with made-up numbers, of which nothing is stored."""

import json
from pathlib import Path

import numpy as np
import xarray as xr

from rodflow.store.results import StoredRun

STEPS, EVERY, START, SAMPLES = 1200, 20, 40, 1000
MODELS = {"gd": ("pair", "kicked_rod"), "rmsprop": ("pair", "kicked_rod")}


def run(
    optimizer: str = "gd",
    batch: int | None = 10,
    seed: int = 1,
    *,
    level: float = 0.6,
    modelled: float | None = None,
    loss: float = 0.1,
    modelled_loss: float = 0.1,
    drift: float = 0.0,
    batch_sharpness: float = 20.0,
    failed: str = "",
    learning_rate: float = 0.1,
) -> StoredRun:
    """One run and its models, whose sharpness over threshold rises to a level at a third of the run.

    Args:
        optimizer, batch, seed, learning_rate: which run; a batch of None is all images.
        level, modelled: sharpness over threshold of the run and of its models.
        loss, modelled_loss: in the second half.
        drift: of the level over the whole run.
        batch_sharpness: in the second half.
        failed: status of the models.
    """
    flows = MODELS.get(optimizer, ("pair",)) if batch else ("rod_unit_step",)
    at, steps = np.arange(START, STEPS + 1, EVERY), np.arange(START, STEPS + 1)
    wobble = 0.01 * np.sin(at / 3 + seed)
    rise = np.minimum(at / 400, 1)
    levels = {"discrete": level} | dict.fromkeys(flows, level if modelled is None else modelled)
    ratios = np.stack([height * rise + wobble + drift * at / STEPS for height in levels.values()])
    late = at >= 0.75 * STEPS
    processes = [*levels]
    comparison = xr.Dataset(
        {
            "sharpness_over_threshold": (("process", "snapshot"), ratios),
            "late_mean": ("process", ratios[:, late].mean(axis=1)),
            "status": ("process", ["completed", *[failed or "completed"] * len(flows)]),
        },
        {"process": processes, "snapshot": at},
    )
    where = {"step": steps, "snapshot": at}
    discrete = xr.Dataset({"loss": ("step", np.full(steps.size, loss))}, where)
    if batch:
        discrete["full_loss"] = "snapshot", np.full(at.size, loss)
        discrete["batch_sharpness"] = "snapshot", np.full(at.size, batch_sharpness)
    ends = {
        "loss_plus": ("step", np.full(steps.size, 1.1 * modelled_loss)),
        "loss_minus": ("step", np.full(steps.size, 0.9 * modelled_loss)),
    }
    group = f"sweeps/batches/batch_size={batch}/" if batch else ""
    found = StoredRun(Path(f"{group}mlp/{optimizer}/seed{seed}"))
    given = {"name": optimizer, "learning_rate": learning_rate}
    given |= {"momentum": 0.9} if optimizer == "heavy_ball" else {}
    settings = {
        "batch_size": batch,
        "criterion": "mse",
        "dataset": {"name": "digits", "samples": SAMPLES},
        "model": {"kind": "mlp", "activation": "tanh"},
        "optimizer": given,
        "seed": seed,
        "start": START,
        "steps": STEPS,
    }
    plain = optimizer in ("gd", "heavy_ball")
    limit = {"heavy_ball": 38.0}.get(optimizer, 2.0) / learning_rate
    sharpness = {"threshold": limit, "preconditioner": "identity" if plain else "second moment"}
    taken = {"comparison": comparison, "discrete": discrete}
    taken |= {flow: xr.Dataset(ends, where) for flow in flows}
    taken |= {"sharpness/discrete": xr.Dataset(attrs=sharpness)}
    for name, data in taken.items():
        found.take(name, data.assign_attrs(settings=json.dumps(settings)))
    return found


def seeds(optimizer: str = "gd", batch: int | None = 10, **options: float | str) -> list[StoredRun]:
    """Three of them."""
    return [run(optimizer, batch, seed, **options) for seed in (1, 2, 3)]
