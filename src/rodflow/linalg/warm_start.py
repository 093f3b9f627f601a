"""Start vectors of a search for eigenpairs from those of other places: of one beside, or of one on either side.

Eigenvectors turn fast where eigenvalues cross, but the space of the leading ones moves evenly. So from two sides the
means are taken along the principal vectors of both spaces, which err by the square of the distance. What one side alone
has, because it has come into the lead in between, is kept beside the means.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from rodflow.linalg.eigensolver import random_guess

APART = 0.7
"""Cosine of two directions below which both are start vectors, in place of their mean."""


class Eigenvectors(NamedTuple):
    """Eigenvectors at the weights where they were found.

    `preconditioned` are P^{1/2} u of the preconditioned Hessian, which hardly change where only P does, for
    P^{1/2} u = H z / value with z = P^{-1/2} u; `raw` is of the Hessian.
    """

    weights: np.ndarray
    preconditioned: np.ndarray
    raw: np.ndarray

    @property
    def known(self) -> bool:
        """Whether they are those of any weights; where P or H is no number there are none."""
        return bool(np.isfinite(self.preconditioned).all() and np.isfinite(self.raw).all())


def start_vectors(scale: np.ndarray, beside: Sequence[Eigenvectors], columns: int) -> np.ndarray:
    """Start vectors, [parameter, 2 columns + 2]: the means of both sides, and where those lie apart the differences.

    Random ones where nothing is known. Columns that are not used are zero and last.

    Args:
        scale: diagonal of P.
        beside: of one or two places.
        columns: how many eigenvectors each of them has.
    """
    start = np.zeros((len(scale), 2 * columns + 2), np.float32)
    root = np.sqrt(scale)[:, None]
    blocks = [[one.preconditioned / root, root * one.raw] for one in beside]
    if not blocks or not all(np.isfinite(part).all() for one in blocks for part in one):
        some = min(columns, len(scale))
        start[:, :some] = random_guess(jax.random.key(0), len(scale), some)
        return start
    plain = bool((scale == scale[0]).all())
    parts = [_paired(*sides) for sides in list(zip(*blocks, strict=True))[: 1 if plain else 2]]
    found = np.column_stack([*(mean for mean, _ in parts), *(apart for _, apart in parts)])
    start[:, : found.shape[1]] = found
    return start


def _paired(first: np.ndarray, second: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The means of two blocks along their principal vectors, and the differences of those that are far apart."""
    if second is None:
        return first, first[:, :0]
    one, other = np.linalg.qr(first)[0], np.linalg.qr(second)[0]
    turn, cosines, back = np.linalg.svd(one.T @ other)
    one, other = one @ turn, other @ back.T
    return (one + other) / 2, (one - other)[:, cosines < APART]
