"""Adam and AdamW against their form in continuous time: Gould and Tanaka 2024. See `rodflow.analysis.convergence`."""

import math
from collections.abc import Sequence

import numpy as np

from rodflow.analysis.convergence import below_edge, order, rate, series
from rodflow.audit.claims.claim import (
    TARGET,
    Bound,
    Claim,
    Measured,
    NotApplicable,
    Overall,
    at_least,
    at_most,
)
from rodflow.audit.claims.measures import (
    compared,
    demand,
    demand_threshold,
    failed,
    optimizer_in,
)
from rodflow.audit.numbers import digits
from rodflow.store.results import DISCRETE, StoredRun

FLOW = "adam_continuous"
_FIGURE = "adam_continuous"


def distance(run: StoredRun) -> Measured:
    """The last tracking error of a run that stays below its threshold; inf if the flow did not get there.

    Raises:
        NotApplicable: as `failed`, or it reaches its threshold.
    """
    failure = failed(run, FLOW)
    if not below_edge(run):
        raise NotApplicable("reaches its threshold")
    if failure:
        return Measured(math.inf, failure)
    return Measured(compared(run, "error_last", FLOW))


def loss_distance(run: StoredRun) -> Measured:
    """The relative difference of the last losses of a run that stays below its threshold; inf if the flow ended early.

    Raises:
        NotApplicable: as `failed`, or it reaches its threshold.
    """
    failure = failed(run, FLOW)
    if not below_edge(run):
        raise NotApplicable("reaches its threshold")
    if failure:
        return Measured(math.inf, failure)
    there, here = (float(run.series(process)["loss"][-1]) for process in (DISCRETE, FLOW))
    return Measured(abs(here / there - 1), f"{digits(there)}, in continuous time {digits(here)}")


def departure(run: StoredRun) -> Measured:
    """The last tracking error over that at the onset, of a run that reaches its threshold; inf if the flow ended early.

    Raises:
        NotApplicable: as `failed`, there is no linear threshold, or it is never reached or before the first tracking
            error.
    """
    demand(run, DISCRETE)
    demand_threshold(run)
    if below_edge(run):
        raise NotApplicable("threshold never reached")
    if failure := failed(run, FLOW):
        return Measured(math.inf, failure)
    error = run.comparison["tracking_error"].sel(process=FLOW).dropna("snapshot")
    onset = int(run.comparison["onset"].sel(process=DISCRETE))
    if onset < error["snapshot"][0]:
        raise NotApplicable("at its threshold from the start")
    there, last = float(error.sel(snapshot=onset)), float(error[-1])
    return Measured(last / there, f"{digits(there)} at step {onset}, {digits(last)} at the end")


def _farthest_order(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """Of the orders of all series the one farthest from 1; NaN if none has one."""
    of = dict(zip((run.path for run in runs), values, strict=True))
    orders = [order([*map(rate, s)], [of[run.path] for run in s]) for s in series(runs)]
    known = [value for value in orders if not math.isnan(value)]
    return max(known, key=lambda value: abs(value - 1), default=math.nan)


def _largest_at_smallest(values: Sequence[float], runs: Sequence[StoredRun]) -> float:
    """The largest number of the runs with the smallest learning rate of each series."""
    of = dict(zip((run.path for run in runs), values, strict=True))
    return float(np.max([of[group[-1].path] for group in series(runs)]))


ORDER = Overall("slope that is farthest from 1", _farthest_order)
SMALLEST = Overall("largest at the smallest learning rates", _largest_at_smallest)

_2024 = "Gould and Tanaka 2024 (arXiv 2411.05746)"
_FILES = ("comparison.nc", "discrete.nc", f"{FLOW}.nc")

CLAIMS: tuple[Claim, ...] = (
    *(
        Claim(
            id=f"{name}-continuous-order",
            figure=_FIGURE,
            source=TARGET,
            statement=(
                f"Below the edge of stability {label} is a step of first order of its form in continuous time: at the "
                "same learning rate x steps their distance shrinks in proportion to the learning rate, with a slope "
                "within 0.15 of 1."
            ),
            quantity="slope of log distance (last tracking error) against log learning rate",
            measure=distance,
            allowed=Bound(0.85, 1.15),
            overall=ORDER,
            about=optimizer_in(name),
        )
        for name, label in (("adam", "Adam"), ("adamw", "AdamW"))
    ),
    Claim(
        id="adam-continuous-weights",
        figure=_FIGURE,
        source=_2024,
        statement=(
            "Weights trained by Adam and AdamW follow their paths in continuous time closely: at the smallest learning "
            "rate they end within 1% of the distance travelled."
        ),
        quantity="last tracking error at the smallest learning rate of a series, the largest of all series",
        measure=distance,
        allowed=at_most(0.01),
        overall=SMALLEST,
    ),
    Claim(
        id="adam-continuous-loss",
        figure=_FIGURE,
        source=_2024,
        statement=(
            "The loss of Adam and AdamW follows that of their paths in continuous time: at the smallest learning rate "
            "it ends within 1%."
        ),
        quantity="relative difference of the last losses at the smallest learning rate, the largest of all series",
        measure=loss_distance,
        allowed=at_most(0.01),
        overall=SMALLEST,
        files=_FILES,
    ),
    Claim(
        id="adam-continuous-departs",
        figure=_FIGURE,
        source=TARGET,
        statement=(
            "The form in continuous time has no threshold: from the edge of stability on the run departs from it, and "
            "at the end they are at least five times as far apart."
        ),
        quantity="last tracking error over that where the threshold is reached",
        measure=departure,
        allowed=at_least(5),
    ),
)
"""In the order of the report."""
