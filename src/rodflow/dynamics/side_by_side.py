"""Runs that differ in numbers only, side by side: a batch that is one vmapped program.

What may differ are the hyperparameters of a `rodflow.optimizers.tuned.Tuned` transformation, the initial weights and
the seed; the data and everything else is shared. On one core of a CPU it is faster for small runs only
(benchmarks/side_by_side.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.minibatch import Minibatch
from rodflow.dynamics.process import Keep, Observation, Process, Recording, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State


def stacked(optimizers: Sequence[OptimizerMap]) -> OptimizerMap:
    """One map whose hyperparameters have a leading axis, [run]; everything else is the first one's."""
    rows = [_hyperparameters(optimizer) for optimizer in optimizers]
    together = jax.tree.map(lambda *values: jnp.stack(values), *rows)
    return eqx.tree_at(_hyperparameters, optimizers[0], together)


def _hyperparameters(optimizer: OptimizerMap) -> dict[str, Array]:
    return optimizer.transformation.hyperparameters  # type: ignore[attr-defined, no-any-return]


def _axes(optimizer: OptimizerMap) -> PyTree:
    """What is mapped over: the hyperparameters, and not the data."""
    nothing = jax.tree.map(lambda _: None, optimizer)
    along = jax.tree.map(lambda _: 0, _hyperparameters(optimizer))
    return eqx.tree_at(_hyperparameters, nothing, along, is_leaf=lambda leaf: leaf is None)


class SideBySide(Process):
    """A process of several runs at once; carries, keys and what is seen have a leading axis, [run].

    Attributes:
        process: what each of them does.
    """

    process: Discrete | Minibatch

    @eqx.filter_jit
    def first(self, optimizer: OptimizerMap, weights: Array, key: Array) -> PyTree:
        """The carries at step 0.

        Args:
            optimizer: the map with stacked hyperparameters, see `stacked`.
            weights: where each run begins, [run, parameter].
            key: one a run, as for the process, [run].
        """
        return self._over(self.process.first, optimizer, weights, key)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> PyTree:
        return self._over(self.process.begin, optimizer, before, now, after)

    def advance(
        self, optimizer: OptimizerMap, carry: PyTree, key: Array
    ) -> tuple[PyTree, Observation]:
        return self._over(self.process.advance, optimizer, carry, key)

    def snapshot(self, optimizer: OptimizerMap, carry: PyTree) -> Snapshot:
        return self._over(self.process.snapshot, optimizer, carry)

    def _over(
        self, method: Callable[..., PyTree], optimizer: OptimizerMap, *rows: PyTree
    ) -> PyTree:
        axes = (_axes(optimizer), *(0 for _ in rows))
        return eqx.filter_vmap(method, in_axes=axes)(optimizer, *rows)


def of_each(keep: Sequence[Keep]) -> Keep:
    """What of a snapshot of the batch is kept, from what is kept of each run."""

    def together(snapshot: Snapshot) -> Snapshot:
        rows = [
            own(jax.tree.map(lambda values, run=run: values[run], snapshot))
            for run, own in enumerate(keep)
        ]
        return jax.tree.map(lambda *values: np.stack(values), *rows)

    return together


def apart(recording: Recording, runs: int) -> list[Recording]:
    """The recording of each run of a batch, cut where its own loss ceases to be finite.

    Args:
        recording: of a `SideBySide`, its values with an axis [run] behind that of steps or snapshots.
        runs: how many there are.

    Returns:
        One recording a run; each has an equal share of the times that all took together.
    """
    return [_one(recording, run, runs) for run in range(runs)]


def _one(recording: Recording, run: int, runs: int) -> Recording:
    bad = np.flatnonzero(~np.isfinite(recording.series["loss"][:, run]))
    last = recording.steps[bad[0]] if bad.size else np.inf
    # Slices, not copies: of a long run these are mapped files.
    steps = int(np.searchsorted(recording.steps, last))
    kept = int(np.searchsorted(recording.snapshot_steps, last, side="right"))
    alone = replace(
        recording,
        steps=recording.steps[:steps],
        series={name: values[:steps, run] for name, values in recording.series.items()},
        snapshot_steps=recording.snapshot_steps[:kept],
        snapshots=jax.tree.map(lambda values: values[:kept, run], recording.snapshots),
        held={
            step: jax.tree.map(lambda values: values[run], carry)
            for step, carry in recording.held.items()
            if step <= last
        },
        compile_time=recording.compile_time / runs,
        step_time=recording.step_time / runs,
    )
    return replace(alone, status=f"diverged at step {last}") if bad.size else alone
