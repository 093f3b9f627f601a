"""The optimizer itself on the quadratic Taylor model of the loss at t0: no flow, but followed like one.

    L(w_0) + g . (w - w_0) + (w - w_0) . H (w - w_0) / 2

It shows what third derivatives do. Started at the edge of stability the model, whose curvature stays what it is,
diverges where the run does not (Cohen et al. 2021, arXiv 2103.00065).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.config.declarations import Flow, of
from rodflow.dynamics.discrete import Consecutive, Discrete, consecutive
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import Loss, OptimizerMap, State

FLOW = Flow(
    title="The optimizer on the quadratic Taylor model of the loss where the flows start.",
    label="quadratic Taylor model",
    short="Taylor",
    order=12,
    color="brown",
    dashes=(0, (2, 1)),
    series={"gradient_norm": "norm of the model's gradient"},
    supports=of("gd", "heavy_ball", "nesterov"),
    why="is built for methods whose step is linear in the gradient",
)


class Expansion(NamedTuple):
    """Where a loss is expanded, and what it and its gradient are there."""

    origin: Float[Array, " parameter"]
    value: Float[Array, ""]
    gradient: Float[Array, " parameter"]


class Quadratic(eqx.Module):
    """The Taylor model of second order of a loss.

    Attributes:
        loss: of the flat weights.
        at: where it is expanded.
    """

    loss: Loss
    at: Expansion

    def __call__(self, weights: Float[Array, " parameter"]) -> Float[Array, ""]:
        away = weights - self.at.origin
        _, image = jax.jvp(jax.grad(self.loss), (self.at.origin,), (away,))
        return self.at.value + jnp.dot(self.at.gradient, away) + jnp.dot(away, image) / 2


def expanded(loss: Loss, origin: Float[Array, " parameter"]) -> Expansion:
    """The loss and its gradient at an origin.

    Args:
        loss: of the flat weights.
        origin: the weights about which the loss is expanded.
    """
    return Expansion(origin, *jax.value_and_grad(loss)(origin))


class Carry(NamedTuple):
    """Three consecutive states of the optimizer on the model, and where the loss is expanded."""

    run: Consecutive
    at: Expansion


class TaylorModel(Process):
    """A discrete run on the model; its first step is that of the run."""

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        del after
        at = expanded(optimizer.loss, now.weights)
        return Carry(consecutive(_on_model(optimizer, at), before, now), at)

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        following, seen = Discrete().advance(_on_model(optimizer, carry.at), carry.run, key)
        return Carry(following, carry.at), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        seen = Discrete().snapshot(optimizer, carry.run)
        return {name: seen[name] for name in ("weights", "half_extent", "memory")}


def _on_model(optimizer: OptimizerMap, at: Expansion) -> OptimizerMap:
    return OptimizerMap(
        Quadratic(optimizer.loss, at), optimizer.transformation, optimizer.oscillating
    )


process = TaylorModel
"""What the flow is made with."""
