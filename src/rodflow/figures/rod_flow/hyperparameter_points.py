"""Runs that differ from a base in some hyperparameters: in which, and how good the models are there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

STABLE = "stable"
TITLES = {
    "learning_rate": "learning rate $\\eta$",
    "momentum": "momentum $\\beta$",
    "b1": "momentum decay $\\beta_1$",
    "b2": "second-moment decay $\\beta_2$",
    "eps": "$\\epsilon$",
}
"""Hyperparameters on axes, in the order of the columns."""


@dataclass(frozen=True)
class Point:
    """A run and in what it differs from the base: hyperparameter -> value."""

    run: StoredRun
    changed: dict[str, float]

    @property
    def name(self) -> str:
        """For the table, such as "b1=0.5"."""
        return " ".join(f"{key}={value:g}" for key, value in self.changed.items()) or "base"

    def value(self, key: str) -> float:
        """Of a hyperparameter."""
        return float(self.run.settings["optimizer"][key])

    def number(self, quantity: str, process: str) -> float:
        """From the comparison; NaN where the process or the discrete run did not complete, whose steps are others.

        Args:
            quantity, process: the name of the number in the comparison, and whose it is.
        """
        if self.run.status(process) != COMPLETED or self.run.status(DISCRETE) != COMPLETED:
            return np.nan
        return float(self.run.comparison[quantity].sel(process=process))


def comparable(runs: Sequence[StoredRun]) -> list[Point]:
    """The runs that the first one can be compared with, and in what they differ from it."""
    base = runs[0]
    given = base.settings["optimizer"]
    points = []
    for run in runs:
        if (run.model, run.optimizer) != (base.model, base.optimizer):
            continue
        own = run.settings["optimizer"]
        changed = sorted((key for key in given if own[key] != given[key]), key=place_among)
        points.append(Point(run, {key: own[key] for key in changed}))
    return points


def varied_in(points: Sequence[Point], count: int) -> list[str]:
    """The hyperparameters of runs that differ from the base in `count` of them, in order.

    Args:
        points: the runs.
        count: in how many hyperparameters a run differs from the base.
    """
    found = {key for point in points if len(point.changed) == count for key in point.changed}
    return sorted(found, key=place_among)


def place_among(key: str) -> int:
    """Where a hyperparameter stands among others."""
    return [*TITLES, key].index(key)


def cells_of(
    points: Sequence[Point], pair: tuple[str, str]
) -> dict[tuple[float, ...], list[Point]]:
    """The runs by their values of two hyperparameters; empty if none differs in both.

    Those that differ from the base in one of the two are among them, and so is the base.

    Args:
        points, pair: the runs, and the names of the hyperparameters.
    """
    if not any({*point.changed} == {*pair} for point in points):
        return {}
    cells: dict[tuple[float, ...], list[Point]] = {}
    for point in points:
        if {*point.changed} <= {*pair}:
            cells.setdefault(tuple(point.value(key) for key in pair), []).append(point)
    return cells


def rod_flows(flows: Sequence[str]) -> list[str]:
    """Those that keep a rod: all but the stable flow."""
    return [flow for flow in flows if flow != STABLE]


def gain(point: Point, flow: str) -> float:
    """The last tracking error of the stable flow over that of another; NaN without a stable flow.

    Args:
        point, flow: the run, and the flow that is compared with the stable one.
    """
    if STABLE not in point.run.processes:
        return np.nan
    return point.number("error_last", STABLE) / point.number("error_last", flow)
