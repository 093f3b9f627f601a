"""Curvature of the loss: Hessian-vector products and the largest eigenvalues of the preconditioned Hessian.

The preconditioned sharpness is the largest eigenvalue of P^{-1/2} H P^{-1/2} with P the optimizer's preconditioner.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rodflow.linalg import confidence, subspace
from rodflow.linalg.confidence import Chain, Sight
from rodflow.linalg.subspace import Found, Ritz

Loss = Callable[[Float[Array, " parameter"]], Float[Array, ""]]

PROBABILITY = 1e-3
"""With at most this probability a check overlooks a larger eigenvalue."""

DENSE = 64
"""Up to so many weights the whole matrix is formed."""

MOST = 200
"""Products of one search."""

TAKEN_OUT = 0.1
"""Residual up to which a vector is taken out of what is checked; the bounds have what it is coupled by."""

ATTEMPTS = 5
"""Searches at one place; each begins with what the check of the last one found."""


class Curvature(NamedTuple):
    """The largest eigenpairs of A = P^{-1/2} H P^{-1/2} and of H, with what is known of their errors.

    Attributes:
        values: of A, in falling order, [eigenvalue].
        vectors: unit eigenvectors and those that are followed besides, [parameter, at least eigenvalue].
        residuals: ||A u - value u|| / |largest value|, [eigenvalue]; an eigenvalue lies so near to each value.
        followed: the values of all vectors.
        across: E' E with E = A U - U U' A U of all vectors U.
        upper_bounds: on the eigenvalues in falling order, [eigenvalue]; NaN where it was not checked.
        level: that no eigenvalue passes across the vectors that are followed; NaN where it was not checked.
        raw_value, raw_vector, raw_residual, raw_upper_bound, raw_level: of H.
        missed: probability at most that a bound does not hold; NaN where it was not checked.
        products: with H.
        corrected: whether the check saw a larger eigenvalue than the start had led to.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    followed: np.ndarray
    across: np.ndarray
    upper_bounds: np.ndarray
    level: float
    raw_value: float
    raw_vector: np.ndarray
    raw_residual: float
    raw_upper_bound: float
    raw_level: float
    missed: float
    products: int
    corrected: bool


def hessian_products(
    loss: Loss, weights: Float[Array, " parameter"]
) -> Callable[[Float[Array, "parameter k"]], Float[Array, "parameter k"]]:
    """A function that multiplies a block of k vectors by the Hessian of the loss at the weights.

    The gradient is linearised once and its k tangents are pushed through one by one: on a CPU that is faster than
    together, by a sixth for the small MLP and a third for the convolutions.

    Args:
        loss: full-batch loss, a pytree or a function.
        weights: where.
    """
    _, product = jax.linearize(jax.grad(loss), weights)
    return lambda block: jax.lax.map(product, block.T).T


def top_eigenpairs(
    loss: Loss,
    weights: Float[Array, " parameter"],
    preconditioner: Float[Array, " parameter"],
    guess: Float[Array, "parameter column"],
    tolerance: float,
    *,
    also: Float[Array, "parameter more"] | None = None,
    count: int | None = None,
    checked: bool = True,
    key: Array | None = None,
    most: int = MOST,
) -> Curvature:
    """The largest eigenpairs of P^{-1/2} H P^{-1/2}, and the largest of H.

    A warm start can miss an eigenvalue whose vector it does not contain. The check looks for one from a fresh random
    direction (`rodflow.linalg.confidence`), and the search goes on with what it finds. Of at most `DENSE` weights, or
    four times as many as vectors are followed, the whole matrix is formed instead.

    Args:
        loss: full-batch loss, a pytree.
        weights: where.
        preconditioner: diagonal of P, positive; ones give the Hessian itself.
        guess: eigenvectors found nearby, or random columns. As many are given back, `count` of them at least.
        tolerance: accepted residual, and how much larger, relative to the largest, an eigenvalue may be that the
            check does not see.
        also: further directions to start from; columns of zeros at the end are not used.
        count: eigenvalues; default: as many as the guess has columns.
        checked: whether to check.
        key: of the random directions. Along a path each place should have another.
        most: products of one search at most; the residuals say how far it got.
    """
    count = guess.shape[1] if count is None else count
    key = jax.random.key(0) if key is None else key
    scale = jax.lax.rsqrt(preconditioner)
    tracked = max(count, guess.shape[1])
    if weights.size <= max(DENSE, 4 * tracked):
        return _dense(loss, weights, scale, count, tracked)
    plain = bool((scale == scale[0]).all())
    products = 0
    start = guess if also is None else jnp.column_stack([guess, also])
    for attempt in range(ATTEMPTS):
        found = _search(loss, weights, scale, start, tolerance, most, count, tracked, not plain)
        products += int(found.products)
        result = _result(found, count, scale[0] if plain else None, products)
        if not checked or not np.isfinite(result.values).all():
            return result
        here = jax.random.fold_in(key, attempt)
        result, better = _checked(loss, weights, scale, found, result, tolerance, here)
        products = result.products
        if better is None:
            return result._replace(corrected=attempt > 0)
        fill = max(start.shape[1] - better.shape[1], 0)  # the same shape is the same program
        start = jnp.pad(better, ((0, 0), (0, fill)))
    return result._replace(corrected=True)


def _checked(
    loss: Loss,
    weights: Array,
    scale: Array,
    found: Found,
    result: Curvature,
    tolerance: float,
    key: Array,
) -> tuple[Curvature, Array | None]:
    """The result with its bounds, and the start of another search where a larger eigenvalue is there."""
    plain = bool((scale == scale[0]).all())
    keys = jax.random.split(key)
    look = partial(_sight, loss, weights)
    sight = look(scale, found.preconditioned, tolerance, len(result.values), keys[0])
    products, raw, unit = result.products + sight.products, sight, float(scale[0] ** 2)
    if not plain:
        pairs = _widened(found.raw, found.preconditioned.vectors.shape[1])
        raw, unit = look(jnp.ones_like(scale), pairs, tolerance, 1, keys[1]), 1.0
        products += raw.products
    result = result._replace(
        upper_bounds=sight.upper_bounds[: len(result.values)],
        level=sight.level,
        raw_upper_bound=float(raw.upper_bounds[0] / unit),
        raw_level=raw.level / unit,
        missed=PROBABILITY,
        products=products,
    )
    if sight.better is None and raw.better is None:
        return result, None
    start = jnp.asarray(result.vectors if sight.better is None else sight.better)
    if not plain:
        along = (found.raw.vectors if raw.better is None else raw.better)[:, :1]
        start = jnp.column_stack([start, jnp.asarray(along) / scale[:, None]])
    return result, start


def _widened(pairs: Ritz, columns: int) -> Ritz:
    """The pairs and columns of zeros, so that the check of one pair is the program that checks several."""
    more = columns - pairs.vectors.shape[1]
    return pairs._replace(
        values=jnp.pad(pairs.values, (0, more)),
        vectors=jnp.pad(pairs.vectors, ((0, 0), (0, more))),
        remainders=jnp.pad(pairs.remainders, ((0, 0), (0, more))),
        residuals=jnp.pad(pairs.residuals, (0, more), constant_values=jnp.inf),
    )


@eqx.filter_jit
def _search(
    loss: Loss,
    weights: Array,
    scale: Array,
    start: Array,
    tolerance: float | Array,
    most: int | Array,
    count: int | Array,
    tracked: int,
    raw: bool,
) -> Found:
    _, product = jax.linearize(jax.grad(loss), weights)
    return subspace.search(
        product,
        scale,
        start,
        tolerance,
        count=count,
        tracked=tracked,
        raw=raw,
        most=most,
    )


def _result(found: Found, count: int, plain: Array | None, products: int) -> Curvature:
    """A search's pairs; where P is a number the one of H is that of A."""
    main = found.preconditioned
    followed, residuals = np.asarray(main.values), np.asarray(main.residuals[:count])
    vectors = np.asarray(main.vectors)
    if plain is None:
        value, residual = float(found.raw.values[0]), float(found.raw.residuals[0])
        vector = np.asarray(found.raw.vectors[:, 0])
    else:
        value, residual = float(followed[0] / plain**2), float(residuals[0])
        vector = vectors[:, 0]
    return Curvature(
        values=followed[:count],
        vectors=vectors,
        residuals=residuals,
        followed=followed,
        across=np.asarray(_gram(main.remainders)),
        upper_bounds=np.full(count, np.nan, followed.dtype),
        level=np.nan,
        raw_value=value,
        raw_vector=vector,
        raw_residual=residual,
        raw_upper_bound=np.nan,
        raw_level=np.nan,
        missed=np.nan,
        products=products,
        corrected=False,
    )


@jax.jit
def _gram(columns: Array) -> Array:
    return columns.T @ columns


@eqx.filter_jit
def _chain(
    loss: Loss, weights: Array, scale: Array, basis: Array, size: Array, level: Array, key: Array
) -> Chain:
    _, product = jax.linearize(jax.grad(loss), weights)
    across = weights.size - size
    return confidence.chain(
        lambda u: scale * product(scale * u), basis, across, level, key, PROBABILITY
    )


def _sight(
    loss: Loss, weights: Array, scale: Array, pairs: Ritz, tolerance: float, count: int, key: Array
) -> Sight:
    """The check of the first `count` pairs of A.

    Across vectors that are far from converged the rest would look lower than it is: those are not taken out.
    """
    out = pairs.residuals <= max(TAKEN_OUT, tolerance)
    basis = jnp.where(out, pairs.vectors, 0)
    images = jnp.where(out, pairs.remainders + pairs.vectors * pairs.values, 0)
    values, residuals = np.asarray(pairs.values), np.asarray(pairs.residuals)
    used = values if out.all() else values[:count]
    level = jnp.asarray(confidence.level_above(used, count, tolerance), basis.dtype)
    chain = _chain(loss, weights, scale, basis, jnp.sum(out), level, key)
    return confidence.sight(basis, images, chain, values[:count], residuals[:count], PROBABILITY)


def _dense(loss: Loss, weights: Array, scale: Array, count: int, tracked: int) -> Curvature:
    """From the whole matrix; what there are too few weights for is NaN."""
    size = weights.size
    hessian = np.asarray(_whole(loss, weights), float)
    hessian = (hessian + hessian.T) / 2
    kept = min(count, size)
    factor = np.asarray(scale, float)
    if not np.isfinite(hessian).all() or not np.isfinite(factor).all():
        hessian = np.full_like(hessian, np.nan)
        values, vectors = np.full(size, np.nan), np.full_like(hessian, np.nan)
        raw, raw_vectors = values, vectors
    else:
        values, vectors = np.linalg.eigh(factor[:, None] * hessian * factor)
        raw, raw_vectors = np.linalg.eigh(hessian)
    dtype = np.asarray(weights).dtype
    fill = np.full(count - kept, np.nan)
    leading = np.concatenate([values[::-1][:kept], fill]).astype(dtype)
    columns = np.zeros((size, tracked), dtype)
    columns[:, : min(tracked, size)] = vectors[:, ::-1][:, :tracked]
    exact = np.where(np.isnan(leading), np.nan, 0).astype(dtype)
    return Curvature(
        values=leading,
        vectors=columns,
        residuals=exact,
        followed=values[::-1][:tracked].astype(dtype),
        across=np.zeros((min(tracked, size),) * 2, dtype),
        upper_bounds=leading,
        level=float(values[::-1][min(tracked, size - 1)]),
        raw_value=float(raw[-1]),
        raw_vector=raw_vectors[:, -1].astype(dtype),
        raw_residual=0.0,
        raw_upper_bound=float(raw[-1]),
        raw_level=float(raw[-1]),
        missed=0.0,
        products=size,
        corrected=False,
    )


@eqx.filter_jit
def _whole(loss: Loss, weights: Array) -> Float[Array, "parameter parameter"]:
    return hessian_products(loss, weights)(jnp.eye(weights.size, dtype=weights.dtype))
