"""Stored errors in function space against stored weights, at a few snapshots; it needs JAX.

The outputs of the network are taken again at the weights of the run and of its flows. At all snapshots the error must
be the stored distance over the stored way.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from rodflow.audit import recompute
from rodflow.audit.curvature import losses_of
from rodflow.audit.recompute import OutputSample, Recomputed, relative_difference
from rodflow.linalg.curvature import Loss
from rodflow.problem.objective import Objective
from rodflow.stages.outputs import error_of, outputs, outputs_of

SOURCE = "weights and the network"

ALLOWED = 1e-4
"""Relative difference of distances, to each of which a hundredth of the norm of the outputs is added.

Outputs are in float32, so that a distance is known to some 1e-7 of their norm; 1e-6 of it is allowed.
"""


def check(dataset: xr.Dataset, samples: Sequence[OutputSample]) -> Iterator[Recomputed]:
    """Take the outputs of samples of any models on a data set again.

    Args:
        dataset, samples: what all networks are given, and what is taken again.

    Returns:
        One by one what came out of each sample, which names the first fault instead of raising it.
    """
    losses = losses_of(dataset)
    for one in samples:
        try:
            yield _checked(losses(one.settings), one)
        except Exception as error:  # whatever a forged file may cause
            yield _faulty(one, f"cannot be checked: {error}")


def _checked(loss: Loss, one: OutputSample) -> Recomputed:
    stored, fresh = one.stored, outputs(loss, one.trajectories, one.settings["start"])
    if stored.attrs["status"] != fresh.attrs["status"]:
        words = f"status is {stored.attrs['status']!r}, recomputed {fresh.attrs['status']!r}"
        return _faulty(one, words)
    if not (isinstance(loss, Objective) and stored["snapshot"].size):
        return Recomputed(one.artifact, SOURCE, 0, 0.0, ALLOWED)
    error = error_of(stored["output_distance"].values, stored["output_travelled"].values)
    if not (relative_difference(stored["output_error"].values, error) <= recompute.ALLOWED).all():
        return _faulty(one, "output_error is not output_distance over output_travelled")
    first = one.trajectories["discrete"]["weights"].isel(snapshot=0)
    scale = float(np.linalg.norm(outputs_of(loss)(first.values)))
    numbers, largest, fault = 0, 0.0, ""
    for name in ("output_distance", "output_travelled"):
        again = fresh[name].values
        found = stored[name].sel(snapshot=fresh["snapshot"]).values
        away = np.abs(found - again) / (again + scale / 100)
        away = np.where(np.isnan(found) & np.isnan(again), 0.0, np.nan_to_num(away, nan=np.inf))
        numbers, largest = numbers + away.size, max(largest, float(away.max(initial=0.0)))
        if not fault and largest > ALLOWED:
            at = np.unravel_index(np.argmax(away), away.shape)
            place = f"{name}[snapshot={fresh['snapshot'].values[at[-1]]}]"
            fault = f"{place} is {found[at]:.7g}, recomputed {again[at]:.7g}"
    return Recomputed(one.artifact, SOURCE, numbers, largest, ALLOWED, fault)


def _faulty(one: OutputSample, fault: str) -> Recomputed:
    return Recomputed(one.artifact, SOURCE, 0, float("inf"), ALLOWED, fault)
