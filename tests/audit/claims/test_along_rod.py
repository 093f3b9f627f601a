"""Claims about the curvature along the rod: the same window for both measures, and silence where there is none."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.along_rod import CLAIMS
from rodflow.audit.claims.claim import Finding, judge
from rodflow.store.results import StoredRun
from synthetic_results import STATES, is_open, make_run


def write(root: Path, largest: float, along: float, optimizer: str = "gd") -> StoredRun:
    """A run that holds these while its rod is open, and a half elsewhere."""

    def measured(process: str, data: xr.Dataset) -> xr.Dataset:
        at = is_open(data["snapshot"].values)
        levels = {"sharpness": largest, "secant": along, "quotient": along}
        values = {
            f"{name}_over_threshold": ("snapshot", np.where(at, level, 0.5))
            for name, level in levels.items()
        }
        return data.assign(values)

    return make_run(root, optimizer, measured=measured)


def found(run: StoredRun) -> dict[str, Finding]:
    return {j.claim.id: j.findings[0] for j in judge([], CLAIMS, drawn={"along_rod": [run]})}


def test_a_run_above_the_threshold_with_its_rod_at_it_is_told_apart(tmp_path: Path) -> None:
    one = found(write(tmp_path, largest=1.2, along=1.01))
    assert one["sharpness-while-open"].verdict == "not reproduced"
    assert one["sharpness-while-open"].measured == pytest.approx(1.2)
    assert one["secant-while-open"].verdict == "reproduced"
    assert one["quotient-while-open"].measured == pytest.approx(1.01)
    assert one["curvature-along-rod-nearer"].verdict == "reproduced"


def test_a_rod_farther_from_the_threshold_than_the_eigenvalue_counts_against(
    tmp_path: Path,
) -> None:
    one = found(write(tmp_path, largest=1.02, along=0.9))
    assert one["secant-while-open"].verdict == "not reproduced"
    assert one["curvature-along-rod-nearer"].verdict == "not reproduced"


def test_the_multiplier_is_averaged_by_its_logarithm(tmp_path: Path) -> None:
    """It alternates between 1.02 and 0.98 at five open snapshots."""
    one = found(make_run(tmp_path))["multiplier-while-open"]
    expected = {(1.02**a * 0.98 ** (5 - a)) ** 0.2 for a in (2, 3)}
    assert min(abs(one.measured - value) for value in expected) < 1e-6


@pytest.mark.parametrize(
    ("state", "words"), [("no threshold", "no linear threshold"), ("no rod", "turns by 90 degrees")]
)
def test_where_nothing_can_be_over_a_threshold_the_reason_is_given(
    tmp_path: Path, state: str, words: str
) -> None:
    one = found(make_run(tmp_path, "lion", **STATES[state]))
    for name in ("secant-while-open", "sharpness-while-open", "curvature-along-rod-nearer"):
        assert one[name].verdict == "not reached"
        assert words in one[name].note


def test_without_a_threshold_the_multiplier_is_judged(tmp_path: Path) -> None:
    one = found(make_run(tmp_path, "lion", **STATES["no threshold"]))
    assert one["multiplier-while-open"].verdict == "reproduced"
