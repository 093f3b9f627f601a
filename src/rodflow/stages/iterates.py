"""The rod flow started once more, at the edge of stability, where it predicts single iterates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from rodflow.analysis.comparison import onset, oscillation_onset
from rodflow.dynamics.discrete import Consecutive, Discrete
from rodflow.dynamics.iterates import Iterates
from rodflow.dynamics.process import Progress, Recording, grid, record
from rodflow.optimizers.optimizer_map import State
from rodflow.stages.again import AT_SNAPSHOT, AT_STEP, run_on
from rodflow.stages.run import Prepared, not_started
from rodflow.store.checkpoint import Checkpoint, Scratch
from rodflow.store.trajectory import described

AT_THRESHOLD = 0.9
"""Sharpness over threshold from which a run counts as being at the edge of stability, where a restart is given. Where
the rod has opened the run is there already, though the first burst may have thrown the sharpness below."""


def iterates(
    run: Prepared,
    discrete: xr.Dataset,
    sharpness: xr.Dataset,
    *,
    restart: int | None = None,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """Predict the iterates one by one from a step at the edge of stability on.

    Args:
        run: ready to go.
        discrete: its discrete run.
        sharpness: the leading eigenvectors along that.
        restart: the step at which the flow starts, one of the snapshots; None for the first one at which the rod of
            the iterates has opened.
        progress: called after every chunk.
        scratch: where a killed job continues from.

    Returns:
        By step from `restart` on: `iterate_error` ||Z + (-1)^t X_w - w_t|| / ||X_w||, `rod_length`, and `actual` and
        `predicted`, the positions v . P^{1/2} (w - w_restart) along the leading eigenvector v there; by
        snapshot the predicted iterate, `weights`. No steps, and a status that says why, if the run never reaches its
        threshold or diverges before its rod has opened, is below `AT_THRESHOLD` of it at a `restart` that was given,
        or is on minibatches.
    """
    ratio = sharpness["sharpness_over_threshold"]
    chosen = restart is not None
    if restart is None:
        restart = _opened(run, discrete, ratio)
    there = float(ratio.sel(snapshot=restart)) if restart in ratio["snapshot"] else float("nan")
    attributes: dict[str, object] = {
        "title": f"prediction of single {discrete.attrs['title']}",
        "restart": float("nan") if restart is None else restart,
        "sharpness_over_threshold": there,
    }
    around, reached = run.replayable(discrete), None
    refusal = not_started(discrete) if around is None else _refusal(ratio, restart, there, chosen)
    if around is not None and restart is not None and not refusal:
        reached = _at_restart(run, around, restart, progress, scratch)
        refusal = "" if reached else f"not started: replay diverged before step {restart}"
    if restart is None or reached is None:
        return _none(run.weights.size, attributes | {"status": refusal})
    here = discrete.sel(snapshot=restart)
    eigenvector = sharpness["eigenvector"].sel(snapshot=restart).values
    direction = jnp.asarray(run.preconditioner(here) ** 0.5 * eigenvector)
    recording = _predicted(run, reached, direction, restart, progress, scratch)
    # 0 where the replay is the stored run to the last bit
    difference = np.abs(np.asarray(reached.now.weights) - here["iterate"].values).max()
    found = {"status": recording.status, "replay_difference": float(difference)}
    return _labelled(recording, attributes | found)


def _refusal(ratio: xr.DataArray, restart: int | None, there: float, chosen: bool) -> str:
    """Why a flow of single iterates does not start, or "".

    Args:
        ratio: sharpness over threshold along the run, [snapshot].
        restart: where it would start; None: nowhere.
        there: the ratio there.
        chosen: whether the config says where.
    """
    if not ratio.notnull().any():
        return "not started: no sharpness over a threshold is known"
    if restart is None and not (ratio >= 1).any():
        return f"not started: threshold not reached ({float(ratio.max()):.2f} of it at most)"
    if restart is None:
        return (
            "not started: no snapshot with a sharpness after the rod has opened and before the end"
        )
    if np.isnan(there):
        return f"not started: no sharpness at step {restart}"
    if chosen and there < AT_THRESHOLD:
        return f"not started: below the threshold ({there:.2f} of it)"
    return ""


def _opened(run: Prepared, discrete: xr.Dataset, ratio: xr.DataArray) -> int | None:
    """The first snapshot with a sharpness at or after the oscillation's onset, short of the end; None without one."""
    found = onset(ratio, run.settings["start"])
    if np.isnan(found):
        return None
    later = ratio.dropna("snapshot")["snapshot"].values
    opened = oscillation_onset(discrete["rod_length"], int(found))
    later = later[(later >= opened) & (later < run.settings["steps"])]
    return int(later[0]) if later.size else None


def _at_restart(
    run: Prepared,
    around: tuple[State, State, State],
    restart: int,
    progress: Progress | None,
    scratch: Scratch | None,
) -> Consecutive | None:
    """The discrete run's states around the restart; None where it diverges before, as it may on another device."""
    start = run.settings["start"]
    recording = run_on(
        run.optimizer,
        Discrete().begin(run.optimizer, *around),
        start,
        restart,
        grid(start, start, restart, run.every),
        progress,
        keep=lambda snapshot: {},
        checkpoint=Checkpoint(scratch, "to_restart"),
        hold=restart,
    )
    if restart not in recording.held:
        return None
    reached: Consecutive = jax.tree.map(jnp.asarray, recording.held[restart])
    return reached


def _predicted(
    run: Prepared,
    reached: Consecutive,
    direction: jax.Array,
    restart: int,
    progress: Progress | None,
    scratch: Scratch | None,
) -> Recording:
    process = Iterates(direction, reached.now.weights)
    steps = run.settings["steps"]
    return record(
        process,
        run.optimizer,
        eqx.filter_jit(process.beside)(run.optimizer, reached),
        first=restart,
        last=steps,
        snapshot_steps=grid(restart, restart, steps, run.every),
        key=jax.random.key(run.settings["seed"]),
        progress=progress,
        keep=lambda snapshot: {"weights": snapshot["weights"]},
        checkpoint=Checkpoint(scratch, "iterates"),
    )


_SERIES = {
    "iterate_error": "iterate error ||Z + (-1)^t X_w - w_t|| / ||X_w||",
    "rod_length": "norm of the weights' half-extent ||X_w|| of the flow",
    "actual": "position of the iterate along the leading eigenvector, v . P^(1/2) (w - w_restart)",
    "predicted": "the same of the predicted iterate Z + (-1)^t X_w",
    "loss": "full-batch loss of the iterates",
}


def _labelled(recording: Recording, attributes: dict[str, object]) -> xr.Dataset:
    series = {
        name: ("step", recording.series[name], described(text)) for name, text in _SERIES.items()
    }
    weights = (
        ("snapshot", "parameter"),
        recording.snapshots["weights"],
        described("predicted iterate Z + (-1)^t X_w, flat weights"),
    )
    return xr.Dataset(
        {**series, "weights": weights},
        {
            "step": ("step", recording.steps, AT_STEP),
            "snapshot": ("snapshot", recording.snapshot_steps, AT_SNAPSHOT),
        },
        attributes,
    )


def _none(parameters: int, attributes: dict[str, object]) -> xr.Dataset:
    nothing = Recording(
        steps=np.zeros(0, int),
        series={name: np.zeros(0, np.float32) for name in _SERIES},
        snapshot_steps=np.zeros(0, int),
        snapshots={"weights": np.zeros((0, parameters), np.float32)},
    )
    return _labelled(nothing, attributes)
