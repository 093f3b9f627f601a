"""Accuracy and time of conic solvers on random complementarity problems of the central flow's kind.

    python benchmarks/complementarity.py

clarabel as `rodflow.linalg.complementarity` calls it, and scs where it is installed (python -m pip install scs).
"""

import time

import numpy as np
import scipy.sparse

from rodflow.linalg.complementarity import _conic, _square, pairs

try:
    import scs
except ImportError:
    scs = None

PROBLEMS, ROWS = 20, (1, 2, 4, 8, 12)


def problem(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slack and Gram matrix of random third derivatives, as upper triangles."""
    rng = np.random.default_rng(seed)
    first, second = pairs(rows)
    bends = 0.1 * rng.standard_normal((len(first), 200))
    drift = 0.01 * rng.standard_normal((rows, rows))
    slack = np.diag(rng.uniform(-0.01, 0.02, rows)) + (drift + drift.T) / 2
    return slack[first, second], bends @ bends.T / 2


def by_scs(constant: np.ndarray, linear: np.ndarray, rows: int) -> np.ndarray:
    """The same program by a first-order method, to a tolerance of 1e-9; it wants the lower triangle."""
    first, second = pairs(rows)
    order = np.lexsort((second, first))
    weight = np.where(first == second, 1.0, np.sqrt(2.0))
    gram = (weight[:, None] * linear * weight)[np.ix_(order, order)]
    data = {
        "P": scipy.sparse.csc_matrix(np.triu(gram)),
        "A": -scipy.sparse.identity(len(order), format="csc"),
        "b": np.zeros(len(order)),
        "c": (weight * constant)[order],
    }
    solver = scs.SCS(
        data, {"s": [rows]}, verbose=False, eps_abs=1e-9, eps_rel=1e-9, max_iters=100_000
    )
    found = np.empty(len(order))
    found[order] = solver.solve()["x"]
    return found / weight


def violation(constant: np.ndarray, linear: np.ndarray, rows: int, found: np.ndarray) -> float:
    """How far X, S or <X, S> are from what they should be, over the largest entry of C."""
    first, second = pairs(rows)
    counted = found * np.where(first == second, 1, 2)
    slack = constant + linear @ counted
    lowest = [np.linalg.eigvalsh(_square(values, rows))[0] for values in (found, slack)]
    return max(-min(lowest), abs(counted @ slack)) / np.abs(constant).max()


def main() -> None:
    solvers = {"clarabel": lambda *p: _conic(*p)[0]} | ({"scs": by_scs} if scs else {})
    print("| rows | solver | median time [ms] | largest violation |\n| --- | --- | --- | --- |")
    for rows in ROWS:
        for name, solve in solvers.items():
            times, worst = [], 0.0
            for seed in range(PROBLEMS):
                constant, linear = problem(rows, seed)
                began = time.perf_counter()
                found = solve(constant, linear, rows)
                times.append(time.perf_counter() - began)
                worst = max(worst, violation(constant, linear, rows, found))
            print(f"| {rows} | {name} | {1e3 * np.median(times):.2f} | {worst:.1e} |")


if __name__ == "__main__":
    main()
