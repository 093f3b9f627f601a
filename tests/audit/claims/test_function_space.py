"""Claims in function space: the window and baseline of those in weights, and silence where nothing was measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import synthetic_results
from rodflow.audit.claims.claim import Finding, judge
from rodflow.audit.claims.function_space import CLAIMS
from rodflow.store.results import StoredRun
from synthetic_results import make_run


def run_with(root: Path, optimizer: str = "adam", **errors: float) -> StoredRun:
    """A run whose flows have these errors in outputs from the onset on, and a tiny one before."""
    run = make_run(root, optimizer)
    comparison = run.comparison
    onset = float(comparison["onset"].sel(process="discrete"))
    snapshots = comparison["snapshot"].values
    rows = [np.where(snapshots >= onset, level, 1e-9) for level in errors.values()]
    data = {"output_error": (("process", "snapshot"), np.array(rows))}
    coordinates: dict[str, Any] = {"process": [*errors], "snapshot": snapshots}
    run.take("outputs", xr.Dataset(data, coordinates, {"status": "completed"}))
    return run


def found(run: StoredRun) -> dict[str, Finding]:
    drawn = {"function_space": [run]}
    return {j.claim.id: j.findings[0] for j in judge([], CLAIMS, drawn=drawn)}


def test_ratios_are_of_medians_from_the_onset_on_and_squared_for_orders(tmp_path: Path) -> None:
    judged = found(run_with(tmp_path, stable=0.2, rod=0.01, rod_unit_step=0.05))
    assert judged["rod-ode-tracks-outputs"].measured == pytest.approx(20)
    assert judged["rod-ode-tracks-outputs"].baselines == {"stable": 1}
    assert judged["rod-ode-outputs-orders"].measured == pytest.approx(400)
    assert judged["rod-ode-outputs-orders"].verdict == "reproduced"
    assert judged["rod-unit-step-outputs-orders"].measured == pytest.approx(16)
    assert judged["rod-unit-step-outputs-orders"].verdict == "not reproduced"


def test_a_flow_that_is_no_nearer_than_the_stable_one_does_not_track(tmp_path: Path) -> None:
    judged = found(run_with(tmp_path, stable=0.1, rod=0.1, rod_unit_step=0.2))
    assert judged["rod-ode-tracks-outputs"].verdict == "not reproduced"
    assert judged["rod-unit-step-tracks-outputs"].verdict == "not reproduced"


def test_orders_are_claimed_of_adam_only(tmp_path: Path) -> None:
    judged = found(run_with(tmp_path, "gd", stable=0.2, rod=0.01, rod_unit_step=0.05))
    assert judged["rod-ode-outputs-orders"].verdict == "not reached"
    assert judged["rod-ode-tracks-outputs"].verdict == "reproduced"


def test_a_run_without_outputs_says_why(tmp_path: Path) -> None:
    run = make_run(tmp_path, "adam")
    status = "no outputs: the loss is one of the weights alone"
    run.take("outputs", synthetic_results.outputs(run.comparison, status=status))
    finding = found(run)["rod-ode-tracks-outputs"]
    assert (finding.verdict, finding.note) == ("not reached", status)


def test_a_run_that_was_not_measured_says_so(tmp_path: Path) -> None:
    finding = found(make_run(tmp_path, "adam", replays={}))["rod-ode-tracks-outputs"]
    assert finding.note == "the experiment measures no outputs"
