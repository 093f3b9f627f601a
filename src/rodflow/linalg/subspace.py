"""The largest eigenpairs of P^{-1/2} H P^{-1/2} and the largest of H, both from the same products with H.

A product H z serves the Rayleigh-Ritz problem of both: with u = P^{1/2} z the projected matrices are the same, u' A u =
z' H z, and only the Gram matrix differs. The subspace grows by one vector a step, the residual of the pair that
is farthest from its tolerance (Davidson's method without a preconditioner, or Arnoldi's from a subspace). When it is
full it is restarted with its Ritz vectors (thick restart, Wu and Simon 2000).

A Ritz vector errs as its residual does, a Ritz value only as the square of that over the gap to the rest. So a pair of
which the value alone is used may stop earlier.

What is found is invariant, to the tolerance, but need not be largest: a direction that the start does not contain is
seen only through its coupling to the start. `rodflow.linalg.confidence` looks for such directions.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Product = Callable[[Float[Array, " parameter"]], Float[Array, " parameter"]]

CAPACITY = 24
"""Vectors that the subspace holds before it is restarted, or three times those of the start if that is more."""


class Subspace(NamedTuple):
    """Orthonormal vectors u and their images A u; columns from `size` on are zero.

    `projected` is u' A u, and `gram` u' P^{-1} u is that of z = P^{-1/2} u.
    """

    vectors: Float[Array, "parameter column"]
    images: Float[Array, "parameter column"]
    projected: Float[Array, "column column"]
    gram: Float[Array, "column column"]
    size: Int[Array, ""]


class Ritz(NamedTuple):
    """Ritz values in falling order, unit vectors, A u - value u, and the norm of that over the largest |value|.

    `rest` is the Ritz value after these, or the last one where the subspace has no more.
    """

    values: Float[Array, " pair"]
    vectors: Float[Array, "parameter pair"]
    remainders: Float[Array, "parameter pair"]
    residuals: Float[Array, " pair"]
    rest: Float[Array, ""]


class Found(NamedTuple):
    """Ritz pairs of A and of H, the subspace that they are from, and how many products with H it took."""

    preconditioned: Ritz
    raw: Ritz
    subspace: Subspace
    products: Int[Array, ""]


def search(
    product: Product,
    scale: Float[Array, " parameter"],
    start: Float[Array, "parameter column"],
    tolerance: float | Array,
    *,
    count: int | Array,
    tracked: int,
    raw: bool,
    most: int | Array,
) -> Found:
    """Ritz pairs of A = scale H scale, and of H, from a start.

    Args:
        product, scale: with H, and P^{-1/2}.
        start: the directions u to begin with; they need not be orthonormal. Columns of zeros at the end are not used.
        tolerance: growth ends when the residuals of the first `count` pairs of A, and of the first of H, are below.
        count: pairs of A that have to be.
        tracked: pairs of A that are given.
        raw: whether the pair of H has to be; it is given in any case.
        most: or growth ends after so many products.
    """
    columns = start.shape[1]
    given = jnp.maximum(jnp.sum(jnp.any(start != 0, axis=0)), 1)
    capacity = max(CAPACITY, 3 * columns)
    wide = jnp.zeros((len(start), capacity), start.dtype)
    square = jnp.zeros((capacity, capacity), start.dtype)
    empty = Subspace(wide, wide, square, square, jnp.asarray(0))
    misses = partial(_misses, tolerance=tolerance, count=count, raw=raw)

    def unfinished(carry: tuple[Found, Array]) -> Array:
        found, _ = carry
        left = misses(found.preconditioned, found.raw)
        short = jnp.any(left > 1) & jnp.all(jnp.isfinite(left))
        return (found.products < given) | (short & (found.products < most))

    def step(carry: tuple[Found, Array]) -> tuple[Found, Array]:
        found, direction = carry
        space = found.subspace
        space = jax.lax.cond(space.size == capacity, restarted, lambda s: s, space)
        space = grown(space, direction, product, scale)
        products = found.products + 1

        def look(_: None) -> tuple[Ritz, Ritz, Array]:
            main, other = ritz(space, tracked), raw_ritz(space, scale)
            worst = jnp.argmax(misses(main, other))
            of_main = main.remainders[:, jnp.minimum(worst, tracked - 1)]
            return main, other, jnp.where(worst < tracked, of_main, other.remainders[:, 0] / scale)

        def next_of_start(_: None) -> tuple[Ritz, Ritz, Array]:
            return found.preconditioned, found.raw, start[:, jnp.minimum(products, columns - 1)]

        main, other, following = jax.lax.cond(products < given, next_of_start, look, None)
        return Found(main, other, space, products), following

    nothing = Found(ritz(empty, tracked), raw_ritz(empty, scale), empty, jnp.asarray(0))
    return jax.lax.while_loop(unfinished, step, (nothing, start[:, 0]))[0]


def _misses(
    main: Ritz, other: Ritz, *, tolerance: float | Array, count: int | Array, raw: bool
) -> Float[Array, " pair"]:
    """How far each pair of A, then that of H, is from what is asked of it; at most 1 where it will do."""
    wanted = jnp.arange(len(main.values)) < count
    misses = jnp.where(wanted, main.residuals / tolerance, 0)
    return jnp.append(misses, other.residuals / tolerance) if raw else misses


def grown(space: Subspace, direction: Array, product: Product, scale: Array) -> Subspace:
    """The subspace and one direction more, for one product.

    Args:
        space: with a column to spare.
        direction: u, of any length; only its part across the subspace matters.
        product, scale: as for `search`.
    """
    new = orthogonal(direction, space.vectors)
    image = scale * product(scale * new)
    at = space.size
    vectors, images = space.vectors.at[:, at].set(new), space.images.at[:, at].set(image)
    row, gram_row = vectors.T @ image, vectors.T @ (scale**2 * new)
    projected = space.projected.at[at].set(row).at[:, at].set(row)
    gram = space.gram.at[at].set(gram_row).at[:, at].set(gram_row)
    return Subspace(vectors, images, projected, gram, at + 1)


def orthogonal(direction: Array, *bases: Array) -> Array:
    """The unit vector of a direction's part across orthonormal columns; three passes where it nearly lies within."""
    tiny = jnp.finfo(direction.dtype).tiny
    for _ in range(3):
        direction = direction / jnp.maximum(jnp.linalg.norm(direction), tiny)
        for basis in bases:
            direction = direction - basis @ (basis.T @ direction)
    return direction / jnp.maximum(jnp.linalg.norm(direction), tiny)


def ritz(space: Subspace, count: int) -> Ritz:
    """The first Ritz pairs of A.

    Args:
        space: the subspace.
        count: how many; beyond the size of the subspace the vectors are zero.
    """
    values, coordinates = jnp.linalg.eigh(_walled(space.projected, space.size))
    rest = _rest(values, count, space.size)
    values, coordinates = values[::-1][:count], coordinates[:, ::-1][:, :count]
    return _measured(values, space.vectors @ coordinates, space.images @ coordinates, rest)


def raw_ritz(space: Subspace, scale: Array) -> Ritz:
    """The first Ritz pair of H, with z = P^{-1/2} u.

    Args:
        space: the subspace.
        scale: P^{-1/2}.
    """
    whitening = whitened(space)
    projected = whitening.T @ space.projected @ whitening
    values, coordinates = jnp.linalg.eigh(_walled(projected, space.size))
    coordinates = whitening @ coordinates[:, -1:]
    vector = scale[:, None] * (space.vectors @ coordinates)
    image = (space.images @ coordinates) / scale[:, None]
    norm = jnp.maximum(jnp.linalg.norm(vector), jnp.finfo(vector.dtype).tiny)
    vector, image = vector / norm, image / norm
    return _measured(vector.T[0] @ image, vector, image, _rest(values, 1, space.size))


def _rest(values: Array, count: int, size: Array) -> Array:
    """Of values in rising order the one after the first `count`, or the last that is of the subspace."""
    return values[::-1][jnp.clip(size - 1, 0, min(count, len(values) - 1))]


def whitened(space: Subspace) -> Float[Array, "column column"]:
    """The coordinates in which the vectors z = P^{-1/2} u are orthonormal; unused columns stay apart."""
    used = jnp.diag(space.gram) > 0
    lengths = jnp.sqrt(jnp.where(used, jnp.diag(space.gram), 1))
    ridge = 10 * jnp.finfo(space.gram.dtype).eps
    unit = space.gram / lengths[:, None] / lengths + jnp.diag(jnp.where(used, ridge, 1))
    upper = jax.scipy.linalg.solve_triangular(
        jnp.linalg.cholesky(unit), jnp.eye(len(unit), dtype=unit.dtype), lower=True
    ).T
    return upper / lengths[:, None]


def restarted(space: Subspace) -> Subspace:
    """Its Ritz vectors of the upper half, and what is left of the first one of H."""
    kept = len(space.projected) // 2
    rotation = jnp.linalg.eigh(_walled(space.projected, space.size))[1][:, ::-1][:, :kept]
    whitening = whitened(space)
    other = whitening @ jnp.linalg.eigh(whitening.T @ space.projected @ whitening)[1][:, -1]
    rotation = jnp.column_stack([rotation, orthogonal(other, rotation)])
    fill = ((0, 0), (0, len(space.projected) - kept - 1))
    rotation = jnp.pad(rotation, fill)
    return Subspace(
        space.vectors @ rotation,
        space.images @ rotation,
        rotation.T @ space.projected @ rotation,
        rotation.T @ space.gram @ rotation,
        jnp.asarray(kept + 1),
    )


def _walled(projected: Array, size: Array) -> Array:
    """Columns that are not used must not pass for directions of no curvature."""
    norm = jnp.linalg.norm(projected)
    unused = jnp.arange(len(projected)) >= size
    symmetric = (projected + projected.T) / 2
    return symmetric - jnp.diag(unused * jnp.where(norm > 0, 2 * norm, 1))


def _measured(values: Array, vectors: Array, images: Array, rest: Array) -> Ritz:
    remainders = images - vectors * values
    sizes = jnp.linalg.norm(remainders, axis=0)
    # Where A vanishes so do the remainders.
    relative = sizes / jnp.maximum(jnp.abs(values[0]), jnp.finfo(sizes.dtype).tiny)
    return Ritz(values, vectors, remainders, relative, rest)
