"""How far a flow is from its run as the learning rate gets smaller, from stored comparisons alone.

A *series* are the runs of a sweep that train for the same learning rate x steps, each with another learning rate. If
the distance at the end is C eta^p, p is the slope of its logarithm against that of eta.
"""

from collections.abc import Sequence

import numpy as np

from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

FEWEST = 3
"""Learning rates that a slope takes."""


def series(runs: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """The runs of each sweep, model, optimizer and seed, in the order given, each from the largest learning rate on."""
    groups: dict[tuple[str, str, str, int], list[StoredRun]] = {}
    for run in runs:
        above = run.path.split("/")[:-3]
        sweep = above[1] if above else ""
        groups.setdefault((sweep, run.model, run.optimizer, run.seed), []).append(run)
    return [sorted(group, key=rate, reverse=True) for group in groups.values()]


def rate(run: StoredRun) -> float:
    """The learning rate."""
    return float(run.settings["optimizer"]["learning_rate"])


def below_edge(run: StoredRun) -> bool:
    """Whether a completed run stays below its threshold."""
    onset = float(run.comparison["onset"].sel(process=DISCRETE))
    return run.status(DISCRETE) == COMPLETED and bool(np.isnan(onset))


def order(rates: Sequence[float], distances: Sequence[float]) -> float:
    """The slope p of the least-squares line through log distance against log learning rate; NaN of fewer than `FEWEST`.

    Args:
        rates: learning rates.
        distances: how far flow and run are apart at each.
    """
    if len(rates) < FEWEST:
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = np.log(rates), np.log(distances)
    return float(np.polyfit(x, y, 1)[0]) if np.isfinite(y).all() else float("nan")
