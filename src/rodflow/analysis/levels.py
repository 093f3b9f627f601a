"""Generalisation along and across the level curves of C(b1, b2) (`rodflow.analysis.adam_bound.condition`).

Values of runs are means over seeds at each point (b1, b2) first. Their logarithms are compared, since losses differ by
factors.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rodflow.analysis.adam_bound import condition

DIGITS = 3
"""Of C, below which points are on one curve."""

FEWEST = 3
"""Curves, or points of a curve, below which nothing is said."""


class Trained(NamedTuple):
    """A run of Adam, and what is said of it.

    Attributes:
        b1, b2: its decays.
        value: a positive number, such as its test loss.
    """

    b1: float
    b2: float
    value: float


def points(runs: Iterable[Trained]) -> pd.DataFrame:
    """One row a point: `b1`, `b2`, the `level` of C, and the mean logarithm `value` over its seeds."""
    table = pd.DataFrame(runs, columns=Trained._fields)
    table["level"] = np.round(condition(table["b1"].to_numpy(), table["b2"].to_numpy()), DIGITS)
    table["level"] += 0.0  # no negative zero
    table["value"] = np.log(table["value"].astype(float))
    return table.groupby(["level", "b1", "b2"], as_index=False)["value"].mean()


def correlation(runs: Sequence[Trained]) -> float:
    """Rank correlation of the value with C over the points; NaN of fewer than `FEWEST` levels."""
    table = points(runs)
    if table["level"].nunique() < FEWEST:
        return float("nan")
    return float(table["level"].rank().corr(table["value"].rank()))


def spread_along_over_across(runs: Sequence[Trained]) -> float:
    """Standard deviation of points about the mean of their curve, over that of the means of the curves.

    NaN of fewer than `FEWEST` curves, or where one has fewer points.
    """
    by_level = points(runs).groupby("level")["value"]
    if len(by_level) < FEWEST or by_level.size().min() < FEWEST:
        return float("nan")
    along = float(np.sqrt(by_level.var(ddof=1).mean()))
    return along / float(by_level.mean().std(ddof=1))
