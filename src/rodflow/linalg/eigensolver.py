"""The largest eigenpairs of a symmetric operator that is known by its products only.

A block method with thick restarts (Wu and Simon 2000, block form with explicit residuals): a basis of Ritz vectors, of
which twice as many are kept as are searched for, grows by the residuals of the leading ones, one block of products an
iteration. The images of the basis are carried along, so no product is formed twice and the first iteration is the
test whether the guess will do. Warm-started from a trajectory's last snapshot it needs two or three blocks of
products in all, where LOBPCG as JAX has it forms four blocks an iteration.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Eigenpairs(NamedTuple):
    """The largest eigenvalues, in falling order, with their unit eigenvectors.

    `residuals` are ||A u - value u|| / |largest value|; an eigenvalue errs by at most its residual times the
    largest one, and typically by the residual's square over the gap. `products` counts those with A.
    """

    values: Float[Array, " eigenvalue"]
    vectors: Float[Array, "parameter eigenvalue"]
    residuals: Float[Array, " eigenvalue"]
    products: Int[Array, ""]


class _Basis(NamedTuple):
    """Ritz vectors with their images and values, the residuals of the leading ones, and blocks multiplied so far.

    Before there are so many Ritz vectors some are zero.
    """

    vectors: Float[Array, "parameter kept"]
    images: Float[Array, "parameter kept"]
    values: Float[Array, " kept"]
    residuals: Float[Array, "parameter block"]
    blocks: Int[Array, ""]


def largest_eigenpairs(
    product: Callable[[Float[Array, "parameter k"]], Float[Array, "parameter k"]],
    guess: Float[Array, "parameter block"],
    tolerance: float | Array,
    *,
    count: int | None = None,
    max_blocks: int = 200,
) -> Eigenpairs:
    """The largest eigenpairs of a symmetric operator A, as many as the guess has columns.

    Args:
        product: from a block of vectors to A times it.
        guess: eigenvectors found nearby, or random columns; at most a third as many as A has rows.
        tolerance: iteration stops when every residual is below this fraction of the largest eigenvalue.
        count: how many of them must be, the largest; the others help them. Default: all.
        max_blocks: or after so many blocks of products; the residuals then say how far it got.
    """
    rows, block = guess.shape
    nothing = jnp.zeros((rows, 2 * block), guess.dtype)

    def grow(basis: _Basis) -> _Basis:
        new = _orthonormal(basis.residuals, basis.vectors)
        vectors = jnp.concatenate([basis.vectors, new], axis=1)
        images = jnp.concatenate([basis.images, product(new)], axis=1)
        small = vectors.T @ images
        small = (small + small.T) / 2
        # A column that is still zero must not pass for a direction of no curvature.
        missing = 1 - jnp.sum(vectors**2, axis=0)
        small -= jnp.diag(2 * jnp.linalg.norm(small) * missing)
        values, rotation = jnp.linalg.eigh(small)
        values, rotation = values[::-1][: 2 * block], rotation[:, ::-1][:, : 2 * block]
        vectors, images = vectors @ rotation, images @ rotation
        leading = slice(0, block)
        residuals = images[:, leading] - vectors[:, leading] * values[leading]
        return _Basis(vectors, images, values, residuals, basis.blocks + 1)

    def unfinished(basis: _Basis) -> Array:
        sizes = jnp.linalg.norm(basis.residuals, axis=0)
        short = sizes[:count] > tolerance * jnp.abs(basis.values[0])
        return (basis.blocks == 0) | (jnp.any(short) & (basis.blocks < max_blocks))

    start = _Basis(nothing, nothing, jnp.zeros(2 * block, guess.dtype), guess, jnp.asarray(0))
    found = jax.lax.while_loop(unfinished, grow, start)
    sizes = jnp.linalg.norm(found.residuals, axis=0)
    # Where A vanishes so do the residuals.
    relative = sizes / jnp.maximum(jnp.abs(found.values[0]), jnp.finfo(sizes.dtype).tiny)
    leading = slice(0, block)
    return Eigenpairs(
        found.values[leading], found.vectors[:, leading], relative, block * found.blocks
    )


def dense_eigenpairs(
    product: Callable[[Float[Array, "parameter k"]], Float[Array, "parameter k"]],
    guess: Float[Array, "parameter block"],
) -> Eigenpairs:
    """The same from the whole matrix, for few rows; the residuals are zero.

    Args:
        product: from a block of vectors to A times it.
        guess: says only how many rows A has, how many pairs are wanted and in which precision.
    """
    rows, block = guess.shape
    whole = product(jnp.eye(rows, dtype=guess.dtype))
    values, vectors = jnp.linalg.eigh((whole + whole.T) / 2)
    nothing = jnp.zeros(block, guess.dtype)
    leading = slice(None, -block - 1, -1)
    return Eigenpairs(values[leading], vectors[:, leading], nothing, jnp.asarray(rows))


def _orthonormal(block: Array, basis: Array) -> Array:
    """An orthonormal basis of the block's span, orthogonal to `basis`.

    Twice, because the first pass loses digits where the block lies nearly within the basis; a direction that QR
    makes up for a column that vanishes is made orthogonal by the second.
    """
    for _ in range(2):
        block = block / jnp.maximum(jnp.linalg.norm(block, axis=0), jnp.finfo(block.dtype).tiny)
        block = jnp.linalg.qr(block - basis @ (basis.T @ block))[0]
    return block


def random_guess(key: Array, parameters: int, count: int) -> Float[Array, "parameter eigenvalue"]:
    """Random orthonormal columns for a first guess, float32 or the default float.

    Args:
        key: of the random numbers.
        parameters: rows.
        count: columns, at most as many as rows.
    """
    return jnp.linalg.qr(jax.random.normal(key, (parameters, count)))[0]
