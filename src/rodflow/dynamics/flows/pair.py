"""A pair of copies with opposite noise: the flow of training on minibatches.

Let xi(w) = g_B(w) - g(w) be what the gradient of a batch B differs in from that of all samples. The two copies Z + V
and Z - V step with opposite noise,

    Z' = (F(Z + V, +xi) + F(Z - V, -xi)) / 2,        V' = (F(Z + V, +xi) - F(Z - V, -xi)) / 2,

where F(w, n) is the step that sees the gradient g(w) + n. To first order in xi the centre Z does not move with it,
and V is the fluctuation of the run about it, at every frequency. What Z feels is the square of the noise: through the
curvature of the loss, which V explores, and through a second moment, for the mean of (g + xi)^2 and (g - xi)^2 is
g^2 + xi^2. Auxiliary leaves are those of Z alone, the mean over the two copies. Without noise, and with V that
alternates, it is the lifted map (`rodflow.dynamics.lifted`).

Each copy sees the noise at its own weights: Z + V steps on the batch, and Z - V on 2 L - L_B. That takes one gradient
of all samples and two of a batch. The noise could be taken at Z for both, at two gradients more; in place of g(Z) there
the mean of those at the ends must not stand (docs/theory.md, minibatches).

The batches are drawn as in training, from keys of its own. The scheme is this project's own.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rodflow.config.declarations import GRADIENTS, NOISE, Flow
from rodflow.dynamics import batches
from rodflow.dynamics.batches import Epoch
from rodflow.dynamics.lifted import Rod, from_consecutive, oscillating
from rodflow.dynamics.noise import own_key, relative, remark, turned_negative
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="A pair of copies with opposite noise, which models training on minibatches.",
    label="pair with opposite noise",
    short="pair",
    order=10,
    color="blue",
    marker="h",
    dashes=(0, (3, 1)),
    above=2.4,
    series={
        "loss_plus": "full-batch loss at the copy Z + V",
        "loss_minus": "full-batch loss at the copy Z - V",
        "rod_length": "norm of the weights' fluctuation ||V_w||",
        **NOISE,
        **GRADIENTS,
    },
    batches=True,
)


class Copies(NamedTuple):
    """Centre Z and fluctuation V, which has None in place of auxiliary leaves, and which batches were drawn."""

    centre: State
    extent: PyTree
    epoch: Epoch


class Pair(Process):
    """The pair, on batches.

    The status of a run names the first step at which the noise makes a second moment negative, and says so where the
    batches leave no noise.

    Attributes:
        size: samples in a batch.
    """

    size: int = eqx.field(static=True)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Copies:
        rod = from_consecutive(optimizer, before, now, after)
        return Copies(*rod, batches.before_first(optimizer.loss, self.size))

    def advance(
        self, optimizer: OptimizerMap, carry: Copies, key: Array
    ) -> tuple[Copies, Observation]:
        epoch, chosen = batches.draw(carry.epoch, self.size, own_key(key))
        rod = Rod(carry.centre, carry.extent)
        plus, minus = rod.end(+1), rod.end(-1)
        of_batch = jax.grad(batches.on(optimizer.loss, chosen))
        loss_minus, full = jax.value_and_grad(optimizer.loss)(minus.weights)
        noise = of_batch(minus.weights) - full
        a = optimizer.update(plus, of_batch(plus.weights))
        b = optimizer.update(minus, full - noise)
        centre = jax.tree.map(lambda a, b: (a + b) / 2, a, b)
        extent = jax.tree.map(lambda a, b: (a - b) / 2, a, b)
        total = batches.samples(optimizer.loss)
        return Copies(centre, oscillating(optimizer, extent), epoch), {
            "loss": optimizer.loss(carry.centre.weights),
            "loss_plus": optimizer.loss(plus.weights),
            "loss_minus": loss_minus,
            "rod_length": jnp.linalg.norm(carry.extent.weights),
            "noise": relative(noise, full),
            "negative": turned_negative(optimizer, carry.centre, a, b),
            "gradients": jnp.asarray(1 + 2 * self.size / total, jnp.float32),
        }

    def snapshot(self, optimizer: OptimizerMap, carry: Copies) -> Snapshot:
        return {
            "weights": carry.centre.weights,
            "half_extent": carry.extent.weights,
            "memory": carry.centre.memory,
        }

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        return remark(series, steps)


process = Pair
"""What the flow is made with, from the samples in a batch."""
