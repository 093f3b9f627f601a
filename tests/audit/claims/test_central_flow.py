"""Claims about the variance of the oscillation: judged along the directions that count."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.central_flow import CLAIMS, variance_error
from rodflow.audit.claims.claim import judge
from rodflow.store.results import StoredRun
from synthetic_results import make_run

FLOWS = ("stable", "central", "rod_unit_step")


def make(root: Path, off: float, second: float = 0.0, **options: object) -> StoredRun:
    """A run whose rod is open throughout along one direction, and a central flow whose variance is off by a factor."""

    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        if "half_extent" in data:
            data["half_extent"] = 0 * data["half_extent"] + np.float32([0.2, 0, 0])
            data["rod_length"] = 0 * data["loss"] + 1
        if process == "central":
            values = (off * 0.4, second, 0.0)  # of the run 0.2² / 0.1
            data = data.assign(
                {
                    f"variance_{k}": 0 * data["loss"] + np.float32(v)
                    for k, v in enumerate(values, start=1)
                }
            )
        return data

    return make_run(root, flows=FLOWS, change=change, replays={}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("off", "verdict"), [(1.2, "reproduced"), (1 / 1.2, "reproduced"), (1.3, "not reproduced")]
)
def test_a_variance_may_be_off_by_a_quarter_either_way(
    tmp_path: Path, off: float, verdict: str
) -> None:
    run = make(tmp_path, off)
    found = {j.claim.id: j for j in judge([], CLAIMS, drawn={"variances": [run]})}
    assert found["central-variance"].verdict == verdict
    assert found["central-variance"].findings[0].measured == pytest.approx(
        max(off, 1 / off), rel=1e-5
    )
    assert found["rod-unit-step-variance"].verdict == "reproduced"


def test_directions_in_which_the_run_hardly_oscillates_do_not_count(tmp_path: Path) -> None:
    assert variance_error("central")(make(tmp_path, 1.0, 0.3)).value == pytest.approx(1, rel=1e-5)


def test_a_flow_that_diverged_predicts_nothing(tmp_path: Path) -> None:
    run = make(tmp_path, 1.0, diverged={"central": 150})
    assert variance_error("central")(run).value == np.inf
