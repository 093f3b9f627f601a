"""Every iterate around the onset of the oscillation."""

import numpy as np
import xarray as xr

from rodflow.analysis.comparison import onset, oscillation_onset
from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.process import Progress
from rodflow.stages.again import AT_STEP, run_on
from rodflow.stages.run import Prepared, not_started
from rodflow.store.checkpoint import Checkpoint, Scratch
from rodflow.store.trajectory import described

AROUND = 60
"""How many steps before and after the onset of the oscillation the window keeps."""


def onset_window(
    run: Prepared,
    discrete: xr.Dataset,
    sharpness: xr.Dataset,
    *,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """The optimizer's own weights at every step around the step at which the rod opens.

    Args:
        run, discrete: ready to go, and its discrete run.
        sharpness: sharpness over threshold and the leading eigenvectors along that.
        progress, scratch: told after every chunk of steps; where a killed job continues from.

    Returns:
        `iterate` [step, parameter] and the `eigenvector` [parameter]: the leading eigenvector v of the preconditioned
        Hessian there as a direction of weights, P^{-1/2} v over its norm. The attribute `centre` is the onset of the
        oscillation, or, if the threshold is never reached, the middle between start and last step; `onset`, when it is
        reached, is NaN then. No steps and no `centre` where the run did not get to the start or is on minibatches.
    """
    around = run.replayable(discrete)
    start, steps = run.settings["start"], run.settings["steps"]
    found = onset(sharpness["sharpness_over_threshold"], start)
    attributes: dict[str, object] = {
        "title": f"around the opening of the rod in {discrete.attrs['title']}",
        "onset": found,
        "status": "completed",
    }
    if around is None:
        none = np.zeros((0, run.weights.size), np.float32)
        vector = np.zeros(run.weights.size, np.float32)
        return _labelled(
            np.zeros(0, int), none, vector, attributes | {"status": not_started(discrete)}
        )
    middle = _centre(discrete, found, start)
    attributes["centre"] = middle
    first, last = max(start, middle - AROUND), min(steps, middle + AROUND)
    recording = run_on(
        run.optimizer,
        Discrete().begin(run.optimizer, *around),
        start,
        last,
        range(first, last + 1),
        progress,
        keep=lambda snapshot: {"iterate": snapshot["iterate"]},
        checkpoint=Checkpoint(scratch, "onset_window"),
    )
    there = sharpness.sel(snapshot=middle, method="nearest")
    here = discrete.sel(snapshot=int(there["snapshot"]))
    direction = there["eigenvector"].values / np.sqrt(run.preconditioner(here))
    length = np.linalg.norm(direction)
    # A replay on another device may diverge before the window.
    none = np.zeros((0, run.weights.size), np.float32)
    return _labelled(
        recording.snapshot_steps,
        recording.snapshots.get("iterate", none),
        direction / length if length > 0 else direction,
        attributes | {"status": recording.status},
    )


def _centre(discrete: xr.Dataset, threshold: float, start: int) -> int:
    """The onset of the oscillation after the step at which the threshold is reached, or the middle of what there is.

    A run that diverges in the very step at which it reaches the threshold has no rod from there on: that step then.
    """
    if np.isnan(threshold):
        return max(start, (start + int(discrete["step"][-1])) // 2)
    opened = oscillation_onset(discrete["rod_length"], int(threshold))
    return int(threshold if np.isnan(opened) else opened)


def _labelled(
    steps: np.ndarray, weights: np.ndarray, vector: np.ndarray, attributes: dict[str, object]
) -> xr.Dataset:
    return xr.Dataset(
        {
            "iterate": (
                ("step", "parameter"),
                weights,
                described("flat weights w[t] of the optimizer itself"),
            ),
            "eigenvector": (
                "parameter",
                vector.astype(np.float32),
                described("leading eigenvector at the centre, direction of weights"),
            ),
        },
        {"step": ("step", steps, AT_STEP)},
        attributes,
    )
