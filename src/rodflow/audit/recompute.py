"""Comparing what is stored with what comes out again: numbers, tables, and what is needed to check eigenvectors."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import xarray as xr

from rodflow.config.values import Settings

ALLOWED = 1e-12
"""Relative difference of float64 numbers that are computed again from the same files."""


@dataclass(frozen=True)
class Recomputed:
    """The numbers of an artifact, computed again.

    Attributes:
        artifact: the file that holds them, relative to the results root.
        source: what they were computed from.
        numbers: how many were compared.
        difference: the largest relative difference found.
        allowed: the largest that is allowed.
        fault: the first number that differs by more, "" if none does.
    """

    artifact: str
    source: str
    numbers: int
    difference: float
    allowed: float = ALLOWED
    fault: str = ""


@dataclass(frozen=True)
class Sample:
    """What is needed of a sharpness artifact and its trajectory to verify eigenvectors.

    Attributes:
        artifact: the sharpness file, relative to the results root.
        settings: of the run.
        sharpness: its numbers at all snapshots.
        vectors: eigenvector, weights, half_extent, second_moment and gain (if there are such) at a few.
    """

    artifact: str
    settings: Settings
    sharpness: xr.Dataset
    vectors: xr.Dataset


def sample(
    path: str,
    settings: Settings,
    sharpness: xr.Dataset,
    trajectory: xr.Dataset,
    count: int = 3,
) -> Sample:
    """Up to `count` snapshots of a sharpness artifact, the first and the last among them.

    Args:
        path: the sharpness file, relative to the results root.
        settings: of the run.
        sharpness, trajectory: the artifacts of one process, with eigenvectors and weights.
        count: how many snapshots at most; of 1 the first.

    Raises:
        KeyError, ValueError: the two have not the snapshots or variables that they should.
    """
    snapshots = sharpness.sizes["snapshot"]
    picked = np.unique(np.linspace(0, snapshots - 1, min(count, snapshots)).round().astype(int))
    vectors = sharpness[["eigenvector"]].isel(snapshot=picked)
    names = [
        name for name in ("weights", "half_extent", "second_moment", "gain") if name in trajectory
    ]
    beside = trajectory[names].sel(snapshot=vectors["snapshot"])
    numbers = sharpness.drop_dims("parameter")
    return Sample(path, settings, numbers, vectors.assign(beside.data_vars))


@dataclass(frozen=True)
class OutputSample:
    """What is needed of a run to take a few of its outputs again.

    Attributes:
        artifact: the file with the errors in function space, relative to the results root.
        settings: of the run.
        stored: that file.
        trajectories: process -> its weights at a few snapshots.
    """

    artifact: str
    settings: Settings
    stored: xr.Dataset
    trajectories: Mapping[str, xr.Dataset]


def output_sample(
    path: str,
    settings: Settings,
    stored: xr.Dataset,
    trajectories: Mapping[str, xr.Dataset],
    count: int = 3,
) -> OutputSample:
    """Up to `count` snapshots of a run from t0 on, the first and the last among them.

    Args:
        path: the file with the errors in function space, relative to the results root.
        settings: of the run.
        stored: that file.
        trajectories: process -> trajectory, "discrete" among them, and the flows in the order of the file.
        count: how many snapshots at most; of 1 the first.

    Raises:
        KeyError, ValueError: the file has not the processes and snapshots of the trajectories.
    """
    kept = trajectories["discrete"]["snapshot"].values
    kept = kept[kept >= settings["start"]]
    if stored["process"].values.tolist() != [one for one in trajectories if one != "discrete"]:
        raise ValueError("it has other processes")
    if stored["snapshot"].size and stored["snapshot"].values.tolist() != kept.tolist():
        raise ValueError("it has other snapshots")
    picked = kept[
        np.unique(np.linspace(0, kept.size - 1, min(count, kept.size)).round().astype(int))
    ]
    few = {
        process: data[["weights"]].sel(snapshot=np.intersect1d(picked, data["snapshot"]))
        for process, data in trajectories.items()
    }
    return OutputSample(path, settings, stored, few)


def relative_difference(stored: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """|a - b| over the larger of |a| and |b|, element by element; 0 for equals and two NaN, inf for NaN and a number.

    Args:
        stored, fresh: a and b, of one shape.
    """
    a, b = np.asarray(stored, np.float64), np.asarray(fresh, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))
    return np.where(same, 0.0, np.where(np.isfinite(difference), difference, np.inf))


def recompute(stored: xr.Dataset, fresh: xr.Dataset, path: str) -> Recomputed:
    """A stored comparison against a fresh one: variables and coordinates, and no attributes.

    Args:
        stored, fresh: the comparison as read, and as computed again.
        path: its file, relative to the results root.
    """
    source = "trajectories and sharpness"
    if different := sorted(stored.variables.keys() ^ fresh.variables.keys(), key=str):
        words = "has the unknown" if different[0] in stored.variables else "lacks the"
        fault = f"{words} variable {different[0]}"
        return Recomputed(path, source, 0, math.inf, fault=fault)
    numbers, largest, fault = 0, 0.0, ""
    for name, expected in fresh.variables.items():
        found = stored.variables[name]
        if found.dims != expected.dims or found.shape != expected.shape:
            largest = math.inf
            fault = fault or f"{name} has the shape {found.sizes}, recomputed {expected.sizes}"
            continue
        if expected.dtype.kind in "iuf":
            difference = relative_difference(found.values, expected.values)
            numbers += difference.size
        else:
            difference = np.where(
                found.values.astype(str) == expected.values.astype(str), 0, np.inf
            )
        largest = max(largest, float(difference.max(initial=0.0)))
        if not fault and largest > ALLOWED:
            at = np.unravel_index(np.argmax(difference > ALLOWED), difference.shape)
            place = ", ".join(
                f"{dim}={fresh[dim].values[i] if dim in fresh.coords else i}"
                for dim, i in zip(expected.dims, at, strict=True)
            )
            fault = f"{name}[{place}] is {found.values[at]}, recomputed {expected.values[at]}"
    return Recomputed(path, source, numbers, largest, fault=fault)


def recompute_table(stored: str, fresh: str, path: str) -> Recomputed:
    """The stored table of a figure against a fresh one, both as CSV with a header.

    Args:
        stored, fresh: the text of the file, and that of the table drawn again.
        path: the file, relative to the results root.
    """
    try:
        rows = [list(csv.reader(text.splitlines())) for text in (stored, fresh)]
    except csv.Error as error:
        fault = f"is no table: {error}"
        return Recomputed(path, "the stored runs", 0, math.inf, fault=fault)
    largest, fault = 0.0, ""
    for number, (found, expected) in enumerate(zip_longest(*rows, fillvalue=[]), start=1):
        difference = _row_difference(found, expected)
        largest = max(largest, difference)
        if difference > ALLOWED and not fault:
            fault = f"line {number} is {','.join(found)!r}, drawn again {','.join(expected)!r}"
    return Recomputed(path, "the stored runs", max(len(rows[1]) - 1, 0), largest, fault=fault)


def _row_difference(found: Sequence[str], expected: Sequence[str]) -> float:
    if len(found) != len(expected):
        return math.inf
    largest = 0.0
    for a, b in zip(found, expected, strict=True):
        if a != b:
            try:
                difference = relative_difference(np.array(float(a)), np.array(float(b)))
            except ValueError:
                return math.inf
            largest = max(largest, float(difference))
    return largest
