"""What a rod says of the edge at the amplitude that it has, for any optimizer.

A threshold of a linearised step is a curvature. An optimizer whose step is not linear in a small gradient, a sign or
the orthogonalised matrix of Muon, has none. Two things can be measured of it all the same, and of every other
optimizer:

* the *multiplier* of the oscillation, ||(F(Z + X) - F(Z - X)) / 2|| / ||X|| in the weights, by which the rod will be
  longer after the step. Its logarithm averages to 0 over an oscillation that persists, so it says whether and when a
  run is at its edge, not at which curvature;
* the curvature that the oscillation itself sees, in the metric of a preconditioner P: the *secant*
  (g(Z + X) - g(Z - X)) . X / (2 X . P X), and the *quotient* X . H X / X . P X of the Hessian at the centre. They
  agree where the loss is quadratic over the rod.

Several directions may be at the edge at once, with the largest eigenvalue above the threshold; the rod lies in their
span, and it is the curvature along it that settles there.

A rod is *closed* while it is not longer than `CLOSED` units of the weights' rounding, ||X_w|| <= 10 eps ||Z_w||: that
is fifty times what three rounded iterates leave in (2 w_t - w_{t-1} - w_{t+1}) / 4. What it points at is then noise,
and all three measures are NaN.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rodflow.dynamics.lifted import Rod, stable_lifted_map
from rodflow.optimizers.optimizer_map import OptimizerMap

Loss = Callable[[Float[Array, " parameter"]], Float[Array, ""]]
Vector = Float[Array, " parameter"]

CLOSED = 10.0
"""Units of rounding up to which a rod has no direction of its own."""


def is_closed(centre: Vector, extent: Vector) -> Bool[Array, ""]:
    """Whether a half-extent is no more than what rounding makes, ||X_w|| <= 10 eps ||Z_w||: see the module.

    Args:
        centre, extent: Z and X, weights; eps is that of the dtype of Z.
    """
    eps = jnp.finfo(centre.dtype).eps
    return jnp.linalg.norm(extent) <= CLOSED * eps * jnp.linalg.norm(centre)


@eqx.filter_jit
def multiplier_if_open(optimizer: OptimizerMap, rod: Rod) -> Float[Array, ""]:
    """The multiplier of a rod, or NaN of one that is closed; two gradients.

    Args:
        optimizer, rod: as for `multiplier`.
    """
    closed = is_closed(rod.centre.weights, rod.extent.weights)
    return jnp.where(closed, jnp.nan, multiplier(optimizer, rod))


@eqx.filter_jit
def multiplier(optimizer: OptimizerMap, rod: Rod) -> Float[Array, ""]:
    """By which factor the half-extent of the weights grows in a step; NaN for a rod of no length.

    It is taken in the weights alone: the memory has other units, and follows. A rod so short that its ends differ
    by rounding is stretched for it, as in `rodflow.dynamics.lifted.stable_lifted_map`.

    Args:
        optimizer: the map F.
        rod: centre and half-extent.
    """
    after = stable_lifted_map(optimizer, rod).extent.weights
    return jnp.linalg.norm(after) / jnp.linalg.norm(rod.extent.weights)


@eqx.filter_jit
def secant(
    loss: Loss, centre: Vector, extent: Vector, preconditioner: Vector | float = 1.0
) -> Float[Array, ""]:
    """The preconditioned secant (g(Z + X) - g(Z - X)) . X / (2 X . P X), two gradients.

    A rod shorter than 0.3 sqrt(eps) of the weights is taken at that length, as in
    `rodflow.dynamics.lifted.is_small`: the difference of gradients at its own ends would have lost its digits.

    Args:
        loss: full-batch loss, a pytree or a function.
        centre, extent: Z and X, weights.
        preconditioner: the diagonal of P; infinite for a weight that does not move.
    """
    centre, extent = jnp.asarray(centre), jnp.asarray(extent)
    shortest = 0.3 * jnp.sqrt(jnp.finfo(centre.dtype).eps) * jnp.linalg.norm(centre)
    reach = jnp.maximum(1, shortest / jnp.linalg.norm(extent))
    ends = jnp.stack([centre + reach * extent, centre - reach * extent])
    plus, minus = jax.lax.map(jax.grad(loss), ends)  # one after the other, in one program
    return jnp.dot(plus - minus, extent) / (2 * reach * _squared(extent, preconditioner))


@eqx.filter_jit
def quotient(
    loss: Loss, centre: Vector, extent: Vector, preconditioner: Vector | float = 1.0
) -> Float[Array, ""]:
    """The preconditioned Rayleigh quotient X . H X / X . P X at the centre, one Hessian product.

    Args:
        loss, centre, extent, preconditioner: as for `secant`.
    """
    image = jax.jvp(jax.grad(loss), (centre,), (extent,))[1]
    return jnp.dot(image, extent) / _squared(extent, preconditioner)


def _squared(extent: Vector, preconditioner: Vector | float) -> Float[Array, ""]:
    """X . P X; what does not move adds nothing, whatever it weighs."""
    return jnp.sum(jnp.where(extent == 0, 0, preconditioner * extent**2))
