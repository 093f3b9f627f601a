"""The discrete run: the optimizer's own iterates, with what is needed to compare flows with them.

Flows are compared with the midpoint wbar_t = (w_{t-1} + 2 w_t + w_{t+1}) / 4, in which the oscillation cancels, and
rods with the half-extent (2 w_t - w_{t-1} - w_{t+1}) / 4, so three consecutive states are carried.

Of each kernel W whose scale the loss does not depend on, what its norm does is observed too, [kernel]: the terms of
||W_{t+1}||^2 = ||W_t||^2 + ||W_{t+1} - W_t||^2 + 2 <W_t, W_{t+1} - W_t>, an identity, and the cosine of W and the
gradient, which is 0 because <W, grad L> is the derivative of L(cW) by c (Gould and Tanaka 2024, arXiv 2411.05746).
Other runs have none of these series.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State


def scale_invariant(optimizer: OptimizerMap) -> dict[str, slice]:
    """Name of each kernel whose scale the loss does not depend on -> where it is in the flat weights.

    Empty where the loss does not say: see `rodflow.problem.objective.Objective.scale_invariant`.
    """
    return getattr(optimizer.loss, "scale_invariant", {})


def alignment(
    optimizer: OptimizerMap,
    weights: Float[Array, " parameter"],
    gradient: Float[Array, " parameter"],
) -> Float[Array, " kernel"] | None:
    """Cosine of each scale-invariant kernel and its gradient; None if there are no such kernels.

    Args:
        optimizer: the map, whose loss says which kernels these are.
        weights: where they are looked at.
        gradient: of the loss there, of the batch if it is one.
    """
    cosines = [
        jnp.dot(weights[at], gradient[at])
        / (jnp.linalg.norm(weights[at]) * jnp.linalg.norm(gradient[at]))
        for at in scale_invariant(optimizer).values()
    ]
    return jnp.stack(cosines) if cosines else None


class Consecutive(NamedTuple):
    """Three consecutive states; loss, gradient norm and alignment at the middle one.

    The alignment is None of a run without scale-invariant kernels.
    """

    before: State
    now: State
    after: State
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]
    alignment: Float[Array, " kernel"] | None = None


@eqx.filter_jit
def consecutive(optimizer: OptimizerMap, before: State, now: State) -> Consecutive:
    """The state after two others, and what is to be seen at the middle one, for one gradient.

    Compiled by itself, so that a run, its replicas and its iterates begin with the same program.

    Args:
        optimizer: the map F, whose gradient at `now` is taken.
        before, now: states at t - 1 and t; that at t + 1 is F(now).
    """
    value, gradient, after = optimizer.evaluate(now)
    along = alignment(optimizer, now.weights, gradient)
    return Consecutive(before, now, after, value, jnp.linalg.norm(gradient), along)


class Discrete(Process):
    """The optimizer itself. Its carry at step t holds the states at t - 1, t and t + 1."""

    def first(
        self, optimizer: OptimizerMap, weights: Float[Array, " parameter"], key: Array
    ) -> Consecutive:
        """The carry at step 0, where the state before is taken as the initial one.

        Args:
            optimizer: the map that is iterated.
            weights: where it begins.
            key: not used, since nothing is drawn; other runs draw their first batch by it.
        """
        del key
        start = optimizer.initial(weights)
        return consecutive(optimizer, start, start)

    def begin(
        self, optimizer: OptimizerMap, before: State, now: State, after: State
    ) -> Consecutive:
        return consecutive(optimizer, before, now)._replace(after=after)

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
            **self._kernels(optimizer, carry),
        }
        along = alignment(optimizer, carry.after.weights, gradient)
        size = jnp.linalg.norm(gradient)
        return Consecutive(carry.now, carry.after, following, value, size, along), seen

    def _kernels(self, optimizer: OptimizerMap, carry: Consecutive) -> Observation:
        """What the norm of each scale-invariant kernel does in the step from here, [kernel]."""
        if carry.alignment is None:
            return {}
        places = scale_invariant(optimizer).values()
        kernels = [carry.now.weights[at] for at in places]
        updates = [carry.after.weights[at] - w for at, w in zip(places, kernels, strict=True)]
        return {
            "squared_norm": jnp.stack([jnp.dot(w, w) for w in kernels]),
            "squared_update": jnp.stack([jnp.dot(u, u) for u in updates]),
            "radial": jnp.stack([jnp.dot(w, u) for w, u in zip(kernels, updates, strict=True)]),
            "alignment": carry.alignment,
        }

    def snapshot(self, optimizer: OptimizerMap, carry: Consecutive) -> Snapshot:
        rod = from_consecutive(optimizer, carry.before, carry.now, carry.after)
        return {
            "weights": rod.centre.weights,
            "half_extent": rod.extent.weights,
            "iterate": carry.now.weights,
            "memory": rod.centre.memory,
            "memory_extent": rod.extent.memory,
        }
