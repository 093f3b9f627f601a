"""Methods compared at their best learning rates, from stored runs alone.

A method is k-Adam on a network without or with normalisation layers; its runs differ in learning rate and seed. The
best rate is the one with the lowest loss, in the geometric mean over the seeds: the last training loss, or the lowest
test loss. The module imports no JAX.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import xarray as xr

from rodflow.store.results import COMPLETED, DISCRETE, StoredRun

ROUNDING = float(np.finfo(np.float32).eps)
"""A loss below this counts as this: it is what rounding leaves of a mean over samples."""

_LATE = 0.9
"""Where the last tenth of a run begins."""


class Method(NamedTuple):
    """How a network is trained: with which k, and whether it has normalisation layers by setting."""

    k: int
    normalised: bool


@dataclass(frozen=True)
class Tuned:
    """The runs of a method.

    Attributes:
        method: which.
        runs: learning rate -> runs, one a seed.
        judged: the loss of a run by which learning rates are judged.
    """

    method: Method
    runs: Mapping[float, Sequence[StoredRun]]
    judged: Callable[[StoredRun], float]

    def loss(self, rate: float) -> float:
        """The loss at a learning rate, in the geometric mean over the seeds; inf if a seed diverged."""
        return geometric_mean([self.judged(run) for run in self.runs[rate]])

    @property
    def best(self) -> float:
        """The learning rate with the lowest loss."""
        return min(self.runs, key=self.loss)

    @property
    def at_edge(self) -> bool:
        """Whether the best learning rate is the smallest or the largest of several tried."""
        return len(self.runs) > 1 and self.best in (min(self.runs), max(self.runs))


def last_loss(run: StoredRun) -> float:
    """The training loss averaged over the last tenth of a run; inf of a run that diverged."""
    if run.status(DISCRETE) != COMPLETED:
        return math.inf
    steps = run.settings["steps"]
    late = run.series(DISCRETE)["loss"].sel(step=slice(math.ceil(_LATE * steps), None))
    return max(float(late.mean()), ROUNDING)


def has_test(run: StoredRun) -> bool:
    """Whether a run has a test set."""
    return "test_loss" in run.comparison


def lowest_test_loss(run: StoredRun) -> float:
    """The lowest test loss at a snapshot, where one would have stopped; inf if it diverged or has no test set."""
    if run.status(DISCRETE) != COMPLETED or not has_test(run):
        return math.inf
    return max(float(run.comparison["test_loss"].sel(process=DISCRETE).min()), ROUNDING)


def curve(runs: Sequence[StoredRun], width: int) -> xr.DataArray:
    """The training loss averaged over windows of some steps, [seed, step], to where the shortest run ends.

    Args:
        runs: one a seed.
        width: steps in a window; `step` is its middle.
    """
    averaged = [
        run.series(DISCRETE)["loss"].astype(float).coarsen(step=width, boundary="trim").mean()
        for run in runs
    ]
    together = xr.concat(averaged, "seed", join="inner", coords="minimal", compat="override")
    return together.clip(min=ROUNDING)


def mean_curve(losses: xr.DataArray) -> xr.DataArray:
    """The geometric mean over the seeds of what `curve` gives, [step]."""
    return cast(xr.DataArray, np.exp(cast(xr.DataArray, np.log(losses)).mean("seed")))


def geometric_mean(values: Iterable[float]) -> float:
    """Exp of the mean logarithm."""
    return float(np.exp(np.mean(np.log([*values]))))


def method_of(run: StoredRun) -> Method:
    """The method that a run belongs to."""
    chosen = run.settings
    normalised = chosen["model"].get("normalisation", "none") != "none"
    return Method(int(chosen["optimizer"].get("k", 1)), normalised)


def problem_of(run: StoredRun) -> str:
    """What methods are compared on: network but for its normalisation, criterion, batch, optimizer, as JSON."""
    chosen = run.settings
    network = {key: own for key, own in chosen["model"].items() if key != "normalisation"}
    optimizer = {
        key: own for key, own in chosen["optimizer"].items() if key not in ("k", "learning_rate")
    }
    others = {key: chosen[key] for key in ("criterion", "batch_size", "dataset", "steps")}
    return json.dumps([network, optimizer, others], sort_keys=True)


def tuned(
    runs: Iterable[StoredRun], judged: Callable[[StoredRun], float] = last_loss
) -> list[dict[Method, Tuned]]:
    """The methods on each problem, both in the order given, learning rates from the smallest on.

    Args:
        runs: one a method, learning rate and seed, of any problems.
        judged: the loss of a run by which learning rates are judged.

    Returns:
        A mapping a problem, see `problem_of`.
    """
    found: dict[str, dict[Method, dict[float, list[StoredRun]]]] = {}
    for run in runs:
        rates = found.setdefault(problem_of(run), {}).setdefault(method_of(run), {})
        rates.setdefault(float(run.settings["optimizer"]["learning_rate"]), []).append(run)
    return [
        {
            method: Tuned(method, dict(sorted(rates.items())), judged)
            for method, rates in methods.items()
        }
        for methods in found.values()
    ]
