"""The lifted map: the optimizer's map F seen by the centre and the half-extent of its iterates.

Write the iterates as z_t = Z_t + (-1)^t X_t. Then, with no approximation,

    Z' = (F(Z + X) + F(Z - X)) / 2,        X' = -(F(Z + X) - F(Z - X)) / 2,

because Z' - s X' = F(Z + s X) for s = +1 and s = -1. At the edge of stability both Z and X move slowly where z does
not. The rod is the segment from Z - X to Z + X in phase space. The auxiliary leaves of the memory (second
moment, count) are smooth there: their half-extent is held at zero and they follow the average over the two
ends (Regis and Chewi 2026, arXiv 2605.06821).
"""

from typing import NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.optimizer_map import OptimizerMap, State

Losses = tuple[Float[Array, ""], Float[Array, ""]]
"""The loss at the ends Z + X and Z - X."""


class Rod(NamedTuple):
    """Centre Z and half-extent X. `extent` has None in place of the auxiliary leaves."""

    centre: State
    extent: PyTree

    def end(self, sign: float | Array) -> State:
        """The state at Z + sign * X: an end of the rod for +1 and -1."""
        shifted = jax.tree.map(
            lambda x, z: None if x is None else z + sign * x,
            self.extent,
            self.centre,
            is_leaf=lambda x: x is None,
        )
        return eqx.combine(shifted, self.centre)


RodCarry: TypeAlias = PyTree
"""A `Rod`, or another named tuple that has its two fields."""


def refuse_momentum(optimizer: OptimizerMap, flow: str) -> None:
    """Of a flow for optimizers of which only the weights oscillate.

    Args:
        optimizer: the map that it is to follow.
        flow: its name, for the message.

    Raises:
        OptimizerError: the memory oscillates too.
    """
    if any(optimizer.oscillating[1:]):
        raise OptimizerError(
            f"{flow}: it is known for optimizers without momentum only (gd, rmsprop_scalar, rmsprop); "
            f"take a rod flow, in unit steps or by the ODE"
        )


def oscillating(optimizer: OptimizerMap, state: State) -> PyTree:
    """The oscillating leaves of a state, None in place of the others.

    Args:
        optimizer: the map, which knows which leaves these are.
        state: anything of a state's structure, such as a difference of states or rows of them.
    """
    mask = jax.tree.unflatten(jax.tree.structure(state), optimizer.oscillating)
    return eqx.filter(state, mask)


def merge_auxiliary(optimizer: OptimizerMap, oscillating: PyTree, auxiliary: PyTree) -> PyTree:
    """A state of the oscillating leaves of the first and the auxiliary leaves of the second.

    Args:
        optimizer: the map, which knows which leaves are which.
        oscillating, auxiliary: states or their changes, both with all leaves; what is not taken of one is ignored.
    """
    leaves, structure = jax.tree.flatten(oscillating)
    others = jax.tree.leaves(auxiliary)
    chosen = [
        a if follows else b
        for a, b, follows in zip(leaves, others, optimizer.oscillating, strict=True)
    ]
    return jax.tree.unflatten(structure, chosen)


def from_consecutive(optimizer: OptimizerMap, before: State, now: State, after: State) -> Rod:
    """The rod through three consecutive states: second-order in time, with the sign X_t = +(z_t - Z_t).

        Z = (z_{t-1} + 2 z_t + z_{t+1}) / 4,        X = (2 z_t - z_{t-1} - z_{t+1}) / 4.

    Args:
        optimizer: the map, which knows which leaves have a half-extent.
        before, now, after: states at t - 1, t and t + 1.
    """
    centre = jax.tree.map(lambda a, b, c: (a + 2 * b + c) / 4, before, now, after)
    extent = jax.tree.map(lambda a, b, c: (2 * b - a - c) / 4, before, now, after)
    return Rod(centre, oscillating(optimizer, extent))


def lifted_map(optimizer: OptimizerMap, rod: Rod) -> Rod:
    """One step of the lifted map from its two ends: two gradients.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X); a short one loses its digits here, but not in `stable_lifted_map`.
    """
    plus, minus = optimizer(rod.end(+1)), optimizer(rod.end(-1))
    centre = jax.tree.map(lambda a, b: (a + b) / 2, plus, minus)
    extent = jax.tree.map(lambda a, b: (b - a) / 2, plus, minus)
    return Rod(centre, oscillating(optimizer, extent))


def is_small(rod: Rod) -> Bool[Array, ""]:
    """Whether the difference of the two ends would be rounding noise: ||X_w|| below 0.3 sqrt(eps) ||Z_w||.

    There the difference of F at the ends loses all its digits while the linearisation errs by the
    square of the ratio only.
    """
    weights, extent = rod.centre.weights, rod.extent.weights
    relative = 0.3 * jnp.sqrt(jnp.finfo(weights.dtype).eps)
    return jnp.linalg.norm(extent) < relative * jnp.linalg.norm(weights)


def stable_lifted_map_and_losses(optimizer: OptimizerMap, rod: Rod) -> tuple[Rod, Losses]:
    """The lifted map from its ends where the rod is long enough, to first order in the half-extent where it is not.

    To first order Z' = F(Z), X' = -DF(Z)[X], and the losses are L(Z) +- DL(Z)[X]. The derivative is a difference
    between Z and a point further along X, so that both cases are two gradients and share one program. The centre
    follows F(Z): an average over ends moved apart would have too large a second moment.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X); `is_small` says whether it is too short for its ends.

    Returns:
        Phi(Y), and the losses at the ends of Y.
    """
    small = is_small(rod)
    reach = jnp.where(small, _stretch(rod), 1)
    loss_a, _, a = optimizer.evaluate(rod.end(reach))
    loss_b, _, b = optimizer.evaluate(rod.end(jnp.where(small, 0, -1)))

    def half(a: Array, b: Array) -> Array:
        return (a - b) / jnp.where(small, reach, 2)

    centre = jax.tree.map(lambda a, b: jnp.where(small, b, (a + b) / 2), a, b)
    extent = jax.tree.map(half, b, a)
    middle = jnp.where(small, loss_b, (loss_a + loss_b) / 2)
    rise = half(loss_a, loss_b)
    return Rod(centre, oscillating(optimizer, extent)), (middle + rise, middle - rise)


def lifted_increment_and_losses(optimizer: OptimizerMap, rod: Rod) -> tuple[Rod, Losses]:
    """f(Y) = Phi(Y) - Y from the increments of F at the two ends, and the losses there.

    The same as the difference of `stable_lifted_map_and_losses` and Y, but for the rounding of a sum of weights and a
    step: a large step multiplies f, and would multiply that rounding with it.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X).
    """
    small = is_small(rod)
    reach = jnp.where(small, _stretch(rod), 1)
    loss_a, a = optimizer.evaluate_increment(rod.end(reach))
    loss_b, b = optimizer.evaluate_increment(rod.end(jnp.where(small, 0, -1)))
    width = jnp.where(small, reach, 2)
    centre = jax.tree.map(lambda a, b: jnp.where(small, b, (a + b) / 2), a, b)
    turned = jax.tree.map(lambda a, b: (b - a) / width, a, b)
    extent = jax.tree.map(
        lambda d, x: None if x is None else d - 2 * x,
        oscillating(optimizer, turned),
        rod.extent,
        is_leaf=lambda x: x is None,
    )
    middle = jnp.where(small, loss_b, (loss_a + loss_b) / 2)
    rise = (loss_a - loss_b) / width
    return Rod(centre, extent), (middle + rise, middle - rise)


def _stretch(rod: Rod) -> Float[Array, ""]:
    """The factor that makes ||X_w|| 0.03 sqrt(eps) ||Z_w||, not above 1 / eps.

    Over this distance (1e-5 of the weights in float32) a difference of gradients has lost few of its digits, and the
    gradient has not bent yet.
    """
    weights, extent = rod.centre.weights, rod.extent.weights
    eps = jnp.finfo(weights.dtype).eps
    near = 0.03 * jnp.sqrt(eps) * jnp.linalg.norm(weights)
    return near / (jnp.linalg.norm(extent) + eps * near)


def stable_lifted_map(optimizer: OptimizerMap, rod: Rod) -> Rod:
    """The lifted map alone, chosen as in `stable_lifted_map_and_losses`.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X).
    """
    return stable_lifted_map_and_losses(optimizer, rod)[0]


def orbit_and_losses(optimizer: OptimizerMap, rod: Rod, length: int) -> tuple[list[Rod], Losses]:
    """Phi(Y), Phi(Phi(Y)), ..., as many as asked for, and the losses at the ends of Y.

    A scan, not several calls: the program has one pair of gradients in it, and compiles in a third of the time.

    Args:
        optimizer: the map F.
        rod: Y, which is not in the answer.
        length: how many steps of the lifted map are taken, two gradients each.
    """

    def lifted(y: Rod, _: None) -> tuple[Rod, tuple[Rod, Losses]]:
        image, losses = stable_lifted_map_and_losses(optimizer, y)
        return image, (image, losses)

    _, (images, (plus, minus)) = jax.lax.scan(lifted, rod, length=length)
    orbit = [jax.tree.map(lambda leaf, k=k: leaf[k], images) for k in range(length)]
    return orbit, (plus[0], minus[0])


def seed(rod: RodCarry, key: Array) -> RodCarry:
    """Add rounding-sized noise to the weights' half-extent of a Rod, or of a carry that has its two fields.

    In exact arithmetic a rod of no length stays so; in training the rounding of every step seeds the
    oscillation. A rounding error of w is uniform within half a unit in the last place, at
    most eps |w| / 2, so its standard deviation is at most eps |w| / sqrt(12).

    Args:
        rod: what is seeded; its memory has no noise of its own.
        key: of this step's noise.
    """
    noise = rounding(rod.centre.weights, key)
    return rod._replace(extent=rod.extent._replace(weights=rod.extent.weights + noise))


def rounding(weights: Float[Array, " parameter"], key: Array) -> Float[Array, " parameter"]:
    """Noise of the size of the weights' rounding in a step, N(0, (eps |w|)^2 / 12) for each by itself, see `seed`.

    Args:
        weights: those that are rounded; eps is that of their dtype.
        key: of this step's noise.
    """
    scale = jnp.finfo(weights.dtype).eps / jnp.sqrt(jnp.asarray(12.0, weights.dtype))
    return scale * jnp.abs(weights) * jax.random.normal(key, weights.shape, weights.dtype)
