"""The rod flow with noise: a cheaper flow of minibatch training, for methods without momentum.

The rod steps by the unit step (`rodflow.dynamics.flows.rod_unit_step`) and is then kicked by the noise
xi = g_B(Z) - g(Z) of a batch. With F(Z, n) the step that sees the gradient g(Z) + n,

    X += (F(Z, +xi) - F(Z, -xi)) / 2,        auxiliary leaves += (F(Z, +xi) + F(Z, -xi)) / 2 - F(Z, 0).

The half-extent holds what alternates. Noise that is white has as much of that as of anything, and its sign is no
matter, so X then has the variance that the run has along directions near the edge. With momentum the noise of a step is
spread over 1 / (1 - b) steps and a rod holds too little of it: the level is wrong there (docs/theory.md, minibatches),
and `rodflow.dynamics.flows.pair` is the flow to take. The scheme is this project's own.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rodflow.config.declarations import GRADIENTS, NOISE, ROD, Flow, without_momentum
from rodflow.dynamics import batches
from rodflow.dynamics.batches import Epoch
from rodflow.dynamics.flows.rod_unit_step import Bending, RodUnitStep
from rodflow.dynamics.lifted import (
    Rod,
    from_consecutive,
    merge_auxiliary,
    oscillating,
    refuse_momentum,
)
from rodflow.dynamics.noise import own_key, relative, remark, turned_negative
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="Rod flow in unit steps, kicked by the noise of minibatches; for methods without momentum.",
    label="kicked rod flow",
    short="kicked rod",
    order=11,
    color="green",
    marker="p",
    dashes=(0, (1, 1)),
    above=2.35,
    series={**ROD, **NOISE, **GRADIENTS},
    supports=without_momentum,
    why="kicks what alternates, and with momentum the noise is slow",
    batches=True,
)


class Kicked(NamedTuple):
    """A rod with the running mean of its bends, and which batches were drawn."""

    rod: Bending
    epoch: Epoch


class KickedRod(Process):
    """The rod flow, kicked once a step.

    The status of a run names the first step at which the noise makes a second moment negative, and says so where the
    batches leave no noise.

    Attributes:
        size: samples in a batch.
    """

    size: int = eqx.field(static=True)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Kicked:
        refuse_momentum(optimizer, "kicked rod flow")
        rod = RodUnitStep().start(optimizer, from_consecutive(optimizer, before, now, after))
        return Kicked(rod, batches.before_first(optimizer.loss, self.size))

    def advance(
        self, optimizer: OptimizerMap, carry: Kicked, key: Array
    ) -> tuple[Kicked, Observation]:
        epoch, chosen = batches.draw(carry.epoch, self.size, own_key(key))
        rod, seen = RodUnitStep().advance(optimizer, carry.rod, key)
        here = carry.rod.centre
        full = jax.grad(optimizer.loss)(here.weights)
        noise = jax.grad(batches.on(optimizer.loss, chosen))(here.weights) - full
        kick = answer(optimizer, here, full, noise)
        extent = jax.tree.map(jnp.add, rod.extent, kick.extent)
        raised = jax.tree.map(jnp.add, rod.centre, kick.centre)
        centre = merge_auxiliary(optimizer, rod.centre, raised)
        share = self.size / batches.samples(optimizer.loss)
        return Kicked(Bending(centre, extent, rod.bend), epoch), {
            **seen,
            "noise": relative(noise, full),
            "negative": turned_negative(optimizer, here, centre),
            "gradients": seen["gradients"] + 1 + share,
        }

    def snapshot(self, optimizer: OptimizerMap, carry: Kicked) -> Snapshot:
        return RodUnitStep().snapshot(optimizer, carry.rod)

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        return remark(series, steps)


def answer(optimizer: OptimizerMap, here: State, gradient: Array, noise: Array) -> Rod:
    """What a step makes of noise: the even part of its answer as a centre, the odd part as a half-extent.

    Args:
        optimizer: the map; F(Z, n) is its step that sees the gradient g(Z) + n.
        here: the state Z.
        gradient: g(Z), of all samples.
        noise: xi, the gradient of a batch less g(Z).

    Returns:
        (F(Z, +xi) + F(Z, -xi)) / 2 - F(Z, 0) and (F(Z, +xi) - F(Z, -xi)) / 2.
    """
    still = optimizer.update(here, gradient)
    up, down = (optimizer.update(here, gradient + sign * noise) for sign in (1, -1))
    even: PyTree = jax.tree.map(lambda a, b, c: (a + b) / 2 - c, up, down, still)
    odd = jax.tree.map(lambda a, b: (a - b) / 2, up, down)
    return Rod(even, oscillating(optimizer, odd))


process = KickedRod
"""What the flow is made with, from the samples in a batch."""
