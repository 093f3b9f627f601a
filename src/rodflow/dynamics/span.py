"""A macro step of a rod, and the rod within it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rodflow.dynamics.chebyshev import choose, combine
from rodflow.dynamics.lifted import Rod, merge_auxiliary
from rodflow.optimizers.optimizer_map import OptimizerMap


class Span(NamedTuple):
    """A macro step from which everything between its ends is interpolated.

    Attributes:
        start, change: the rod at its start, and what it changes by.
        f, f_end: the lifted increment at its ends.
        losses: at the centre, Z + X and Z - X, at its ends.
        length, passed: optimizer steps in it, and how many of them have passed.
    """

    start: Rod
    change: Rod
    f: Rod
    f_end: Rod
    losses: Float[Array, "end place"]
    length: Int[Array, ""]
    passed: Int[Array, ""]

    @property
    def end(self) -> Rod:
        """The rod at its end."""
        return moved(self.start, self.change)


def at(optimizer: OptimizerMap, span: Span) -> Rod:
    """The rod where the time that has passed leads to.

    Increments that change linearly in time from f to f_end, and what is missing at the end along a smooth step.

    Args:
        optimizer: the map, which knows the auxiliary leaves: where these would not stay positive they move evenly.
        span: the macro step, and how much of it has passed; at its end the answer is exactly its end.
    """
    count = jnp.maximum(span.length, 1).astype(span.losses.dtype)
    passed = span.passed.astype(count.dtype)
    late = passed * (passed - 1) / (2 * count)
    left = combine((1, span.change), (-(count + 1) / 2, span.f), (-(count - 1) / 2, span.f_end))
    share = passed / count
    smooth = share**2 * (3 - 2 * share)
    change = combine((passed - late, span.f), (late, span.f_end), (smooth, left))
    # No average of positive numbers is left negative by the cubic.
    straight = jax.tree.map(lambda leaf: leaf * share, span.change)
    low = jax.tree.map(lambda z, d: z + d <= 0, span.start.centre, change.centre)
    safe = jax.tree.map(jnp.where, low, straight.centre, change.centre)
    change = change._replace(centre=merge_auxiliary(optimizer, change.centre, safe))
    change = choose(span.passed == span.length, span.change, change)
    return moved(span.start, change)


def moved(rod: Rod, change: Rod) -> Rod:
    """The rod changed by so much.

    Args:
        rod: where it is.
        change: what is added, a rod too: to its centre and to its half-extent.
    """
    return Rod(*jax.tree.map(jnp.add, rod, change))
