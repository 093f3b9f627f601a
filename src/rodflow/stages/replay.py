"""What is run again from the discrete run's stored states: its replicas, its iterates, a onset window at the onset.

Each takes a run's artifacts as labelled data sets and gives one, like the functions of `rodflow.stages.run`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from rodflow.analysis.comparison import onset, oscillation_onset
from rodflow.dynamics.discrete import Consecutive, Discrete, consecutive
from rodflow.dynamics.iterates import Iterates
from rodflow.dynamics.process import Keep, Progress, Recording, grid, record
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.stages.run import Settings, build, not_started, preconditioner, states_at_start
from rodflow.store.checkpoint import Checkpoint, Scratch, let_go
from rodflow.store.trajectory import described

PERTURBATION = 1e-7
"""Relative size of the difference between a run and its replica, about the rounding of float32."""

AT_THRESHOLD = 0.9
"""Sharpness over threshold from which a run counts as being at the edge of stability, where a restart is given. Where
the rod has opened the run is there already, though the opening may have thrown the sharpness below."""

AROUND_OPENING = 60
"""How many steps before and after the opening of the rod a onset window keeps."""


_AT_STEP = described("optimizer step")
_AT_SNAPSHOT = described("optimizer step at which weights are kept")


def replicas(
    dataset: xr.Dataset,
    discrete: xr.Dataset,
    settings: Settings,
    *,
    count: int,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """Replicas of the discrete run: the same optimizer from weights that differ at the start by rounding.

    At the edge of stability training amplifies rounding; how far a replica goes from the run is the floor under the
    error of any model of the dynamics. The weights at t0 are multiplied by 1 + 1e-7 N(0, 1), element by element.

    Returns:
        `weights` [replica, snapshot, parameter], midpoints as in the discrete run; `loss` [replica, step]. A replica
        that diverges is NaN from there on and the status says so.
    """
    optimizer, weights = build(dataset, settings)
    around = states_at_start(optimizer, weights, discrete)
    start, steps, every = settings["start"], settings["steps"], settings["snapshots"]["every"]
    snapshots = np.array(grid(start, start, steps, every))
    kept = Checkpoint(scratch, "replicas")
    losses = np.full((count, steps + 1 - start), np.nan, np.float32)
    status = "completed" if around else not_started(discrete)
    keys = [jax.random.fold_in(jax.random.key(settings["seed"]), k) for k in range(count)]
    nowhere = np.full((1, weights.size), np.nan, np.float32)
    for replica, key in enumerate(keys):
        found: list[np.ndarray] = []
        if around:
            recording = _run_on(
                optimizer,
                _perturbed(optimizer, around, key),
                start,
                steps,
                snapshots,
                progress,
                keep=lambda snapshot: {"weights": snapshot["weights"]},
                checkpoint=Checkpoint(scratch, f"replica{replica + 1}"),
            )
            found = list(recording.snapshots["weights"])
            losses[replica, : len(recording.steps)] = recording.series["loss"]
            if recording.status != "completed" and status == "completed":
                status = f"replica {replica + 1} {recording.status}"
        for row in found:
            kept.append("weights", row[None])
            let_go(row)
        for _ in range(len(snapshots) - len(found)):
            kept.append("weights", nowhere)
    return xr.Dataset(
        {
            "weights": (
                ("replica", "snapshot", "parameter"),
                kept.column("weights").reshape(count, len(snapshots), weights.size),
                described("flat weights: midpoint of the replica's iterates"),
            ),
            "loss": (
                ("replica", "step"),
                losses,
                described("full-batch loss of the replica"),
            ),
        },
        {
            "replica": ("replica", np.arange(1, count + 1), described("number of the replica")),
            "snapshot": ("snapshot", snapshots, _AT_SNAPSHOT),
            "step": ("step", np.arange(start, steps + 1), _AT_STEP),
        },
        {
            "title": f"replicas of {discrete.attrs['title']}",
            "status": status,
            "perturbation": PERTURBATION,
        },
    )


def iterates(
    dataset: xr.Dataset,
    discrete: xr.Dataset,
    sharpness: xr.Dataset,
    settings: Settings,
    *,
    restart: int | None = None,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """The rod flow started once more, at the edge of stability, where it predicts single iterates.

    Args:
        dataset: the training data.
        discrete: the discrete run.
        sharpness: its leading eigenvectors.
        settings: of the run.
        restart: the step at which the flow starts, one of the snapshots; None for the first one at which the rod of
            the iterates has opened.
        progress: called after every chunk.

    Returns:
        By step from `restart` on: `iterate_error` ||Z + (-1)^t X_w - w_t|| / ||X_w||, `rod_length`, and `actual` and
        `predicted`, the positions v . P^{1/2} (w - w_restart) along the leading eigenvector v there; by
        snapshot the predicted iterate, `weights`. No steps if the run never reaches its threshold, or is below it at
        a `restart` that was given.
    """
    ratio = sharpness["sharpness_over_threshold"]
    chosen = restart is not None
    if restart is None:
        restart = _opened(discrete, ratio, settings)
    there = float(ratio.sel(snapshot=restart)) if restart in ratio["snapshot"] else float("nan")
    attributes: dict[str, object] = {
        "title": f"prediction of single {discrete.attrs['title']}",
        "restart": float("nan") if restart is None else restart,
        "sharpness_over_threshold": there,
    }
    optimizer, weights = build(dataset, settings)
    around = states_at_start(optimizer, weights, discrete)
    refusal = ""
    if around is None:
        refusal = not_started(discrete)
    elif restart is None:
        refusal = f"not started: threshold not reached ({float(ratio.max()):.2f} of it at most)"
    elif np.isnan(there):
        refusal = f"not started: no sharpness at step {restart}"
    elif chosen and there < AT_THRESHOLD:
        refusal = f"not started: below the threshold ({there:.2f} of it)"
    if refusal or around is None or restart is None:
        return _no_iterates(weights.size, attributes | {"status": refusal})

    start, steps, every = settings["start"], settings["steps"], settings["snapshots"]["every"]
    carry = Discrete().begin(optimizer, *around)
    to_restart = grid(start, start, restart, every)
    held = _run_on(
        optimizer,
        carry,
        start,
        restart,
        to_restart,
        progress,
        keep=lambda snapshot: {},
        checkpoint=Checkpoint(scratch, "to_restart"),
        hold=restart,
    )
    reached: Consecutive = jax.tree.map(jnp.asarray, held.held[restart])

    here = discrete.sel(snapshot=restart)
    eigenvector = sharpness["eigenvector"].sel(snapshot=restart).values
    process = Iterates(
        jnp.asarray(preconditioner(settings, here) ** 0.5 * eigenvector), reached.now.weights
    )
    recording = record(
        process,
        optimizer,
        eqx.filter_jit(process.beside)(optimizer, reached),
        first=restart,
        last=steps,
        snapshot_steps=grid(restart, restart, steps, every),
        key=jax.random.key(settings["seed"]),
        progress=progress,
        keep=lambda snapshot: {"weights": snapshot["weights"]},
        checkpoint=Checkpoint(scratch, "iterates"),
    )
    stored = here["iterate"].values
    return _label_iterates(
        recording,
        attributes
        | {
            "status": recording.status,
            # 0 where the replay is the stored run to the last bit
            "replay_difference": float(np.abs(np.asarray(reached.now.weights) - stored).max()),
        },
    )


def onset_window(
    dataset: xr.Dataset,
    discrete: xr.Dataset,
    sharpness: xr.Dataset,
    settings: Settings,
    *,
    progress: Progress | None = None,
    scratch: Scratch | None = None,
) -> xr.Dataset:
    """The optimizer's own weights at every step around the opening of the rod, when the oscillation sets in.

    Returns:
        `iterate` [step, parameter] and the `eigenvector` [parameter]: the leading eigenvector v of the preconditioned
        Hessian there as a direction of weights, P^{-1/2} v over its norm. The attribute `centre` is the
        opening; without an onset it is the middle of the run, and the attribute `onset` is NaN.
    """
    optimizer, weights = build(dataset, settings)
    around = states_at_start(optimizer, weights, discrete)
    start, steps = settings["start"], settings["steps"]
    found = onset(sharpness["sharpness_over_threshold"], start)
    attributes = {
        "title": f"around the opening of the rod in {discrete.attrs['title']}",
        "onset": found,
        "status": "completed",
    }
    if around is None:
        none = np.zeros((0, weights.size), np.float32)
        vector = np.zeros(weights.size, np.float32)
        return _label_onset_window(
            np.zeros(0, int), none, vector, attributes | {"status": not_started(discrete)}
        )
    middle = (
        (start + steps) // 2
        if np.isnan(found)
        else int(oscillation_onset(discrete["rod_length"], int(found)))
    )
    attributes["centre"] = middle
    first, last = max(start, middle - AROUND_OPENING), min(steps, middle + AROUND_OPENING)
    carry = Discrete().begin(optimizer, *around)
    recording = _run_on(
        optimizer,
        carry,
        start,
        last,
        range(first, last + 1),
        progress,
        keep=lambda snapshot: {"iterate": snapshot["iterate"]},
        checkpoint=Checkpoint(scratch, "onset_window"),
    )

    there = sharpness.sel(snapshot=middle, method="nearest")
    here = discrete.sel(snapshot=int(there["snapshot"]))
    direction = there["eigenvector"].values / np.sqrt(preconditioner(settings, here))
    return _label_onset_window(
        recording.snapshot_steps,
        recording.snapshots["iterate"],
        direction / np.linalg.norm(direction),
        attributes | {"status": recording.status},
    )


def _opened(discrete: xr.Dataset, ratio: xr.DataArray, settings: Settings) -> int | None:
    """The first snapshot with a sharpness at or after the opening, short of the end; None without an onset."""
    found = onset(ratio, settings["start"])
    if np.isnan(found):
        return None
    later = ratio["snapshot"].values
    later = later[
        (later >= oscillation_onset(discrete["rod_length"], int(found)))
        & (later < settings["steps"])
    ]
    return int(later[0]) if later.size else None


def _perturbed(
    optimizer: OptimizerMap, around: tuple[State, State, State], key: Array
) -> Consecutive:
    """The carry of a discrete run that goes on from slightly other weights at the middle state."""
    before, now, _ = around
    noise = jax.random.normal(key, now.weights.shape, now.weights.dtype)
    moved = now._replace(weights=now.weights * (1 + PERTURBATION * noise))
    return consecutive(optimizer, before, moved)


def _run_on(
    optimizer: OptimizerMap,
    carry: Consecutive,
    first: int,
    last: int,
    snapshot_steps: "np.ndarray | list[int] | range",
    progress: Progress | None,
    *,
    keep: Keep,
    checkpoint: Checkpoint,
    hold: int | None = None,
) -> Recording:
    """The discrete run from a carry on."""
    return record(
        Discrete(),
        optimizer,
        carry,
        first=first,
        last=last,
        snapshot_steps=[int(step) for step in snapshot_steps],
        key=jax.random.key(0),
        hold=[] if hold is None else [hold],
        progress=progress,
        keep=keep,
        checkpoint=checkpoint,
    )


_ITERATES = {
    "iterate_error": "iterate error ||Z + (-1)^t X_w - w_t|| / ||X_w||",
    "rod_length": "norm of the weights' half-extent ||X_w|| of the flow",
    "actual": "position of the iterate along the leading eigenvector, v . P^(1/2) (w - w_restart)",
    "predicted": "the same of the predicted iterate Z + (-1)^t X_w",
    "loss": "full-batch loss of the iterates",
}


def _label_iterates(recording: Recording, attributes: dict[str, object]) -> xr.Dataset:
    series = {
        name: ("step", recording.series[name], described(text)) for name, text in _ITERATES.items()
    }
    weights = (
        ("snapshot", "parameter"),
        recording.snapshots["weights"],
        described("predicted iterate Z + (-1)^t X_w, flat weights"),
    )
    return xr.Dataset(
        {**series, "weights": weights},
        {
            "step": ("step", recording.steps, _AT_STEP),
            "snapshot": ("snapshot", recording.snapshot_steps, _AT_SNAPSHOT),
        },
        attributes,
    )


def _no_iterates(parameters: int, attributes: dict[str, object]) -> xr.Dataset:
    nothing = Recording(
        steps=np.zeros(0, int),
        series={name: np.zeros(0, np.float32) for name in _ITERATES},
        snapshot_steps=np.zeros(0, int),
        snapshots={"weights": np.zeros((0, parameters), np.float32)},
    )
    return _label_iterates(nothing, attributes)


def _label_onset_window(
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
        {"step": ("step", steps, _AT_STEP)},
        attributes,
    )
