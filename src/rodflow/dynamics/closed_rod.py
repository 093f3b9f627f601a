"""A rod of hardly more than rounding: a direction that is followed by a power iteration, and a length along it.

Such a rod does not act on the centre, and obeys X' = -DF(Z) X. With its increment f_X = X' - X, the vector X + f_X / 2
is half of eta P^-1 H X, without flat directions. Where many steps are taken at once it is the new direction, and the
logarithm of the length grows by log(1 + g) a step, g being the generalised Rayleigh quotient of f_X.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rodflow.dynamics.lifted import Rod, is_small
from rodflow.optimizers.optimizer_map import State

NOISE = 10.0
"""Up to so many times the rounding of a step a rod is closed."""


def sizes(rod: Rod) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Norms of the weights' centre and half-extent."""
    return jnp.linalg.norm(rod.centre.weights), jnp.linalg.norm(rod.extent.weights)


def is_closed(rod: Rod) -> Bool[Array, ""]:
    """Whether the half-extent is not much longer than the rounding of a step: ||X_w|| < 10 eps ||Z_w|| / sqrt(12)."""
    eps = jnp.finfo(rod.extent.weights.dtype).eps
    centre, extent = sizes(rod)
    return extent < NOISE * eps / jnp.sqrt(12) * centre


def noisy(rod: Rod, noise: Array) -> Rod:
    """Add the rounding of the steps since the last to the half-extent.

    A short one takes what lies along it, and of the rest no more than a fraction of its length: flat directions, which
    are most of the noise and grow nowhere, would hide the one that grows.

    Args:
        rod: at the end of the last macro step.
        noise: the sum of the rounding of its steps, one number a weight.
    """
    extent = rod.extent.weights
    length = jnp.linalg.norm(extent)
    tiny = jnp.finfo(extent.dtype).tiny
    unit = extent / jnp.maximum(length, tiny)
    along = (unit @ noise) * unit
    across = noise - along
    least = 0.01 * jnp.linalg.norm(noise)
    most = jnp.where(is_closed(rod), 0.3, 0.01) * (length + least)
    share = jnp.minimum(1, most / jnp.maximum(jnp.linalg.norm(across), tiny))
    added = jnp.where(is_small(rod), along + share * across, noise)
    return rod._replace(extent=rod.extent._replace(weights=extent + added))


def growth_of(rod: Rod, f: Rod) -> Float[Array, ""]:
    """The generalised Rayleigh quotient g = <X + f_X/2, f_X> / <X + f_X/2, X>, without flat directions.

    Args:
        rod: centre and half-extent X.
        f: the lifted increment there.

    Returns:
        By how much a step lengthens X, relative; between -2 and 2, and 0 where the denominator is.
    """
    extent, increment = rod.extent.weights, f.extent.weights
    sharp = extent + increment / 2
    tiny = jnp.finfo(extent.dtype).tiny
    weight = sharp @ extent
    quotient = (sharp @ increment) / jnp.where(jnp.abs(weight) > tiny, weight, jnp.inf)
    return jnp.clip(quotient, -2, 2)


def grown(start: Rod, f_end: Rod, growth: Array, growth_end: Array, count: Array) -> State:
    """The half-extent of a closed rod after the step: its new direction, X + f_X/2, and its length.

    The logarithm of the length changes by `count` times the mean of log(1 + g) at both ends, and rises by 10 at most.
    The length is never below 1e-3 eps ||Z_w||.

    Args:
        start: the rod at the start of the macro step.
        f_end: the lifted increment at its end.
        growth, growth_end: g at its start and at its end; below -0.9 they count as -0.9.
        count: optimizer steps in it.
    """
    extent = start.extent.weights
    sharp = extent + f_end.extent.weights / 2
    unit = sharp / jnp.maximum(jnp.linalg.norm(sharp), jnp.finfo(sharp.dtype).tiny)
    logarithm = jnp.log1p(jnp.maximum(growth, -0.9)) + jnp.log1p(jnp.maximum(growth_end, -0.9))
    length = (unit @ extent) * jnp.exp(jnp.minimum(count * logarithm / 2, 10.0))
    least = 1e-3 * jnp.finfo(sharp.dtype).eps * jnp.linalg.norm(start.centre.weights)
    length = jnp.where(jnp.abs(length) < least, least, length)
    return start.extent._replace(weights=length * unit)
