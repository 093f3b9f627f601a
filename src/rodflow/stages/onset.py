"""The onset of a discrete run: the step at which its sharpness first reaches the threshold of linear theory."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from rodflow.config.values import Settings
from rodflow.dynamics.process import Progress
from rodflow.linalg.warm_start import Eigenvectors
from rodflow.stages.run import prepare
from rodflow.stages.sharpness import Search, along
from rodflow.stages.training import train

PART = 8
"""Looks after which it is decided whether to go on."""

TOLERANCE = 3e-2
"""Relative residual of the eigenvalue. An eigenvalue that stands apart errs by its square."""


class Onset(NamedTuple):
    """When a run reaches its threshold.

    Attributes:
        step: linearly between the two snapshots around it; None: it does not, or has diverged before.
        highest: the largest sharpness over threshold up to there; None: the run diverged before its snapshot at
            `start`.
        status: of the run.
    """

    step: float | None
    highest: float | None
    status: str


def onset(dataset: xr.Dataset, settings: Settings, progress: Progress | None = None) -> Onset:
    """Train, and look at the sharpness from `start` on until it reaches the threshold.

    Args:
        dataset: the training data.
        settings: of a `rodflow.config.experiment.Run`.
        progress: called after every chunk of training.
    """
    run = prepare(dataset, settings)
    data = next(train([run], progress))
    looks = data.sel(snapshot=slice(settings["start"], None))
    known: dict[int, Eigenvectors] = {}
    ratios = [np.zeros(0)]
    # In parts, so that little is looked at after the onset. The first and the last look of each is a checked one.
    for first in range(0, looks.sizes["snapshot"], PART):
        part = looks.isel(snapshot=slice(first, first + PART))
        if known:  # the search goes on from the last part's eigenvectors
            known = {int(part["snapshot"][0]): known[max(known)]}
        search = Search(1, TOLERANCE)
        found = along(run.optimizer.loss, run.known, run.hyperparameters, part, search, known)
        ratios.append(found["sharpness_over_threshold"].values)
        if (ratios[-1] >= 1).any():
            break
    ratio = np.concatenate(ratios)
    steps = looks["snapshot"].values[: len(ratio)]
    return Onset(crossing(steps, ratio), _highest(ratio), data.attrs["status"])


def crossing(steps: np.ndarray, ratio: np.ndarray) -> float | None:
    """The step at which a ratio first reaches 1; None if it never does.

    It is linear between that step and the one before; without a finite value before, it is that step itself.

    Args:
        steps: optimizer steps in ascending order, [look].
        ratio: sharpness over threshold at each, [look]; NaN where it is not known.
    """
    reached = np.flatnonzero(ratio >= 1)
    if not reached.size:
        return None
    at = int(reached[0])
    if at == 0 or not np.isfinite(ratio[at - 1]):
        return float(steps[at])
    return float(np.interp(1.0, ratio[at - 1 : at + 1], steps[at - 1 : at + 1]))


def _highest(ratio: np.ndarray) -> float | None:
    """The largest value up to the first that reaches 1."""
    finite = ratio[np.isfinite(ratio)]
    reached = np.flatnonzero(finite >= 1)
    upto = finite[: reached[0] + 1] if reached.size else finite
    return float(upto.max()) if upto.size else None
