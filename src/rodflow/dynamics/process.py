"""A process moves something through unit times and is recorded: the discrete run and every flow alike.

A flow is a small `Process`: how it begins from three consecutive states of the discrete run, how it advances by one
unit of time, what it shows at every step and what it keeps at a snapshot. `record` runs any of them in `lax.scan`
chunks, one chunk from snapshot to snapshot, and stops where the loss ceases to be finite. What it has seen so far is in
a `rodflow.store.checkpoint.Checkpoint`, with the carry now and then: a run that was killed continues between two
chunks.
"""

import abc
import itertools
import time
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.store.checkpoint import Checkpoint

Observation = dict[str, Float[Array, "..."]]
"""Numbers, or a few numbers of one kind such as one a kernel, that are to be seen at a step."""
Snapshot = dict[str, PyTree]
Progress = Callable[[int, float], None]
"""Called after every chunk with the step reached and the loss there."""
Keep = Callable[[Snapshot], Snapshot]
"""What of a snapshot, with arrays on the host, is kept."""


class Process(eqx.Module):
    """How something that follows an optimizer moves. Subclasses hold their own settings as fields."""

    @abc.abstractmethod
    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> PyTree:
        """The carry at time t0 from three consecutive states of the optimizer.

        Args:
            optimizer: the map that is followed.
            before, now, after: its states at t0 - 1, t0 and t0 + 1.

        Raises:
            OptimizerError: the process is not written for this optimizer.
        """

    @abc.abstractmethod
    def advance(
        self, optimizer: OptimizerMap, carry: PyTree, key: Array
    ) -> tuple[PyTree, Observation]:
        """The carry one unit of time, a step of the optimizer, later, and what was to be seen before.

        Args:
            optimizer: the map that is followed.
            carry: where the process is.
            key: of this step alone, for whatever is random in it.

        Returns:
            The carry, and the observation at the carry that was given; it has a `loss`.
        """

    @abc.abstractmethod
    def snapshot(self, optimizer: OptimizerMap, carry: PyTree) -> Snapshot:
        """What is kept at a snapshot; it has the flat `weights` and the optimizer's `memory`.

        Args:
            optimizer: the map that is followed.
            carry: where the process is.
        """

    def adapt(self, optimizer: OptimizerMap, carry: PyTree) -> PyTree:
        """The carry between two chunks, where its shapes may change: the same, unless a subclass has a reason.

        Args:
            optimizer: the map that is followed.
            carry: where the process is after the chunk; its loss was finite up to there.
        """
        return carry

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        """What a reader must know of a run, one line for its status; usually nothing.

        Args:
            series: what was observed, name -> values, [step] or with further axes.
            steps: the steps of these values.

        Returns:
            The line, without the word before the colon; empty if there is nothing to say.
        """
        return ""


@dataclass
class Recording:
    """What a process did.

    Attributes:
        steps: the steps at which `series` was observed, [step].
        series: name -> values, [step] or [step, kernel].
        snapshot_steps: the steps of `snapshots`, [snapshot].
        snapshots: name -> values with a leading [snapshot] axis; `memory` is a pytree of them.
        status: "completed", or "diverged at step n" with n the first step whose loss is not finite; and after a
            colon the process's remark, if it has one.
        compile_time: seconds of the first chunk, compilation included.
        step_time: median seconds per step of the other chunks. Both of the process that ended the run.
        held: step -> carry there, for the steps asked for.

    Arrays of series and snapshots are mapped from the checkpoint's files, and read-only, if it has some.
    """

    steps: np.ndarray
    series: dict[str, np.ndarray]
    snapshot_steps: np.ndarray
    snapshots: Snapshot
    status: str = "completed"
    compile_time: float = 0.0
    step_time: float = float("nan")
    held: dict[int, PyTree] = field(default_factory=dict)


def fold_in(key: Array, step: Array) -> Array:
    """The key of a step, or of several keys that of each.

    Args:
        key: of a run, or an array of keys of any shape, one a run.
        step: the number of the step, the same for all.
    """
    fold = jax.random.fold_in
    for _ in key.shape:
        fold = jax.vmap(fold, in_axes=(0, None))
    return fold(key, step)


@eqx.filter_jit  # traced once, though a chunk looks at it twice
def _advance(
    process: Process, optimizer: OptimizerMap, carry: PyTree, key: Array
) -> tuple[PyTree, Observation]:
    return process.advance(optimizer, carry, key)


@eqx.filter_jit
def _chunk(
    process: Process,
    optimizer: OptimizerMap,
    carry: PyTree,
    key: Array,
    first: Array,
    length: Array,
    size: int,
) -> tuple[PyTree, Observation]:
    """Advance by `length` steps; the observations have `size` entries, of which the first `length` count.

    Chunks of every length share one compiled program.
    """

    def advance(carry: PyTree, step: Array) -> tuple[PyTree, Observation]:
        return _advance(process, optimizer, carry, fold_in(key, step))

    nothing = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(advance, carry, first)[1]
    )

    def body(carry: PyTree, index: Array) -> tuple[PyTree, Observation]:
        return jax.lax.cond(
            index < length, advance, lambda carry, _: (carry, nothing), carry, first + index
        )

    return jax.lax.scan(body, carry, jnp.arange(size))


@eqx.filter_jit
def _look(process: Process, optimizer: OptimizerMap, carry: PyTree) -> Snapshot:
    return process.snapshot(optimizer, carry)


def grid(start: int, first: int, last: int, every: int) -> list[int]:
    """The steps in [first, last] that lie a multiple of `every` from `start`.

    Args:
        start: a step of the grid, within the range or not.
        first, last: the range, both included.
        every: the distance between two steps of the grid.
    """
    return list(range(start - (start - first) // every * every, last + 1, every))


def record(
    process: Process,
    optimizer: OptimizerMap,
    carry: PyTree,
    *,
    first: int,
    last: int,
    snapshot_steps: Sequence[int],
    key: Array,
    hold: Sequence[int] = (),
    progress: Progress | None = None,
    keep: Keep | None = None,
    checkpoint: Checkpoint | None = None,
) -> Recording:
    """Run a process from step `first` to step `last` (both observed) and keep its snapshots.

    Args:
        process: what moves.
        optimizer: the map it follows.
        carry: where it is at step `first`.
        first, last: the range of observed steps.
        snapshot_steps: increasing steps in [first, last] at which weights are kept.
        key: source of the seeding noise; every step folds its own number in.
        hold: steps in [first, last] whose carry is wanted.
        progress: called after every chunk.
        keep: from what the process shows at a snapshot to what is kept of it; None: everything.
        checkpoint: of this run and no other. If it was saved before, the run continues there, bit for bit.

    Returns:
        The recording, cut at the first step whose loss is not finite; of runs side by side, that of none of them.

    Raises:
        CheckpointError: the checkpoint cannot be written.
    """
    recorder = _Recorder(
        process,
        optimizer,
        carry,
        key,
        (lambda snapshot: snapshot) if keep is None else keep,
        Checkpoint() if checkpoint is None else checkpoint,
        following=first,
    )
    recorder.resume()
    segments = list(_segments(first, last, {*snapshot_steps, *hold}))
    size = max(length for _, length in segments)
    wanted = set(snapshot_steps)
    for at, length in segments:
        if at < recorder.following or recorder.status != "completed":
            continue
        if at in wanted:
            recorder.look(at)
        if at in hold:
            recorder.held[at] = jax.device_get(recorder.carry)
        loss = recorder.go(at, length, size)
        if progress is not None and recorder.status == "completed":
            progress(at + length - 1, loss)
    return recorder.recording(first)


@dataclass
class _Recorder:
    """A recording in the making.

    Attributes:
        process, optimizer, carry, key, keep, checkpoint: see `record`; the carry is that of the step `following`.
        following: the next step.
        status: as of a `Recording`, without a remark.
        held: step -> carry there.
        structure: of a snapshot, once one was taken.
        compile_time, step_times: seconds of the first chunk, and per step of the others.
    """

    process: Process
    optimizer: OptimizerMap
    carry: PyTree
    key: Array
    keep: Keep
    checkpoint: Checkpoint
    following: int
    status: str = "completed"
    held: dict[int, PyTree] = field(default_factory=dict)
    structure: jax.tree_util.PyTreeDef | None = None
    compile_time: float = 0.0
    step_times: list[float] = field(default_factory=list)

    def resume(self) -> None:
        """Go on where the checkpoint has got to, if it has one."""
        if (begun := self.checkpoint.resume()) is None:
            return
        leaves, note = begun
        self.following, self.status = note["following"], note["status"]
        structure = jax.tree.structure(self.carry)
        self.carry, self.held = _restored(leaves, note["held"], structure)
        self.checkpoint.tell(f"continues at step {self.following}")

    def look(self, at: int) -> None:
        """Keep a snapshot of the carry, which is at this step."""
        snapshot = self.keep(jax.device_get(_look(self.process, self.optimizer, self.carry)))
        values, self.structure = jax.tree.flatten(snapshot)
        for index, value in enumerate(values):
            self.checkpoint.append(f"snapshot.{index}", np.asarray(value)[None])
        self.checkpoint.append("snapshot_steps", np.array([at]))

    def go(self, at: int, length: int, size: int) -> float:
        """Advance by a chunk and keep what was seen, up to where the loss is lost; the last loss."""
        began = time.perf_counter()
        where = jnp.asarray(at), jnp.asarray(length)
        self.carry, seen = jax.block_until_ready(
            _chunk(self.process, self.optimizer, self.carry, self.key, *where, size)
        )
        elapsed = time.perf_counter() - began
        if self.compile_time:
            self.step_times.append(elapsed / length)
        else:
            self.compile_time = elapsed
        seen = {name: values[:length] for name, values in jax.device_get(seen).items()}
        finite = np.isfinite(seen["loss"]).reshape(length, -1).any(axis=1)  # of some run of a batch
        bad = np.flatnonzero(~finite)
        if bad.size:
            self.status = f"diverged at step {at + int(bad[0])}"
            seen = {name: values[: bad[0]] for name, values in seen.items()}
        for name, values in seen.items():
            self.checkpoint.append(f"series.{name}", values)
        self.following = at + length
        if not bad.size:
            self.carry = self.process.adapt(self.optimizer, self.carry)
        if self.checkpoint.due:
            leaves = jax.device_get(jax.tree.leaves((self.carry, list(self.held.values()))))
            note = {"following": self.following, "status": self.status, "held": list(self.held)}
            self.checkpoint.save(leaves, **note)
        return np.nan if bad.size else float(np.nanmean(seen["loss"][-1]))

    def recording(self, first: int) -> Recording:
        """What was recorded, from the first step on."""
        names, column = self.checkpoint.names, self.checkpoint.column
        series = {
            name.removeprefix("series."): column(name)
            for name in names
            if name.startswith("series.")
        }
        steps = first + np.arange(len(series["loss"]))
        if remark := self.process.remark(series, steps):
            self.status = f"{self.status}: {remark}"
        kept_at, snapshots = np.zeros(0, np.int64), Snapshot()
        if "snapshot_steps" in names:
            kept_at = column("snapshot_steps")
            if self.structure is None:  # none was taken since the run continued
                seen = _look(self.process, self.optimizer, self.carry)
                self.structure = jax.tree.structure(self.keep(jax.device_get(seen)))
            columns = [column(f"snapshot.{index}") for index in range(self.structure.num_leaves)]
            snapshots = jax.tree.unflatten(self.structure, columns)
        return Recording(
            steps=steps,
            series=series,
            snapshot_steps=kept_at,
            snapshots=snapshots,
            status=self.status,
            compile_time=self.compile_time,
            step_time=float(np.median(self.step_times)) if self.step_times else float("nan"),
            held=self.held,
        )


def _restored(
    leaves: list[np.ndarray], held_at: list[int], structure: PyTree
) -> tuple[PyTree, dict[int, PyTree]]:
    """A carry and what was held before, of the same structure, from their leaves one after the other."""
    count = structure.num_leaves
    now, *before = [
        jax.tree.unflatten(structure, leaves[index : index + count])
        for index in range(0, count * (len(held_at) + 1), count)
    ]
    return jax.tree.map(jnp.asarray, now), dict(zip(held_at, before, strict=True))


def _segments(first: int, last: int, stops: Set[int]) -> Iterator[tuple[int, int]]:
    """(first step, length) of the chunks that cover [first, last] and break at the stops."""
    breaks = sorted({first, *(s for s in stops if first <= s <= last), last + 1})
    for at, after in itertools.pairwise(breaks):
        yield at, after - at
