"""The variance of an oscillation along each of its directions, in the metric in which eigenvectors are orthogonal.

An oscillation of the weights has a covariance Sigma. Its directions are the eigenvectors of P^{1/2} Sigma P^{1/2} and
the variances along them the eigenvalues, the largest first; P is the preconditioner with its learning rate, so that
they are losses, like <P, Sigma>. A central flow has a Sigma at every step (Cohen et al. 2024, arXiv 2410.24206). A rod
that jumps from Z - X to Z + X and back has the covariance X X'. A run at the edge of stability does so in bursts and in
directions that turn, so that its covariance is the mean over some snapshots around each.
"""

import numpy as np
import xarray as xr
from jaxtyping import Float

from rodflow.analysis import edge
from rodflow.figures.core.preconditioner import preconditioner
from rodflow.figures.core.sweeps import step_size
from rodflow.store.results import DISCRETE, StoredRun

DIRECTIONS = 3
"""How many directions are looked at."""

SNAPSHOTS = 9
"""Over so many snapshots, an odd number, the covariance of rods is averaged; over fewer at both ends of a run."""


def variances(run: StoredRun, process: str) -> xr.DataArray | None:
    """The variances along the directions of a process's oscillation, [snapshot, direction]; None where it has none.

    Of a central flow as it stores them, at its snapshots. Of rods, measured or predicted, from t0 on.

    Args:
        run, process: the stored run, and which of its processes.
    """
    trajectory = run.trajectory(process)
    if "variance_1" in trajectory:
        at = np.intersect1d(trajectory["snapshot"], trajectory["step"])
        stored = [trajectory[f"variance_{1 + which}"].sel(step=at) for which in range(DIRECTIONS)]
        return _labelled(at, np.transpose([values.values for values in stored]))
    if "half_extent" not in trajectory:
        return None
    kept = trajectory.sel(snapshot=slice(run.settings["start"], None))
    scale = preconditioner(kept, run.settings["optimizer"]) / step_size(run)
    rods = (kept["half_extent"] * np.sqrt(scale)).transpose("snapshot", "parameter").values
    return _labelled(kept["snapshot"].values, averaged_variances(rods, SNAPSHOTS))


def held_variances(run: StoredRun, values: xr.DataArray) -> Float[np.ndarray, " direction"]:
    """Their time averages while the run is at the edge of stability, see `rodflow.analysis.edge`; NaN if it is not.

    Args:
        run: the run.
        values: of one of its processes, as `variances` gives them.
    """
    onset = float(run.comparison["onset"].sel(process=DISCRETE))
    where = edge.window(run.series(DISCRETE)["rod_length"], onset)
    if where is None or not where.at_edge:
        return np.full(DIRECTIONS, np.nan)
    inside = values.sel(snapshot=slice(where.first, where.last))
    found: np.ndarray = inside.mean("snapshot").values
    return found


def averaged_variances(rods: np.ndarray, snapshots: int) -> np.ndarray:
    """The largest eigenvalues of the mean of X X' over some rods X around each, [snapshot, direction].

    Args:
        rods: [snapshot, parameter]; their signs do not matter.
        snapshots: over how many the mean is taken.
    """
    products, half = rods @ rods.T, snapshots // 2
    found = np.full((len(rods), DIRECTIONS), np.nan)
    for place, row in enumerate(found):
        around = slice(max(place - half, 0), place + half + 1)
        block = products[around, around]
        if np.isfinite(block).all():
            # X X' and the products of the rods with one another have the same eigenvalues.
            values = np.linalg.eigvalsh(block)[::-1][:DIRECTIONS] / len(block)
            row[:] = 0
            row[: len(values)] = np.maximum(values, 0)
    return found


def _labelled(snapshots: np.ndarray, values: np.ndarray) -> xr.DataArray:
    table = np.reshape(values, (-1, DIRECTIONS)).astype(float)
    at = {"snapshot": snapshots, "direction": np.arange(1, DIRECTIONS + 1)}
    return xr.DataArray(table, at, ("snapshot", "direction"))
