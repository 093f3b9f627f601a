"""Batch sharpness: the curvature of the loss of a batch along its own gradient.

Its mean over the batches, E[g_B . H_B g_B / |g_B|^2], is what settles at 2 / eta in training by minibatches (Andreyev
and Beneventano, arXiv 2412.20553).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def batch_sharpness(
    on: Callable[[Array], Callable[[Array], Array]],
    weights: Float[Array, " parameter"],
    batches: Int[Array, "batch chosen"],
) -> Float[Array, ""]:
    """The mean over batches of the Rayleigh quotient of a batch's Hessian along its gradient.

    Args:
        on: from samples to the loss on them.
        weights: where.
        batches: the samples of each batch.
    """

    def quotient(chosen: Array) -> Array:
        of_batch = jax.grad(on(chosen))
        gradient = of_batch(weights)
        along = jax.jvp(of_batch, (weights,), (gradient,))[1]
        return jnp.vdot(gradient, along) / jnp.vdot(gradient, gradient)

    return jnp.mean(jax.lax.map(quotient, batches))
