"""Continuing: a run that was stopped between two chunks ends as if it had not been, to the last bit."""

import random
from collections.abc import Callable
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dynamics.test_process import lengthening
from representatives import now
from rodflow.dynamics.integration import FLOWS, integrate
from rodflow.dynamics.process import Recording, grid
from rodflow.dynamics.training import discrete, discrete_side_by_side
from rodflow.optimizers.optimizer_map import OptimizerMap, optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.store.checkpoint import Checkpoint, Scratch
from small import WEIGHTS, network_loss

START, STEPS, EVERY = 4, 40, 6
SNAPSHOTS = grid(START, 1, STEPS, EVERY)


class Stopped(Exception):
    """In place of a kill."""


class Network(eqx.Module):
    """The loss of `small`, of which a batch may see a part."""

    inputs: jax.Array
    targets: jax.Array

    @property
    def samples(self) -> int:
        return len(self.inputs)

    def of(self, samples: jax.Array) -> "Network":
        return Network(self.inputs[samples], self.targets[samples])

    def __call__(self, weights: jax.Array) -> jax.Array:
        hidden = jnp.tanh(self.inputs @ weights[:12].reshape(3, 4))
        return jnp.mean((hidden @ weights[12:] - self.targets) ** 2) / 2


INPUTS = jax.random.normal(jax.random.key(0), (6, 3))
NETWORK = Network(INPUTS, jax.random.normal(jax.random.key(1), (6,)))
FIRST = jnp.asarray(WEIGHTS, jnp.float32)
MOMENTUM = OptimizerMap(network_loss, optax.sgd(1.0, momentum=0.5), (True, True))
PLAIN = OptimizerMap(network_loss, optax.sgd(2.0), (True,))
ADAM = optimizer_map(
    network_loss,
    TABLE["adam"].tuned(jnp.float32, learning_rate=0.01, b1=0.9, b2=0.99, eps=1e-8),
    FIRST,
)
OWN = {
    **dict.fromkeys(("central", "edge", "edge_unit_step", "rod_macro"), PLAIN),
    "adam_continuous": ADAM,
}
ON_BATCHES = OptimizerMap(NETWORK, optax.sgd(0.5), (True,))
BATCH = [
    OptimizerMap(NETWORK, TABLE["gd"].tuned(jnp.float32, learning_rate=rate), (True,))
    for rate in (0.5, 1e4)
]


def discrete_run(**how) -> Recording:
    return discrete(MOMENTUM, FIRST, steps=STEPS, snapshot_steps=SNAPSHOTS, hold=[START], **how)


def minibatches(**how) -> Recording:
    how |= {"batch_size": 2, "seed": 3}
    return discrete(ON_BATCHES, FIRST, steps=STEPS, snapshot_steps=SNAPSHOTS, **how)


def side_by_side(**how) -> list[Recording]:
    """Of which the second one diverges."""
    return discrete_side_by_side(
        BATCH,
        [FIRST, FIRST / 2],
        steps=STEPS,
        snapshot_steps=SNAPSHOTS,
        hold=[START],
        seeds=[0, 1],
        **how,
    )


def flow(name: str) -> Callable[..., Recording]:
    def run(**how) -> Recording:
        own = {"batch_size": 2} if FLOWS[name].batches else {}
        optimizer = ON_BATCHES if own else OWN.get(name, MOMENTUM)
        state = optimizer.initial(FIRST)
        states = (state, optimizer(state), optimizer(optimizer(state)))
        return integrate(
            name, optimizer, states, start=START, stop=STEPS, every=EVERY, **own, **how
        )

    return run


RUNS = {
    "discrete": discrete_run,
    "minibatches": minibatches,
    "side_by_side": side_by_side,
    "diverging": lambda **how: lengthening(100, rate=3.0, stop=100, **how),
    "changing_shapes": lambda **how: lengthening(100, stop=60, **how),
} | {name: flow(name) for name in FLOWS if name != "central_unregularised"}


def stopped(run: Callable[..., Recording], folder: Path, after: int) -> bool:
    """Run with a checkpoint after every chunk, and stop after so many; whether there were so many."""
    left = after

    def progress(step: int, loss: float) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise Stopped

    scratch = Scratch(folder, lambda: "key", pause=0)
    try:
        run(progress=progress, checkpoint=Checkpoint(scratch, "run"))
    except Stopped:
        return True
    finally:
        scratch.release()
    return False


def assert_same(found: Recording | list[Recording], expected: Recording | list[Recording]) -> None:
    volatile = {"compile_time", "step_time"}
    one, other = (
        [
            {name: value for name, value in vars(run).items() if name not in volatile}
            for run in (runs if isinstance(runs, list) else [runs])
        ]
        for runs in (found, expected)
    )
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(other), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes()), path


TO_COMPILE = {
    *("edge", "rod", "stable", "closure", "central", "adam_continuous", "rod_macro"),
    *("edge_unit_step", "kicked_rod", "minibatches", "pair"),
}
"""What takes seconds to compile."""


@pytest.mark.parametrize("name", now(RUNS, *(RUNS.keys() - TO_COMPILE)))
def test_a_stopped_run_ends_as_if_it_had_not_been_stopped(name, tmp_path):
    run, draw = RUNS[name], random.Random(name)
    expected = run()
    folder, stops = tmp_path / "scratch", 0
    while stopped(run, folder, draw.randint(1, 3)):
        stops += 1
    assert stops > 1
    lines = []
    scratch = Scratch(folder, lambda: "key", tell=lambda line, seconds: lines.append(line))
    assert_same(run(checkpoint=Checkpoint(scratch, "run")), expected)
    assert [line[:18] for line in lines] == ["continues at step "]
