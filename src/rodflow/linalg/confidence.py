"""That no eigenvalue was missed: a bound on the largest one that holds but for a stated probability.

A search that starts from known directions cannot see one that they do not contain. What remains of the operator across
the eigenvectors U that were found, B = (I - U U') A (I - U U'), is therefore looked at by Lanczos steps from a
direction g that is random and independent of all before. With q_j the orthonormal polynomials that the steps give, the
square of g's component along an eigenvector of B with eigenvalue lambda is at most the Christoffel function
1 / sum_j q_j(lambda)^2, which falls with lambda beyond the largest Ritz value. If B had an eigenvalue at or above a
level mu, g would have to be that nearly orthogonal to its eigenvector. In d dimensions that has at most the probability

    p(mu) = ( 2 (d - 1) / (pi sum_j q_j(mu)^2) )^{1/2}.

No gap is assumed and nothing is asymptotic. The idea is that of van Dorsselaer, Hochstenbach and van der Vorst 2000
(SIAM J. Matrix Anal. Appl. 22, 837), who take the last polynomial alone. Kuczynski and Wozniakowski 1992 (same journal
13, 1094) bound the probability in advance, for the worst spectrum.

With B <= mu, A is at most the matrix [[U'AU, E'], [E, mu]] in the order of symmetric matrices, where E is
(I - U U') A U. The eigenvalues of that matrix bound those of A from above (`upper_bounds`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rodflow.linalg.subspace import Product, orthogonal

MOST = 40
"""Lanczos steps at most."""


SLACK = 1e-6
"""Relative rise of an eigenvalue that is rounding."""


BELOW = 5
"""Tolerances above the last vector that is followed at which it is looked for others."""

NOTHING = 1e-30
"""The level above an operator that vanishes."""


class Chain(NamedTuple):
    """Lanczos vectors across a subspace, their images under A, and what they say about a level.

    `diagonals` and `offdiagonals` are alpha_j and beta_j of the three-term recurrence. `missed` is p(level); 1 where a
    Ritz value lies above the level, which `above` says.
    """

    vectors: Float[Array, "parameter step"]
    images: Float[Array, "parameter step"]
    diagonals: Float[Array, " step"]
    offdiagonals: Float[Array, " step"]
    steps: Int[Array, ""]
    missed: Float[Array, ""]
    above: Bool[Array, ""]


class _Progress(NamedTuple):
    chain: Chain
    direction: Array
    polynomials: Array  # q_{j-1} and q_j at the level
    offdiagonal: Array  # beta_{j-1}
    weight: Array  # sum of q^2


def chain(
    product: Product,
    basis: Float[Array, "parameter column"],
    dimension: Array | int,
    level: Float[Array, ""],
    key: Array,
    probability: float,
) -> Chain:
    """Lanczos steps from a random direction across a basis, until p(level) is small or the level is passed.

    Args:
        product: with A.
        basis: orthonormal columns, or zero.
        dimension: of the space across the basis.
        level: mu.
        key: of the random direction; has to be independent of the basis.
        probability: ends when p(level) is at most this.
    """
    rows = len(basis)
    nothing = jnp.zeros((rows, MOST), basis.dtype)
    zero, one = jnp.zeros([], basis.dtype), jnp.ones([], basis.dtype)

    def unfinished(now: _Progress) -> Array:
        found = now.chain
        # Beyond its dimension the space is exhausted.
        possible = found.steps < jnp.minimum(MOST, dimension)
        return possible & (found.missed > probability) & ~found.above

    def step(now: _Progress) -> _Progress:
        found = now.chain
        image = product(now.direction)
        vectors = found.vectors.at[:, found.steps].set(now.direction)
        images = found.images.at[:, found.steps].set(image)
        rest = image - basis @ (basis.T @ image)
        diagonal = now.direction @ rest
        for _ in range(2):
            rest = rest - vectors @ (vectors.T @ rest)
            rest = rest - basis @ (basis.T @ rest)
        size = jnp.linalg.norm(rest)
        before, last = now.polynomials
        following = (level - diagonal) * last - now.offdiagonal * before
        # Below rounding the steps have an invariant subspace: g has no part outside.
        size = jnp.maximum(size, 4 * jnp.finfo(size.dtype).eps * jnp.linalg.norm(image))
        following = following / jnp.maximum(size, jnp.finfo(size.dtype).tiny)
        weight = now.weight + following**2
        # Sturm: a polynomial that is not positive has a root, a Ritz value, at or beyond the level.
        above = ~(following > 0)
        missed = jnp.sqrt(2 * jnp.maximum(dimension - 1, 1) / (jnp.pi * weight))
        missed = jnp.where(above, 1, jnp.minimum(missed, 1))
        new = _set(found, diagonal, size)
        stepped = Chain(vectors, images, *new, found.steps + 1, missed, above)
        unit = orthogonal(rest, basis, vectors)
        return _Progress(stepped, unit, jnp.stack([last, following]), size, weight)

    first = orthogonal(jax.random.normal(key, (rows,), basis.dtype), basis)
    none, full = nothing[0], jnp.asarray(dimension <= 0)
    start = Chain(nothing, nothing, none, none, jnp.asarray(0), one, full)
    begin = _Progress(start, first, jnp.stack([zero, one]), zero, one)
    return jax.lax.while_loop(unfinished, step, begin).chain


def _set(found: Chain, diagonal: Array, offdiagonal: Array) -> tuple[Array, Array]:
    """The coefficients of the recurrence with those of one step more."""
    at = found.steps
    return found.diagonals.at[at].set(diagonal), found.offdiagonals.at[at].set(offdiagonal)


def certain_level(steps: Chain, dimension: int, probability: float) -> float:
    """The lowest level that no eigenvalue across the basis passes, but for the probability; infinite if none is known.

    It is the mu above the largest Ritz value at which p(mu) is the probability, see the head of this module. Which
    level that is may depend on the steps: all levels fail only where g has one and the same too small component.

    Args:
        steps: the Lanczos steps across the basis.
        dimension: of the space across the basis.
        probability: with which the level may fail, at most.
    """
    taken = int(steps.steps)
    diagonals = np.asarray(steps.diagonals, float)[:taken]
    offdiagonals = np.asarray(steps.offdiagonals, float)[:taken]
    if not taken or not np.isfinite([diagonals, offdiagonals]).all():
        return np.inf
    inner = np.diag(offdiagonals[:-1], 1)
    lowest = float(np.linalg.eigvalsh(np.diag(diagonals) + inner + inner.T)[-1])

    def missed(level: float) -> float:
        before, last, weight = 0.0, 1.0, 1.0
        for alpha, beta, ahead in zip(
            diagonals, [0, *offdiagonals[:-1]], offdiagonals, strict=True
        ):
            following = ((level - alpha) * last - beta * before) / max(ahead, NOTHING)
            before, last, weight = last, following, min(weight + following**2, 1e200)
            if abs(last) > 1e100:
                break
        return float(np.sqrt(2 * max(dimension - 1, 1) / (np.pi * weight)))

    unit = max(abs(lowest), float(offdiagonals.max()), NOTHING)
    below, above = 0.0, 1e-6
    while missed(lowest + above * unit) > probability:
        below, above = above, 2 * above
    for _ in range(30):
        middle = (below + above) / 2
        below, above = (
            (middle, above) if missed(lowest + middle * unit) > probability else (below, middle)
        )
    return lowest + above * unit


def upper_bounds(
    projected: Float[np.ndarray, "column column"],
    across: Float[np.ndarray, "column column"],
    level: float,
    count: int,
) -> Float[np.ndarray, " eigenvalue"]:
    """Bounds from above on the largest eigenvalues of A, of which the part across the columns U is at most the level.

    Args:
        projected: U' A U.
        across: E' E, with E = A U - U U' A U.
        level: above every eigenvalue of (I - U U') A (I - U U').
        count: how many.
    """
    if not (np.isfinite(level) and np.isfinite(projected).all() and np.isfinite(across).all()):
        return np.full(count, np.inf)
    squares, directions = np.linalg.eigh(across)
    rest = np.sqrt(np.maximum(squares, 0))[:, None] * directions.T
    whole = np.block([[projected, rest.T], [rest, level * np.eye(len(rest))]])
    found = np.full(count, level)
    values = np.linalg.eigvalsh(whole)[::-1][:count]
    found[: len(values)] = np.maximum(values, level)
    return found


class Sight(NamedTuple):
    """What a check saw.

    Attributes:
        upper_bounds: on the eigenvalues, in falling order.
        level: that no eigenvalue across the columns that were taken out passes.
        products: spent on it.
        better: the columns to start from, where an eigenvalue is larger than was found by more than its residual.
    """

    upper_bounds: np.ndarray
    level: float
    products: int
    better: Array | None


def level_above(values: np.ndarray, count: int, tolerance: float) -> float:
    """What no other eigenvalue shall pass: the last wanted value and a tolerance.

    Where more than the wanted ones were taken out it is less, by which the bounds are sharper at few more steps.

    Args:
        values: of the vectors that are taken out, in falling order, the wanted ones first.
        count: how many are wanted.
        tolerance: relative to the largest value.
    """
    unit = tolerance * abs(values[0])
    return float(min(values[count - 1] + unit, values[-1] + BELOW * unit)) or NOTHING


def sight(
    basis: Array,
    images: Array,
    steps: Chain,
    values: np.ndarray,
    residuals: np.ndarray,
    probability: float,
) -> Sight:
    """The eigenvalues of A over a searched subspace and the steps across it, beside those that were found.

    Args:
        basis, images: of the eigenvectors that are taken out; columns that are zero are not used. As many columns
            does a better start have.
        steps: across it; see `chain`.
        values, residuals: of the search; the residuals are relative to the largest value.
        probability: that was asked for.
    """
    out, projected, across = _projected(basis, images)
    level = certain_level(steps, len(basis) - int(out.sum()), probability)
    bounds = upper_bounds(projected, across, level, len(values))
    better = None
    columns = jnp.concatenate([basis, steps.vectors], axis=1)
    used, projected, _ = _projected(columns, jnp.concatenate([images, steps.images], axis=1))
    ritz, coordinates = np.linalg.eigh(projected)
    ritz, coordinates = ritz[::-1][: len(values)], coordinates[:, ::-1][:, : basis.shape[1]]
    rise = ritz - values[: len(ritz)] > (residuals[: len(ritz)] + SLACK) * np.abs(values[0])
    if np.any(rise) or (steps.above and len(basis) > out.sum()):
        rotation = np.zeros((columns.shape[1], basis.shape[1]), columns.dtype)
        rotation[used, : coordinates.shape[1]] = coordinates
        better = columns @ rotation
    return Sight(bounds.astype(columns.dtype), level, int(steps.steps), better)


def _projected(columns: Array, images: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which columns are used, and U' A U and E' E of those."""
    norms, *small = _products(columns, images)
    used = np.asarray(norms) > 0
    projected, across = (np.asarray(matrix, float)[np.ix_(used, used)] for matrix in small)
    return used, (projected + projected.T) / 2, across


@jax.jit
def _products(columns: Array, images: Array) -> tuple[Array, Array, Array]:
    """Squared norms of the columns, U' A U, and E' E."""
    projected = columns.T @ images
    across = images - columns @ projected
    return jnp.sum(columns**2, axis=0), projected, across.T @ across
