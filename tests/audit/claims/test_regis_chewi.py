"""Claims about the rod flow itself: its sharpness, the direction of its rod, and the central flow beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.claim import Finding, judge
from rodflow.audit.claims.regis_chewi import CLAIMS
from rodflow.store.results import StoredRun
from synthetic_results import EIGENVECTOR, make_run, write_run

ACROSS = np.array([0.8, -0.6, 0.0])
"""At a right angle to the eigenvector."""


def found(run: StoredRun) -> dict[str, Finding]:
    drawn = {"rod_anatomy": [run], "variances": [run]}
    return {j.claim.id: j.findings[0] for j in judge([run], CLAIMS, drawn=drawn)}


def always_open(process: str, data: xr.Dataset) -> xr.Dataset:
    return data.assign(rod_length=0 * data["loss"] + 1) if "rod_length" in data else data


# Its sharpness


def with_level(root: Path, level: float, **options: Any) -> StoredRun:
    """A run that holds its threshold with a rod flow at some level of it, and the stable flow above."""

    def measured(process: str, data: xr.Dataset) -> xr.Dataset:
        levels = {"discrete": 1.02, "rod": level}
        ratio = 0 * data["sharpness_over_threshold"] + levels.get(process, 1.5)
        return data.assign(sharpness_over_threshold=ratio)

    return make_run(root, change=always_open, measured=measured, replays={}, **options)


@pytest.mark.parametrize(("level", "verdict"), [(0.95, "reproduced"), (0.85, "not reproduced")])
def test_the_sharpness_of_the_flow_settles_or_does_not(
    tmp_path: Path, level: float, verdict: str
) -> None:
    judged = found(with_level(tmp_path, level))
    one = judged["rod-ode-settles"]
    assert (one.verdict, one.measured) == (verdict, pytest.approx(level))
    assert one.baselines == {"stable": pytest.approx(1.5)} and not one.passing
    assert "the run 1.0" in one.note
    assert judged["rod-macro-step-settles"].note == "the experiment has no rod_macro flow"


def test_a_run_that_is_not_at_its_edge_says_nothing_of_its_flows(tmp_path: Path) -> None:
    assert found(make_run(tmp_path, replays={}))["rod-ode-settles"].verdict == "not at the edge"


def test_a_flow_that_diverged_has_not_settled(tmp_path: Path) -> None:
    run = with_level(tmp_path, 1.0, diverged={"rod": 150})
    assert found(run)["rod-ode-settles"].measured == np.inf


# The direction of its rod


def with_rods(root: Path, share: float, reaches: float = 0.8) -> StoredRun:
    """A run of Adam whose rods, in the coordinates P^(1/2) w, have a part of their square in the eigenvectors' span.

    Args:
        root: where it is stored.
        share: that part.
        reaches: the least of the eigenvalues that were followed, over the threshold.
    """

    def measured(process: str, data: xr.Dataset) -> xr.Dataset:
        every = xr.zeros_like(data["snapshot"], float)
        one = data.assign(sharpness_over_threshold=1 + every)
        if process == "stable":
            return one
        return one.assign(rod_in_span=every + share, span_reaches=every + reaches)

    flows = ("stable", "rod")
    return write_run(root, "adam", flows=flows, change=always_open, measured=measured, replays={})


@pytest.mark.parametrize(("share", "verdict"), [(0.95, "reproduced"), (0.8, "not reproduced")])
def test_the_rod_lies_along_the_leading_eigenvector_or_does_not(
    tmp_path: Path, share: float, verdict: str
) -> None:
    judged = found(with_rods(tmp_path, share))
    for name in ("rod-ode-in-leading-span", "iterates-in-leading-span"):
        assert (judged[name].verdict, judged[name].measured) == (verdict, pytest.approx(share))
        assert judged[name].low == pytest.approx(share)
    assert not judged["rod-ode-in-leading-span"].baselines  # the stable flow has no rod


def test_eigenvectors_that_may_leave_out_a_direction_at_the_edge_say_nothing(
    tmp_path: Path,
) -> None:
    one = found(with_rods(tmp_path, 0.8, reaches=0.95))["rod-ode-in-leading-span"]
    assert one.verdict == "not reached" and one.note.startswith("0 snapshots, of 10")


# The central flow beside it


def beside_central(root: Path, away: float, optimizer: str = "gd", **options: Any) -> StoredRun:
    """A stable flow at a distance of 1 from the central flow, and a rod flow nearer."""

    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        distance = {"stable": 1.0, "rod": away}.get(process, 0.0)
        return data.assign(weights=0 * data["weights"] + distance * EIGENVECTOR)

    flows = ("stable", "rod", "central")
    return make_run(root, optimizer, flows=flows, change=change, replays={}, **options)


@pytest.mark.parametrize(("away", "verdict"), [(0.05, "reproduced"), (0.2, "not reproduced")])
def test_rod_flow_and_central_flow_agree_or_do_not(
    tmp_path: Path, away: float, verdict: str
) -> None:
    judged = found(beside_central(tmp_path, away))
    one = judged["rod-ode-agrees-with-central"]
    assert (one.verdict, one.measured) == (verdict, pytest.approx(away))


def test_where_there_is_no_central_flow_nothing_is_said_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, replays={})
    note = found(run)["rod-ode-agrees-with-central"].note
    assert note == "the experiment has no central flow"
    judged = found(beside_central(tmp_path, 0.05, "adam"))
    assert judged["rod-ode-agrees-with-central"].note.startswith("is about gd")


def test_a_central_flow_that_diverged_agrees_with_nothing(tmp_path: Path) -> None:
    run = beside_central(tmp_path, 0.05, diverged={"central": 150})
    assert found(run)["rod-ode-agrees-with-central"].measured == np.inf
