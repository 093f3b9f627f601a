"""Curvature of the loss: Hessian-vector products and the largest eigenvalues of the preconditioned Hessian.

The preconditioned sharpness is the largest eigenvalue of P^{-1/2} H P^{-1/2} with P the optimizer's preconditioner.
Eigenpairs come from LOBPCG (`jax.experimental.sparse.linalg`), which only needs products and starts from the
eigenvectors of the snapshot before.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, Float, Int

Loss = Callable[[Float[Array, " parameter"]], Float[Array, ""]]


class Eigenpairs(NamedTuple):
    """The largest eigenvalues, in falling order, with their unit eigenvectors.

    `residuals` are ||A u - value u|| / |largest value|; an eigenvalue errs by at most its residual times the
    largest one, and typically by the residual's square over the gap.
    """

    values: Float[Array, " eigenvalue"]
    vectors: Float[Array, "parameter eigenvalue"]
    residuals: Float[Array, " eigenvalue"]
    iterations: Int[Array, ""]


def hessian_products(
    loss: Loss, weights: Float[Array, " parameter"]
) -> Callable[[Float[Array, "parameter k"]], Float[Array, "parameter k"]]:
    """A function that multiplies a block of k vectors by the Hessian of the loss at the weights.

    The gradient is linearised once and its k tangents are pushed through one by one: on a CPU that is faster than
    together, by a sixth for the small MLP and a third for the convolutions.
    """
    _, product = jax.linearize(jax.grad(loss), weights)
    return lambda block: jax.lax.map(product, block.T).T


@eqx.filter_jit
def top_eigenpairs(
    loss: Loss,
    weights: Float[Array, " parameter"],
    preconditioner: Float[Array, " parameter"],
    guess: Float[Array, "parameter eigenvalue"],
    tolerance: float | Array,
    max_iterations: int = 200,
    count: int | None = None,
) -> Eigenpairs:
    """The largest eigenpairs of P^{-1/2} H P^{-1/2}, as many as the guess has columns.

    Args:
        loss: full-batch loss, a pytree.
        weights: where.
        preconditioner: diagonal of P, positive; ones give the Hessian itself.
        guess: where the iteration starts: eigenvectors found nearby, or random columns; less than a fifth as many
            columns as there are weights.
        tolerance: iteration stops when every residual is below this fraction of its eigenvalue.
        max_iterations: or after so many iterations; the residuals then say how far it got.
        count: look for so many only, from the best in the span of the guess.
    """
    # JAX compares residuals with tol * 10 n (value + ||A u||), which is 20 n value near convergence.
    scale = jax.lax.rsqrt(preconditioner)[:, None]
    product = hessian_products(loss, weights)

    def preconditioned(block: Array) -> Array:
        return scale * product(scale * block)

    def search(block: Array) -> Eigenpairs:
        values, vectors, iterations = lobpcg_standard(
            preconditioned, block, m=max_iterations, tol=tolerance / (20 * weights.size)
        )
        return _eigenpairs(values, vectors, preconditioned(vectors), iterations)

    near = _within(guess, preconditioned, count)
    # The search breaks down on a guess that is exact, such as that of another process at the same weights.
    return jax.lax.cond(near.residuals.max() <= tolerance, lambda _: near, search, near.vectors)


def _within(guess: Array, product: Callable[[Array], Array], count: int | None) -> Eigenpairs:
    """The best eigenpairs in the span of the guess (Rayleigh and Ritz)."""
    basis = jnp.linalg.qr(guess)[0]
    image = product(basis)
    values, rotation = jnp.linalg.eigh(basis.T @ image)
    values, rotation = values[::-1][:count], rotation[:, ::-1][:, :count]
    return _eigenpairs(values, basis @ rotation, image @ rotation, jnp.asarray(0))


def _eigenpairs(values: Array, vectors: Array, images: Array, iterations: Array) -> Eigenpairs:
    residuals = jnp.linalg.norm(images - vectors * values, axis=0) / jnp.abs(values[0])
    return Eigenpairs(values, vectors, residuals, iterations)


def random_guess(key: Array, parameters: int, count: int) -> Float[Array, "parameter eigenvalue"]:
    """Random orthonormal columns for a first guess, float32 or the default float."""
    return jnp.linalg.qr(jax.random.normal(key, (parameters, count)))[0]
