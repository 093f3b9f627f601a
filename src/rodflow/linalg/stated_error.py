"""How far a value along a path may lie below the largest eigenvalue: a bound where it was checked, else an estimate.

Between two checks what is not followed is taken to lie below a level that goes straight from one end to the other, and
bends as the followed values do. No direction is seen that nothing couples to and that rises and sinks again in between.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rodflow.linalg.confidence import upper_bounds
from rodflow.linalg.curvature import Curvature

BENDS = 2
"""How many times as far off a straight line what is not followed may be as what is."""

ROUNDING = 1e-5
"""Relative error of a value by rounding."""


class Levels(NamedTuple):
    """What bounds the eigenvalues that are not followed: see `Curvature`."""

    level: np.ndarray
    raw_level: np.ndarray
    followed: np.ndarray
    raw_value: np.ndarray

    @classmethod
    def of(cls, found: Curvature) -> "Levels":
        """Those at a place."""
        values = (found.level, found.raw_level, found.followed, found.raw_value)
        return cls(*(np.asarray(value, float) for value in values))


def stated_errors(found: Curvature, span: Sequence[Levels], part: float) -> dict[str, np.ndarray]:
    """What the stored values may lack, relative to the largest.

    Where it was checked this is what the bound says. Elsewhere the level below which all is that is not followed is
    estimated: it goes straight from one end to the other, and `BENDS` times as far off as the followed values do.

    Args:
        found: at a place.
        span: from one checked place to the next, both included.
        part: of the span that lies before the place.

    Returns:
        `error` of the eigenvalues of A, [eigenvalue], and `raw_error` of the one of H, a scalar; `ROUNDING` included.
    """
    top, raw_top = abs(found.values[0]), abs(found.raw_value)
    if np.isfinite(found.missed):
        bounds, raw = found.upper_bounds, found.raw_upper_bound
    else:
        followed = np.array([one.followed for one in span])
        level = _straight(np.array([one.level for one in span]), part)
        level += BENDS * _bend(followed[:, 1:])
        raw_level = _straight(np.array([one.raw_level for one in span]), part)
        raw_level += BENDS * _bend(np.array([[one.raw_value] for one in span]))
        projected, across = (np.asarray(part, float) for part in (found.followed, found.across))
        bounds = upper_bounds(np.diag(projected), across, level, len(found.values))
        square = np.array([[(found.raw_residual * raw_top) ** 2]])
        raw = float(upper_bounds(np.array([[found.raw_value]]), square, raw_level, 1)[0])
    error = _relative(np.maximum(bounds - found.values, 0), top) + ROUNDING
    raw_error = _relative(np.maximum(raw - found.raw_value, 0), raw_top) + ROUNDING
    return {"error": error.astype(found.values.dtype), "raw_error": np.asarray(raw_error, float)}


def _relative(lacking: np.ndarray, top: np.ndarray | float) -> np.ndarray:
    """To the largest value; nothing where nothing lacks, also of a curvature that is zero."""
    with np.errstate(divide="ignore"):
        return np.divide(lacking, top, out=np.zeros_like(lacking), where=lacking != 0)


def _straight(values: np.ndarray, part: float) -> float:
    """Between both ends; infinite where an end is not known."""
    return float(np.nan_to_num((1 - part) * values[0] + part * values[-1], nan=np.inf))


def _bend(values: np.ndarray) -> float:
    """How far any column is at most off the straight line between its ends, [place, column]."""
    known = np.isfinite(values).all(axis=1)
    if not (known[0] and known[-1]):
        return np.inf
    parts = np.linspace(0, 1, len(values))[:, None]
    off = np.abs(values - (1 - parts) * values[0] - parts * values[-1])[known]
    return float(off.max(initial=0))
