"""A small semidefinite complementarity problem, solved as a conic program.

Find a symmetric X with

    0 <= X,    0 <= S(X) = C + B X,    <X, S(X)> = 0        (in the order of positive semidefinite matrices)

for a symmetric C and a linear map B that is symmetric and positive semidefinite in the inner product of matrices. These
are the conditions of optimality of min <X, B X> / 2 + <C, X> over X >= 0, a conic program that clarabel solves with
an interior-point method: up to four rows in less than a millisecond, violating the conditions by less than 1e-9 of C.
Up to eight rows it is as fast as scs, a first-order method, and a hundred times as exact
(`python benchmarks/complementarity.py`). Where X is not of full rank it is less exact than the conditions, to
about 1e-5.

Matrices are given by their upper triangle, column by column: 00, 01, 11, 02, 12, 22, ...
"""

from typing import NamedTuple

import clarabel
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Float, Int


class Solution(NamedTuple):
    """X as upper triangle [pair], and whether the solver says that it is one."""

    matrix: Float[Array, " pair"]
    solved: Bool[Array, ""]


def pairs(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each entry of the upper triangle, column by column; those of fewer rows come first."""
    found = np.array([(i, j) for j in range(rows) for i in range(j + 1)]).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def solve(
    constant: Float[Array, " pair"], linear: Float[Array, "pair pair"], rows: Int[Array, ""]
) -> Solution:
    """Solve the problem of the first `rows` rows; X is zero outside. Can be traced, jitted and scanned over.

    Args:
        constant: C.
        linear: B, so that S_p = C_p + sum_q B_pq X_q with a pair off the diagonal counted twice in the sum.
        rows: how many rows of C belong to the problem.

    Double precision has to be enabled for all threads (jax_enable_x64), not by a context: the host is called
    from another one.
    """
    shape = jax.ShapeDtypeStruct(constant.shape, constant.dtype), jax.ShapeDtypeStruct((), bool)

    def ask(_: None) -> Solution:
        found = jax.pure_callback(_solve, shape, constant, linear, rows)
        return Solution(*found)

    def nothing(_: None) -> Solution:
        return Solution(jnp.zeros_like(constant), jnp.asarray(True))

    return jax.lax.cond(rows > 0, ask, nothing, None)


def _solve(constant: Array, linear: Array, rows: Array) -> tuple[np.ndarray, np.ndarray]:
    size = int(rows)
    count = size * (size + 1) // 2
    c, b = np.asarray(constant, float)[:count], np.asarray(linear, float)[:count, :count]
    matrix, solved = _conic(c, b, size)
    found = np.zeros(constant.shape, constant.dtype)
    found[:count] = matrix
    return found, np.asarray(solved)


def _conic(constant: np.ndarray, linear: np.ndarray, size: int) -> tuple[np.ndarray, bool]:
    """The conic program, in units in which B has norm one and C too."""
    if not (np.isfinite(constant).all() and np.isfinite(linear).all()):
        return np.full_like(constant, np.nan), False
    first, second = pairs(size)
    # Entries off the diagonal stand for two: with a factor root 2 the inner product is that of vectors.
    weight = np.where(first == second, 1.0, np.sqrt(2.0))
    c = weight * constant
    b = weight[:, None] * linear * weight
    values, vectors = np.linalg.eigh((b + b.T) / 2)
    b = (vectors * np.maximum(values, 0)) @ vectors.T
    scale_b, scale_c = values.max(initial=0.0), np.linalg.norm(c)
    if scale_c == 0 or np.linalg.eigvalsh(_square(constant, size))[0] >= 0:
        return np.zeros_like(constant), True
    if scale_b <= 0:
        return np.full_like(constant, np.nan), False
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.max_threads = 1
    identity = scipy.sparse.identity(len(c), format="csc")
    cones = [clarabel.PSDTriangleConeT(size)]
    program = scipy.sparse.csc_matrix(np.triu(b / scale_b))
    found = clarabel.DefaultSolver(
        program, c / scale_c, -identity, np.zeros(len(c)), cones, settings
    ).solve()
    solved = found.status in (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved)
    return np.asarray(found.x) * (scale_c / scale_b) / weight, solved


def _square(triangle: np.ndarray, size: int) -> np.ndarray:
    square = np.zeros((size, size))
    square[pairs(size)] = triangle
    return square + np.triu(square, 1).T
