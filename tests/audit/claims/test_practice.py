"""Claims about optimizers of practice: which runs they are about, and what they measure there."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.claim import Finding, judge
from rodflow.audit.claims.practice import CLAIMS
from rodflow.store.results import StoredRun
from synthetic_results import START, make_run

FALLING = {"learning_rate": {"schedule": "warmup_cosine", "peak": 0.01, "end": 0.0}}
PROSE: dict[str, Any] = {
    "dataset": {"name": "prose", "samples": 40},
    "model": {"kind": "transformer"},
}


def found(run: StoredRun) -> dict[str, Finding]:
    return {j.claim.id: j.findings[0] for j in judge([run], CLAIMS) if j.findings}


def with_last_errors(**errors: float) -> Any:
    """The comparison of a run, with these last tracking errors."""

    def change(data: xr.Dataset) -> xr.Dataset:
        data = data.copy(deep=True)
        for flow, error in errors.items():
            data["error_last"].loc[{"process": flow}] = error
        return data

    return change


def with_last_rods(**lengths: float) -> Any:
    """Rods that are 1 long until the end, where they have these lengths."""

    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        if process not in lengths:
            return data
        rods = np.where(data["step"] >= START, 1.0, np.nan)
        rods[-1] = lengths[process]
        return data.assign(rod_length=("step", rods))

    return change


def test_muon_is_judged_by_the_last_errors_of_both_flows(tmp_path: Path) -> None:
    compared = with_last_errors(stable=0.3, rod_unit_step=0.02)
    one = found(make_run(tmp_path, "muon", compared=compared))["muon-rod-unit-step"]
    assert one.measured == pytest.approx(15)
    assert one.verdict == "reproduced"


@pytest.mark.parametrize(("error", "verdict"), [(0.011, "reproduced"), (0.013, "not reproduced")])
def test_adamw_on_prose_is_judged_by_its_last_error(
    tmp_path: Path, error: float, verdict: str
) -> None:
    compared = with_last_errors(rod_unit_step=error)
    run = make_run(
        tmp_path,
        "adamw",
        learning_rate=0.003,
        hyperparameters={"b2": 0.99},
        settings=PROSE,
        compared=compared,
    )
    one = found(run)["prose-rod-unit-step-adamw-error"]
    assert one.measured == pytest.approx(error)
    assert one.verdict == verdict


def test_adamw_on_digits_says_nothing_about_prose(tmp_path: Path) -> None:
    run = make_run(tmp_path, "adamw", learning_rate=0.003, hyperparameters={"b2": 0.99})
    assert found(run)["prose-rod-unit-step-adamw-error"].verdict == "not reached"


@pytest.mark.parametrize(
    ("there", "here", "verdict"),
    [(0.05, 0.08, "reproduced"), (0.05, 0.3, "not reproduced"), (0.3, 0.05, "not reproduced")],
)
def test_rods_that_stay_open_count_against_a_falling_rate_in_run_and_flow(
    tmp_path: Path, there: float, here: float, verdict: str
) -> None:
    change = with_last_rods(discrete=there, rod_unit_step=here)
    one = found(make_run(tmp_path, "adam", hyperparameters=FALLING, change=change))
    assert one["falling-rate-closes-rod-unit-step"].measured == pytest.approx(max(there, here))
    assert one["falling-rate-closes-rod-unit-step"].verdict == verdict


def test_a_rate_that_stays_says_nothing_about_closing(tmp_path: Path) -> None:
    assert (
        found(make_run(tmp_path, "adam"))["falling-rate-closes-rod-unit-step"].verdict
        == "not reached"
    )


def test_a_flow_that_diverged_reproduces_none_of_them(tmp_path: Path) -> None:
    run = make_run(
        tmp_path, "adam", hyperparameters=FALLING, diverged={"rod_unit_step": START + 20}
    )
    one = found(run)["falling-rate-closes-rod-unit-step"]
    assert math.isinf(one.measured)
    assert one.verdict == "not reproduced"
