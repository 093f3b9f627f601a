"""Claims about the squared gradient and the second moment: each can hold, fail and be silent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.claim import Finding, judge
from rodflow.audit.claims.second_moment import CLAIMS
from rodflow.store.results import StoredRun
from synthetic_results import MOMENT, make_run

FLOWS = ("stable", "central", "rod")


def make(
    root: Path,
    optimizer: str = "rmsprop",
    *,
    gradient: float = 1.0,
    moment: float = 1.0,
    driving: float = 1.0,
    **options: Any,
) -> StoredRun:
    """A run whose rod is open from the start on, with a central flow.

    Args:
        root, optimizer, options: of the run.
        gradient: averaged squared gradient of the flow over that of the run, whose norm swings.
        moment: one entry of its second moment over that of the run, the last.
        driving: sum of the second moment of run and flow over the squared gradient of the run.
    """
    square = MOMENT.sum() / driving

    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        steps = data["step"]
        if process == "discrete":
            data["rod_length"] = 0 * data["loss"] + 1
            swing = 1 + 0.5 * (-1.0) ** steps
            return data.assign(gradient_norm=np.sqrt(square * swing))
        if process == "central":
            if "second_moment" in data:
                data["second_moment"] = data["second_moment"] * [1, 1, moment]
            return data.assign(averaged_squared_gradient=0 * data["loss"] + square * gradient)
        return data

    return make_run(root, optimizer, flows=FLOWS, change=change, replays={}, **options)


def found(run: StoredRun) -> dict[str, Finding]:
    judged = judge([run], CLAIMS, drawn={"variances": [run]})
    return {j.claim.id: j.findings[0] for j in judged}


def test_every_claim_holds_where_the_flow_has_what_the_run_has(tmp_path: Path) -> None:
    judged = found(make(tmp_path))
    silent = {"rod-unit-step-second-moment", "rod-macro-step-second-moment"}
    assert {one.verdict for key, one in judged.items() if key not in silent} == {"reproduced"}
    assert {judged[key].note for key in silent} == {
        f"the experiment has no rod_{name} flow" for name in ("unit_step", "macro")
    }
    assert judged["central-squared-gradient"].measured == pytest.approx(1, rel=0.01)
    assert judged["central-second-moment"].baselines == {"stable": 0}
    assert not judged["central-squared-gradient"].baselines


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_squared_gradient_that_is_off_by_more_than_a_quarter_fails(
    tmp_path: Path, factor: float
) -> None:
    one = found(make(tmp_path, "gd", gradient=factor))["central-squared-gradient"]
    assert one.verdict == "not reproduced"
    assert one.measured == pytest.approx(factor, rel=0.01)
    assert one.low == pytest.approx(factor, rel=0.01) == one.high


def test_a_second_moment_is_compared_weight_by_weight(tmp_path: Path) -> None:
    """One of 16 in 29 is off by a half."""
    one = found(make(tmp_path, moment=0.5))["central-second-moment"]
    assert (one.verdict, one.measured) == ("not reproduced", pytest.approx(8 / 29))
    assert found(make(tmp_path, moment=0.6))["central-second-moment"].verdict == "reproduced"


@pytest.mark.parametrize("driving", [0.7, 1.3])
def test_a_second_moment_that_lags_is_not_stationary(tmp_path: Path, driving: float) -> None:
    one = found(make(tmp_path, driving=driving))["central-second-moment-stationary"]
    assert (one.verdict, one.measured) == ("not reproduced", pytest.approx(driving, rel=1e-5))


def test_one_second_moment_for_all_weights_is_compared_too(tmp_path: Path) -> None:
    def scalar(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(second_moment=0 * data["snapshot"] + (1.5 if process == "rod" else 1.0))

    run = make(tmp_path, "rmsprop_scalar")
    for process in ("discrete", *FLOWS):
        run.take(process, scalar(process, run.trajectory(process)))
    judged = found(run)
    assert judged["rod-ode-second-moment"].measured == pytest.approx(0.5)
    assert judged["central-second-moment"].measured == 0


def test_what_a_run_lacks_is_said(tmp_path: Path) -> None:
    judged = found(make(tmp_path, "gd"))
    assert judged["central-second-moment"].verdict == "not reached"
    run = make_run(tmp_path, "rmsprop", flows=FLOWS, replays={})
    assert found(run)["central-squared-gradient"].verdict == "not at the edge"
    run = make(tmp_path)
    run.take("central", run.trajectory("central").drop_vars("averaged_squared_gradient"))
    note = found(run)["central-squared-gradient"].note
    assert note == "the central flow has no averaged squared gradient"


def test_a_flow_that_diverged_has_failed(tmp_path: Path) -> None:
    judged = found(make(tmp_path, diverged={"central": 150}))
    for name in ("squared-gradient", "second-moment", "second-moment-stationary"):
        assert judged[f"central-{name}"].measured == np.inf
