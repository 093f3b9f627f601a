"""Batch sharpness of gradient descent by two definitions, and over all images.

`python benchmarks/batch_sharpness.py` reads results/minibatch, which `make reproduce CONFIG=config/minibatch.yaml`
makes. It prints, in units of 2/eta and averaged over five snapshots of the last quarter of seed 1, the mean over the
batches of the quotient g.Hg / g.g of a batch's own gradient and Hessian, and the mean of its numerator over that of its
denominator.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rodflow.problem.objective import of_run
from rodflow.store import artifact

BATCHES = 64
SNAPSHOTS = slice(-20, None, 4)


def measured(dataset: Path, run: Path) -> tuple[int, float, float]:
    """Images in a batch, mean of ratios and ratio of means."""
    trajectory = artifact.read(run, kind="trajectory")
    settings = artifact.settings(trajectory)
    loss, _ = of_run(artifact.read(dataset, kind="dataset"), settings)
    size = settings["batch_size"] or loss.samples
    random = np.random.default_rng(0)

    @jax.jit
    def parts(weights: jax.Array, chosen: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_batch = jax.grad(lambda at: loss.of(chosen)(at))
        gradient = of_batch(weights)
        along = jax.jvp(of_batch, (weights,), (gradient,))[1]
        return gradient @ along, gradient @ gradient

    found = []
    for weights in trajectory["iterate"].values[SNAPSHOTS]:
        drawn = [random.permutation(loss.samples)[:size] for _ in range(BATCHES)]
        pairs = np.array([parts(jnp.asarray(weights), jnp.asarray(chosen)) for chosen in drawn])
        above, below = pairs.T
        found.append((np.mean(above / below), above.mean() / below.mean()))
    ratios, means = np.mean(found, axis=0) * settings["optimizer"]["learning_rate"] / 2
    return size, float(ratios), float(means)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path("results/minibatch"))
    root = parser.parse_args().root
    runs = [root / "mlp/gd/seed1", *sorted(root.glob("sweeps/batches/*/mlp/gd/seed1"))]
    rows = sorted(measured(root / "dataset.nc", run / "discrete.nc") for run in runs)
    for size, ratios, means in rows:
        print(f"batch {size}: mean of ratios {ratios:.2f}, ratio of means {means:.2f}")


if __name__ == "__main__":
    main()
