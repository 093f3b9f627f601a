"""The discrete run: the optimizer's own iterates, with what is needed to compare flows with them.

Flows are compared with the midpoint wbar_t = (w_{t-1} + 2 w_t + w_{t+1}) / 4, in which the oscillation cancels, and
rods with the half-extent (2 w_t - w_{t-1} - w_{t+1}) / 4, so three consecutive states are carried.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.optimizer_map import OptimizerMap, State
from rodflow.dynamics.process import Observation, Process, Snapshot


class Consecutive(NamedTuple):
    """Three consecutive states; loss and gradient norm at the middle one and, known already, at the last."""

    before: State
    now: State
    after: State
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]

    @classmethod
    def around(
        cls, optimizer: OptimizerMap, before: State, now: State, after: State
    ) -> "Consecutive":
        """With loss and gradient norm evaluated at the middle state."""
        value, gradient, _ = optimizer.evaluate(now)
        return cls(before, now, after, value, jnp.linalg.norm(gradient))


class Discrete(Process):
    """The optimizer itself. Its carry at step t holds the states at t - 1, t and t + 1."""

    def first(
        self, optimizer: OptimizerMap, weights: Float[Array, " parameter"], key: Array
    ) -> Consecutive:
        """The carry at step 0, where the state before is taken as the initial one."""
        del key
        start = optimizer.initial(weights)
        value, gradient, after = optimizer.evaluate(start)
        return Consecutive(start, start, after, value, jnp.linalg.norm(gradient))

    def begin(
        self, optimizer: OptimizerMap, before: State, now: State, after: State
    ) -> Consecutive:
        return Consecutive.around(optimizer, before, now, after)

    def advance(
        self, optimizer: OptimizerMap, carry: Consecutive, key: Array
    ) -> tuple[Consecutive, Observation]:
        del key
        value, gradient, following = optimizer.evaluate(carry.after)
        rod = from_consecutive(optimizer, carry.before, carry.now, carry.after)
        seen = {
            "loss": carry.loss,
            "gradient_norm": carry.gradient_norm,
            "rod_length": jnp.linalg.norm(rod.extent.weights),
        }
        return Consecutive(
            carry.now, carry.after, following, value, jnp.linalg.norm(gradient)
        ), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Consecutive) -> Snapshot:
        rod = from_consecutive(optimizer, carry.before, carry.now, carry.after)
        return {
            "weights": rod.centre.weights,
            "half_extent": rod.extent.weights,
            "iterate": carry.now.weights,
            "memory": rod.centre.memory,
        }
