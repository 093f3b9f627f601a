"""What of the noise of minibatches matters: the level of the pair with other forms of it, and where its centre is.

    python benchmarks/minibatch_noise.py results/minibatch adam 1

For the stored runs of an optimizer and a seed: the level of the run, over the threshold, and that of pairs from the
same states whose noise is taken at the ends (the flow `pair`), at the centre, at the centre with the mean of the
gradients at the ends in place of the one there, Gaussian of the same covariance, and drawn anew in each step. Then, at
the last snapshot and over the distance travelled since t0: how far the run, and the centre of the pair, are from the
mean of eight runs that differ in their batches only.
"""

import sys
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from rodflow.analysis.comparison import last_quarter
from rodflow.dynamics import batches
from rodflow.dynamics.flows.pair import Copies, Pair
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.lifted import Rod, oscillating
from rodflow.dynamics.minibatch import Minibatch
from rodflow.dynamics.process import Observation, grid, record
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.stages.run import Prepared, prepare
from rodflow.stages.sharpness import Search, along
from rodflow.store import artifact

SEARCH = Search(count=1, tolerance=1e-2)
OTHERS = 8
"""Runs over which the average is taken."""


class AtCentre(Pair):
    """The pair with the same noise on both sides.

    Attributes:
        form: "centre", "mean", "gaussian" or "independent".
    """

    form: str = eqx.field(static=True, default="centre")

    def advance(
        self, optimizer: OptimizerMap, carry: Copies, key: Array
    ) -> tuple[Copies, Observation]:
        rod = Rod(carry.centre, carry.extent)
        plus, minus = rod.end(+1), rod.end(-1)
        full = jax.grad(optimizer.loss)
        up, down = full(plus.weights), full(minus.weights)
        epoch, noise = self._noise(optimizer, carry, (up + down) / 2, jax.random.fold_in(key, 1))
        a, b = optimizer.update(plus, up + noise), optimizer.update(minus, down - noise)
        centre = jax.tree.map(lambda a, b: (a + b) / 2, a, b)
        extent = oscillating(optimizer, jax.tree.map(lambda a, b: (a - b) / 2, a, b))
        seen = {"loss": optimizer.loss(carry.centre.weights), "noise": jnp.linalg.norm(noise)}
        return Copies(centre, extent, epoch), {**seen, "negative": jnp.zeros([])}

    def _noise(
        self, optimizer: OptimizerMap, carry: Copies, mean: Array, key: Array
    ) -> tuple[batches.Epoch, Array]:
        weights, total = carry.centre.weights, batches.samples(optimizer.loss)
        if self.form == "gaussian":
            return carry.epoch, gaussian(optimizer, weights, self.size, key)
        epoch, chosen = batches.draw(carry.epoch, self.size, key)
        if self.form == "independent":
            chosen = jax.random.choice(key, total, (self.size,), replace=False)
        here = mean if self.form == "mean" else jax.grad(optimizer.loss)(weights)
        return epoch, jax.grad(batches.on(optimizer.loss, chosen))(weights) - here


def gaussian(optimizer: OptimizerMap, weights: Array, size: int, key: Array) -> Array:
    """Noise with the covariance of a batch that is drawn without replacement."""
    total = batches.samples(optimizer.loss)
    normal = jax.random.normal(key, (total,), weights.dtype)
    normal = normal - normal.mean()

    def weighted(weights: Array) -> Array:
        each = jax.vmap(lambda one: batches.on(optimizer.loss, one[None])(weights))
        return normal @ each(jnp.arange(total))

    return jnp.sqrt((1 / size - 1 / total) / (total - 1)) * jax.grad(weighted)(weights)


def level(run: Prepared, process: Pair, around: tuple[State, State, State]) -> float:
    """The level of a form of the pair; NaN if it diverged."""
    settings = run.settings
    times = {"start": settings["start"], "stop": settings["steps"], "every": run.every}
    found = integrate(process, run.optimizer, around, seed=settings["seed"], keep=run.keep, **times)
    if found.status != "completed":
        return float("nan")
    data = run.label(found, "pair")
    late = data.sel(snapshot=slice(int(0.75 * settings["steps"]), None))
    measured = along(run.optimizer.loss, run.known, run.hyperparameters, late, SEARCH)
    return float(last_quarter(measured["sharpness_over_threshold"], settings["steps"]).mean())


def last_midpoint(run: Prepared, around: tuple[State, State, State], seed: int) -> np.ndarray:
    """The last snapshot of a run with batches of its own from these states."""
    settings = run.settings
    start, steps = settings["start"], settings["steps"]
    process = Minibatch(settings["batch_size"])
    found = record(
        process,
        run.optimizer,
        process.begin(run.optimizer, *around),
        first=start,
        last=steps,
        snapshot_steps=grid(start, start, steps, run.every)[-1:],
        key=jax.random.key(1000 + seed),
        keep=lambda snapshot: {"weights": snapshot["weights"]},
    )
    return np.asarray(found.snapshots["weights"][-1])


def main(root: Path, optimizer: str, seed: str) -> None:
    dataset = artifact.read(root / "dataset.nc", kind="dataset")
    names = ("centre", "mean", "gaussian", "independent")
    print(
        f"{'batch':>5} {'run':>6} {'ends':>6} {' '.join(f'{name:>11}' for name in names)}   away: run, pair"
    )
    for path in sorted(root.glob(f"sweeps/**/{optimizer}/seed{seed}/comparison.nc")):
        stored = artifact.read(path, kind="comparison")["late_mean"]
        data = artifact.read(path.with_name("discrete.nc"), kind="trajectory")
        pair = artifact.read(path.with_name("pair.nc"), kind="trajectory")
        settings = artifact.settings(data)
        run = prepare(dataset, settings)
        around = run.states_at_start(data)
        if around is None:
            continue
        form = partial(AtCentre, settings["batch_size"])
        levels = [level(run, form(name), around) for name in names]
        mean = np.mean([last_midpoint(run, around, k) for k in range(OTHERS)], axis=0)
        first = data["weights"].sel(snapshot=settings["start"]).values
        travelled = np.linalg.norm(mean - first)
        away = [
            np.linalg.norm(one["weights"].values[-1] - mean) / travelled for one in (data, pair)
        ]
        known = [float(stored.sel(process=name)) for name in ("discrete", "pair")]
        print(
            f"{settings['batch_size']:>5} {known[0]:6.3f} {known[1]:6.3f} "
            + " ".join(f"{value:11.3f}" for value in levels)
            + f"   {away[0]:.3f}, {away[1]:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:4])
