"""Several runs as one vmapped batch or one after the other: seconds a step of a run, on one thread of this machine.

    python benchmarks/side_by_side.py

Learning rates of Adam on the digits, for an MLP at three numbers of images, a CNN and a vision transformer. A batch is
no faster where one run keeps a core busy by itself; what runs of a job share in any case is the compiled program.
"""

import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["NPROC"] = "1"

import time
from collections.abc import Iterator
from typing import Any

import xarray as xr

from rodflow.problem import labelled
from rodflow.stages.training import discrete_runs

MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "hidden": [32, 32], "activation": "tanh"},
    "cnn": {"kind": "cnn", "channels": [8, 16], "activation": "tanh"},
    "vit": {"kind": "vit", "width": 16, "depth": 1, "heads": 2, "patch": 4, "mlp_ratio": 2},
}
RUNS, REPEATS = 4, 3


def sweep(model: str, steps: int, batch_size: int | None) -> Iterator[dict[str, Any]]:
    """Settings that differ in the learning rate."""
    for index in range(RUNS):
        rate = 1e-3 * (1 + index)
        yield {
            "batch_size": batch_size,
            "criterion": "mse",
            "dataset": {"name": "digits"},
            "model": MODELS[model],
            "optimizer": {
                "name": "adam",
                "learning_rate": rate,
                "b1": 0.9,
                "b2": 0.99,
                "eps": 1e-8,
            },
            "seed": 0,
            "snapshots": {"every": 50},
            "start": 50,
            "steps": steps,
        }


def seconds(
    dataset: xr.Dataset, model: str, steps: int, batch_size: int | None, *, together: bool
) -> float:
    """A step of one run, the best of a few repeats after one that compiles."""
    best = float("inf")
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        for _ in discrete_runs(dataset, [*sweep(model, steps, batch_size)], side_by_side=together):
            pass
        best = min(best, (time.perf_counter() - began) / (RUNS * steps))
    return best


def main() -> None:
    print(f"{RUNS} runs: milliseconds a step of a run, one after the other and as a batch")
    for model, samples, batch_size, steps in (
        ("mlp", 1000, None, 400),
        ("mlp", 200, None, 1000),
        ("mlp", 50, None, 2000),
        ("mlp", 1000, 50, 2000),
        ("cnn", 1000, None, 100),
        ("cnn", 1000, 50, 400),
        ("vit", 1000, None, 100),
    ):
        dataset = labelled.load(
            {"name": "digits", "samples": samples, "size": 8, "scaling": "unit"}
        )
        alone, batch = (
            1e3 * seconds(dataset, model, steps, batch_size, together=together)
            for together in (False, True)
        )
        used = f"{samples} images" + (f" in batches of {batch_size}" if batch_size else "")
        print(f"{model}, {used:29} {alone:6.3f}  {batch:6.3f}  ratio {alone / batch:.2f}")


if __name__ == "__main__":
    main()
