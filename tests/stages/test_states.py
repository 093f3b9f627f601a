"""Whatever became of a run, the replays, the outputs and the comparison take it and say what is true of it.

The runs are real: each is trained, diverges at the step that its name says, and is handed on in files.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
import pytest
import xarray as xr

from ended_runs import ENDS, REPLICAS, Ended, ended
from representatives import now
from rodflow.dynamics.process import grid
from rodflow.stages.onset_window import AROUND
from synthetic_results import EVERY, START, STEPS

RESTART = 80


@dataclass(frozen=True)
class Case:
    """A run, and whether its config says where iterates start."""

    end: str
    optimizer: str
    restart: int | None

    def __str__(self) -> str:
        return "-".join(str(part) for part in astuple(self) if part)


CHOSEN = (
    *("at the start", "at a snapshot", "in the last quarter", "one snapshot"),
    *("zero Hessian", "no progress", "NaN eigenvectors", "NaN sharpness"),
)
"""The ends of which iterates start elsewhere, or for another reason not, where the config says at which step."""


def cases() -> list[Case]:
    """Each end of gradient descent; some with a restart; and those of a run that diverged of Adam."""
    of_gd = [Case(end, "gd", None) for end in ENDS] + [Case(end, "gd", RESTART) for end in CHOSEN]
    stopped = [end for end, how in ENDS.items() if "discrete" in how.get("diverged", {})]
    return [*of_gd, *(Case(end, "adam", None) for end in (*stopped, "NaN eigenvectors"))]


each = pytest.mark.parametrize("case", now(cases(), Case("before the start", "gd", None)), ids=str)
Runs = Callable[[Case], Ended]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What the stages made of a run, once."""
    made: dict[Case, Ended] = {}

    def get(case: Case) -> Ended:
        if case not in made:
            made[case] = ended(tmp_path_factory.mktemp("run"), *astuple(case))
        return made[case]

    return get


def stop(data: xr.Dataset) -> int:
    """The first step of which there is no loss."""
    status = data.attrs["status"]
    return int(status.split()[-1]) if status.startswith("diverged") else STEPS + 1


def started(run: Ended) -> bool:
    """Whether the discrete run got to the start, so that there is something to replay."""
    return "state_0" in run.discrete


def finite(values: xr.DataArray) -> np.ndarray:
    """Of each row whether all of it is."""
    return np.isfinite(values.values).all(axis=-1)


@pytest.mark.slow
@each
def test_replicas_go_on_as_long_as_the_run(case: Case, runs: Runs) -> None:
    run = runs(case)
    found = run.made["replicas"]
    at = grid(START, START, STEPS, 10**6 if case.end == "one snapshot" else EVERY)
    assert found["snapshot"].values.tolist() == at
    assert found["weights"].shape == (REPLICAS, len(at), run.discrete.sizes["parameter"])
    assert found["step"].values.tolist() == [*range(START, STEPS + 1)]
    last, status = stop(run.discrete), run.discrete.attrs["status"]
    if not started(run):
        assert found.attrs["status"] == f"not started: discrete run {status}"
        assert np.isnan(found["weights"]).all() and np.isnan(found["loss"]).all()
        return
    assert found.attrs["status"] == (status if status == "completed" else f"replica 1 {status}")
    assert (np.isfinite(found["loss"]) == (found["step"] < last)).all()
    kept = finite(found["weights"])
    assert kept[:, found["snapshot"] < last - 1].all()  # a midpoint has a share of the next step
    assert not kept[:, found["snapshot"] > last].any()


NONE_KNOWN = "not started: no sharpness over a threshold is known"
NOWHERE = "not started: no snapshot with a sharpness after the rod has opened and before the end"
AT_NONE = f"not started: no sharpness at step {RESTART}"
BELOW, NOT_REACHED = "not started: below the threshold", "not started: threshold not reached"
REFUSED = {
    **dict.fromkeys(
        ["at the start", "after the start", "all at the start", "one snapshot"],
        (NOT_REACHED, AT_NONE),
    ),
    **dict.fromkeys(["zero Hessian", "no progress"], (f"{NOT_REACHED} (0.00", f"{BELOW} (0.00")),
    **dict.fromkeys(["NaN sharpness", "no threshold"], (NONE_KNOWN, NONE_KNOWN)),
    **dict.fromkeys(["at a snapshot", "in the last quarter"], (NOWHERE, None)),
}
"""Why there are no iterates of a run that got to the start, without a restart and with one."""


@each
def test_iterates_are_predicted_or_it_is_said_why_not(case: Case, runs: Runs) -> None:
    run = runs(case)
    found, status = run.made["iterates"], run.made["iterates"].attrs["status"]
    assert found.sizes["parameter"] == run.discrete.sizes["parameter"]
    if status.startswith("not started"):
        assert found.sizes["step"] == found.sizes["snapshot"] == 0
        said = REFUSED.get(case.end, (None, None))[case.restart is not None]
        early = f"not started: discrete run {run.discrete.attrs['status']}"
        assert status.startswith(said or early if started(run) else early)
        return
    assert started(run) and status in ("completed", run.discrete.attrs["status"])
    first = int(found.attrs["restart"])
    assert case.restart in (None, first)
    assert found["step"].values.tolist() == [*range(first, stop(found))]
    assert found["snapshot"].values.tolist() == grid(first, first, min(stop(found), STEPS), EVERY)
    assert found.attrs["replay_difference"] == 0
    assert found["iterate_error"].values[0] < 1e-2
    before = found.sel(step=slice(None, stop(found) - 2))  # the step before is as long as can be
    assert np.isfinite(before["iterate_error"]).all() and np.isfinite(before["rod_length"]).all()
    seen = np.isfinite(before["actual"]) & np.isfinite(before["predicted"])
    assert not seen.any() if case.end == "NaN eigenvectors" else seen.all()


@each
def test_a_window_has_the_iterates_of_the_run(case: Case, runs: Runs) -> None:
    run = runs(case)
    found, status = run.made["onset_window"], run.discrete.attrs["status"]
    size = np.linalg.norm(found["eigenvector"])
    assert found["eigenvector"].shape == found["iterate"].shape[1:]
    if not started(run):
        assert found.attrs["status"] == f"not started: discrete run {status}"
        assert found.sizes["step"] == size == 0 and np.isnan(found.attrs["onset"])
        return
    centre = found.attrs["centre"]
    end = min(STEPS, centre + AROUND, stop(run.discrete))
    assert START <= centre <= stop(run.discrete)
    assert found["step"].values.tolist() == [*range(max(START, centre - AROUND), end + 1)]
    assert found.attrs["status"] == (
        status if stop(run.discrete) <= centre + AROUND else "completed"
    )
    reached = run.sharpness["discrete"]["sharpness_over_threshold"] >= 1
    assert np.isfinite(found.attrs["onset"]) == bool(reached.sel(snapshot=slice(START, None)).any())
    both = np.intersect1d(found["step"], run.discrete["snapshot"])
    np.testing.assert_array_equal(
        found["iterate"].sel(step=both), run.discrete["iterate"].sel(snapshot=both)
    )
    vector = run.sharpness["discrete"]["eigenvector"].sel(snapshot=centre, method="nearest")
    assert size == pytest.approx(1) if np.isfinite(vector).all() and vector.any() else not size > 0


def tracking(flow: xr.Dataset, discrete: xr.Dataset, at: int) -> float:
    """The tracking error at a snapshot, written out; NaN where one of both has no weights or nothing is travelled."""
    both = [*np.intersect1d(flow["snapshot"], discrete["snapshot"])]
    if at not in both[1:]:
        return np.nan
    here, there, origin = (
        data["weights"].sel(snapshot=step).values.astype(float)
        for data, step in ((discrete, at), (flow, at), (discrete, both[0]))
    )
    travelled = np.linalg.norm(here - origin)
    return np.linalg.norm(there - here) / travelled if travelled else np.nan


@each
def test_a_comparison_has_a_number_where_there_are_weights_and_none_elsewhere(
    case: Case, runs: Runs
) -> None:
    run = runs(case)
    found = run.made["comparison"]
    assert found["process"].values.tolist() == [*run.trajectories]
    statuses = [data.attrs["status"] for data in run.trajectories.values()]
    assert found["status"].values.tolist() == statuses
    for process, data in run.trajectories.items():
        row = found.sel(process=process)
        at = row["snapshot"].values
        expected = [
            np.nan if process == "discrete" else tracking(data, run.discrete, k) for k in at
        ]
        np.testing.assert_allclose(row["tracking_error"], expected, rtol=1e-6)
        ratio = run.sharpness[process]["sharpness_over_threshold"].reindex(snapshot=at)
        np.testing.assert_array_equal(row["sharpness_over_threshold"], ratio)
        known = np.isfinite(expected).any()
        assert known or (np.isnan(row["error_mean"]) and np.isnan(row["error_last"]))
    later = run.discrete.sel(snapshot=slice(START, None))["snapshot"]
    assert ("floor" in found) == (later.size > 1 and case.end != "no replays")
    if "floor" in found:
        inside = (found["snapshot"] > START) & (found["snapshot"] < stop(run.discrete) - 1)
        moved = case.end != "no progress"
        assert (np.isfinite(found["floor"]).all("replica") >= inside * moved).all()
    with_iterates = "iterate" in run.discrete and case.end != "no replays"
    assert ("iterate_error" in found) == with_iterates
    if with_iterates:
        error = found["iterate_error"].dropna("snapshot")["snapshot"].values
        assert set(error) <= set(run.made["iterates"]["snapshot"].values)


@each
def test_outputs_have_a_distance_where_there_are_weights(case: Case, runs: Runs) -> None:
    run = runs(case)
    found, discrete = run.made["outputs"], run.discrete
    flows = [process for process in run.trajectories if process != "discrete"]
    kept = discrete["snapshot"].values
    assert found["process"].values.tolist() == flows
    assert found["snapshot"].values.tolist() == kept[kept >= START].tolist()
    assert found["output_error"].shape == (len(flows), found.sizes["snapshot"])
    assert found.attrs["status"] == "completed"
    size = abs(discrete["weights"]).max("parameter", skipna=False)
    for flow in flows:
        there = abs(run.trajectories[flow]["weights"]).max("parameter", skipna=False)
        both = xr.align(there, size, join="right")
        sound = (both[0] < 100) & (both[1] < 100)
        distance = found["output_distance"].sel(process=flow)
        known = np.isfinite(distance)
        assert (known >= sound.sel(snapshot=found["snapshot"])).all()
        absent = ~found["snapshot"].isin(run.trajectories[flow]["snapshot"])
        assert not (known & absent).any()
