"""Numbers of the figures, computed from stored trajectories and sharpness alone.

Definitions (docs/theory.md, what is measured):

* tracking error ||w_flow(t) - wbar_t|| / ||wbar_t - wbar_t0||, wbar the midpoint of the discrete run;
* onset: the first snapshot from t0 on at which the sharpness reaches the threshold;
* late mean: time average of sharpness over threshold in the last quarter of the run;
* secant, quotient: the curvature along the rod over the threshold, and its multiplier
  (`rodflow.dynamics.amplitude`); NaN where the rod is closed.
"""

from collections.abc import Mapping
from typing import cast

import numpy as np
import xarray as xr

from rodflow.store.trajectory import described

DISCRETE = "discrete"


def tracking_error(flow: xr.Dataset, discrete: xr.Dataset) -> xr.DataArray:
    """Distance of the flow's centre from the run's midpoint over the distance travelled since t0, [snapshot].

    Only snapshots that both have, and after the first, where nothing has been travelled.

    Args:
        flow, discrete: trajectories from t0 on, of whose `weights`, [snapshot, parameter], those of the flow are its
            centre and those of the run the midpoint.
    """
    at, midpoint = xr.align(flow["weights"], discrete["weights"], join="inner", exclude="parameter")
    travelled = _norm(midpoint - midpoint.isel(snapshot=0))
    error = _norm(at - midpoint) / travelled.where(travelled > 0)
    return error.isel(snapshot=slice(1, None)).assign_attrs(
        long_name="tracking error ||w_flow - wbar|| / ||wbar - wbar(t0)||", units="1"
    )


def geometric_mean(values: xr.DataArray, dim: str = "snapshot") -> xr.DataArray:
    """Exp of the mean logarithm of the numbers that there are; NaN of nothing, and 0 where one is.

    Args:
        values: no negative ones; NaN where there is no number.
        dim: along which the mean is taken.
    """
    with np.errstate(divide="ignore"):
        logarithms = cast(xr.DataArray, np.log(values))
    return cast(xr.DataArray, np.exp(logarithms.mean(dim)))


def onset(ratio: xr.DataArray, start: int) -> float:
    """The first snapshot from `start` on at which sharpness over threshold is at least 1; NaN if there is none.

    Args:
        ratio: sharpness over threshold, [snapshot].
        start: the first step that counts.
    """
    later = ratio.sel(snapshot=slice(start, None))
    reached = later["snapshot"].where(later >= 1, drop=True)
    return float(reached[0]) if reached.size else float("nan")


def oscillation_onset(length: xr.DataArray, since: int, longest: float | None = None) -> float:
    """The first step from `since` on at which a rod is half as long as the longest from there; NaN if there is none.

    From the onset on the oscillation grows, but from the size of rounding, so that it sets in later.

    Args:
        length: of the rod, [step].
        since: where to begin.
        longest: the length to compare with, if not its own.
    """
    later = length.sel(step=slice(since, None))
    if not later.size:
        return float("nan")
    enough = 0.5 * (float(later.max()) if longest is None else longest)
    steps = later["step"].values[later.values >= enough]
    return float(steps[0]) if steps.size else float("nan")


def last_quarter(values: xr.DataArray, last: int) -> xr.DataArray:
    """The part of a snapshot series in the last quarter of a run that ends at step `last`.

    Args:
        values: of a process, [snapshot].
        last: the length of the run as planned, in steps.
    """
    return values.sel(snapshot=slice(int(np.ceil(0.75 * last)), None))


def compare(
    trajectories: Mapping[str, xr.Dataset],
    sharpness: Mapping[str, xr.Dataset],
    *,
    replicas: xr.Dataset | None = None,
    iterates: xr.Dataset | None = None,
    start: int,
    steps: int,
) -> xr.Dataset:
    """Everything the figures and claims need of one run.

    Args:
        trajectories: process -> trajectory, "discrete" among them.
        sharpness: process -> sharpness artifact.
        replicas: of the discrete run, see `rodflow.stages.replicas`.
        iterates: predicted ones, see `rodflow.stages.iterates`.
        start: t0, where the flows start.
        steps: the length of the run as planned.

    Returns:
        By process and snapshot the tracking error, and over the threshold sharpness, secant and quotient, with the
        multiplier; by process the numbers of `_COLUMNS`. NaN where there is nothing to show. With replicas those of
        `_floor`; with a test set those of `_on_test_set`; with iterates iterate_error [snapshot], from the stored
        weights of both sides.
    """
    discrete = trajectories[DISCRETE]
    ratios = {process: sharpness[process]["sharpness_over_threshold"] for process in trajectories}
    errors = {
        process: tracking_error(data, discrete)
        for process, data in trajectories.items()
        if process != DISCRETE and data.sizes["snapshot"] > 1
    }
    rows = {p: _row(ratio, errors.get(p), start, steps) for p, ratio in ratios.items()}
    processes = list(trajectories)
    table = {
        name: ("process", [rows[p][name] for p in processes], {"long_name": text, "units": "1"})
        for name, text in _COLUMNS.items()
    }
    statuses = [trajectories[p].attrs["status"] for p in processes]
    names = ("process", processes, {"long_name": "the discrete run, or the name of a flow"})
    table["angle"] = ("process", [_angle(trajectories[p]) for p in processes], described(_ANGLE))
    extra = _on_test_set(trajectories)
    if replicas is not None:
        extra |= _floor(replicas, discrete)
    if iterates is not None and "iterate" in discrete:  # as long as it got to a snapshot
        extra["iterate_error"] = _iterate_error(iterates, discrete)
    limit = sharpness[DISCRETE].attrs["threshold"]
    over = "preconditioned sharpness over the stability threshold"
    return xr.Dataset(
        {
            "tracking_error": _stack(errors, processes, "tracking error"),
            "sharpness_over_threshold": _stack(ratios, processes, over),
            **_along_rods(trajectories, sharpness),
            **table,
            **extra,
            "status": ("process", statuses, {"long_name": "how the process ended"}),
        },
        coords={"process": names},
        attrs={"title": f"flows against {discrete.attrs['title']}", "threshold": limit},
    )


_ALONG_RODS = {
    "secant_over_threshold": "preconditioned secant along the rod over the stability threshold",
    "quotient_over_threshold": "preconditioned Rayleigh quotient of the rod over the stability threshold",
    "multiplier": "factor by which a step makes the rod longer",
}


def _along_rods(
    trajectories: Mapping[str, xr.Dataset], sharpness: Mapping[str, xr.Dataset]
) -> dict[str, xr.DataArray]:
    """What is measured along rods, [process, snapshot]; NaN of a process that has none."""
    found = {}
    for name, text in _ALONG_RODS.items():
        stored = trajectories if name == "multiplier" else sharpness
        rows = {p: stored[p][name] for p in trajectories if name in stored[p]}
        found[name] = _stack(rows, list(trajectories), text)
    return found


_ANGLE = (
    "angle by which the first unstable mode turns in a step, in radians, at the last snapshot that has one: pi where "
    "it alternates; NaN where the threshold is a formula, or there is none"
)


def _angle(data: xr.Dataset) -> float:
    """Of the first unstable mode of the linearised step; NaN where it is not measured."""
    found = data["angle"].dropna("snapshot").values if "angle" in data else np.zeros(0)
    return float(found[-1]) if found.size else float("nan")


def _row(
    ratio: xr.DataArray, error: xr.DataArray | None, start: int, steps: int
) -> dict[str, float]:
    """The numbers of one process; NaN where there is nothing to take one from."""
    end = last_quarter(ratio, steps)
    found = dict.fromkeys(_COLUMNS, np.nan) | {"onset": onset(ratio, start)}
    if end.size:
        found |= {"late_mean": float(end.mean())}
        found |= {"late_lowest": float(end.min()), "late_highest": float(end.max())}
    if error is not None and error.size:
        found |= {"error_mean": float(geometric_mean(error))}
        found |= {"error_last": float(error.isel(snapshot=-1))}
    return found


_ON_TEST_SET = {
    "test_loss": "loss on the test set",
    "test_accuracy": "share of the test set that is classified right",
}
"""Of runs that have one, [process, snapshot]."""

_COLUMNS = {
    "error_mean": "geometric mean of the tracking error over the run",
    "error_last": "tracking error at the last snapshot",
    "onset": "first step from t0 on at which the sharpness reaches the threshold",
    "late_mean": "time average of sharpness over threshold in the last quarter of the run",
    "late_lowest": "lowest sharpness over threshold in the last quarter of the run",
    "late_highest": "highest sharpness over threshold in the last quarter of the run",
}


def _on_test_set(trajectories: Mapping[str, xr.Dataset]) -> dict[str, xr.DataArray]:
    """What was measured on a test set, [process, snapshot]; nothing of a run without one."""
    found = {}
    for name, words in _ON_TEST_SET.items():
        measured = {p: data[name] for p, data in trajectories.items() if name in data}
        if measured:
            found[name] = _stack(measured, [*trajectories], words)
    return found


def _floor(replicas: xr.Dataset, discrete: xr.Dataset) -> dict[str, xr.DataArray]:
    """How far each replica goes from the run: no model of the dynamics can be asked to stay nearer.

    Nothing where the run diverged before a replica could part from it.
    """
    if np.intersect1d(replicas["snapshot"], discrete["snapshot"]).size < 2:
        return {}
    floor = tracking_error(replicas, discrete)
    texts = {
        "floor": "tracking error of a replica of the discrete run",
        "floor_mean": "geometric mean of a replica's tracking error over the run",
        "floor_last": "tracking error of a replica at the last snapshot",
    }
    values = {
        "floor": floor,
        "floor_mean": geometric_mean(floor),
        "floor_last": floor.isel(snapshot=-1, drop=True),
    }
    return {k: v.assign_attrs(long_name=texts[k], units="1") for k, v in values.items()}


def _iterate_error(iterates: xr.Dataset, discrete: xr.Dataset) -> xr.DataArray:
    predicted, actual = xr.align(
        iterates["weights"], discrete["iterate"], join="inner", exclude="parameter"
    )
    rods = iterates["rod_length"].rename(step="snapshot")
    rods = rods.reindex(
        snapshot=predicted["snapshot"]
    )  # a flow that diverges there has weights, and no rod
    error = _norm(predicted - actual) / rods
    return error.assign_attrs(
        long_name="iterate error ||Z + (-1)^t X_w - w_t|| / ||X_w||", units="1"
    )


def _stack(series: Mapping[str, xr.DataArray], processes: list[str], what: str) -> xr.DataArray:
    if not series:
        words = described("optimizer step at which weights are kept")
        snapshots = ("snapshot", np.zeros(0, np.int64), words)
        none = xr.DataArray(np.zeros((0, 0)), {"process": [], "snapshot": snapshots})
        return none.reindex(process=processes).assign_attrs(long_name=what, units="1")
    stacked = xr.concat(
        list(series.values()), dim=xr.Variable("process", list(series)), join="outer"
    )
    return stacked.reindex(process=processes).assign_attrs(long_name=what, units="1")


def _norm(values: xr.DataArray) -> xr.DataArray:
    """Of each row of weights. NaN where one is: xarray would leave it out, and lost weights would be at distance 0."""
    squares = values.astype(np.float64) ** 2
    return cast(xr.DataArray, np.sqrt(squares.sum("parameter", skipna=False)))
