"""Claims about k-Adam: which threshold is asked for, and what holds it."""

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from rodflow.claims import judge
from rodflow.claims.k_adam import CLAIMS
from rodflow.results import StoredRun
from synthetic_results import write_run

ALTERNATING, ROTATING = {"b1": 0.2, "k": 2}, {"b1": 0.9, "k": 2}
THRESHOLD = {0.2: 4.5, 0.9: 0.19 / 0.81}


def write(root: Path, chosen: dict[str, Any], held: float = 1.0, nearer: float = 10.0) -> StoredRun:
    """A run at its threshold from the start on, held at this level; how much nearer the rod ends."""

    def compared(data: xr.Dataset) -> xr.Dataset:
        last = data["error_last"].copy()
        last.loc["stable"], last.loc["rod_unit_step"] = 0.1, 0.1 / nearer
        levels = {name: data[name] * 0 + held for name in ("held", "held_lowest", "held_highest")}
        return data.assign(error_last=last, onset=data["onset"] * 0 + 60, **levels)

    limit = THRESHOLD[chosen["b1"]] / 0.1

    def measured(data: xr.Dataset) -> xr.Dataset:
        return data.assign_attrs(threshold=limit)

    run = write_run(
        root, "k_adam", hyperparameters=chosen, flows=("stable", "rod_unit_step"), twins=None,
        replays={}, compared=compared,
    )  # fmt: skip
    sharpness = measured(run.sharpness("discrete"))
    run._read["sharpness/discrete"] = sharpness
    return run


def verdicts(run: StoredRun) -> dict[str, str]:
    return {j.claim.id: j.verdict for j in judge([], CLAIMS, drawn={"k_adam": [run]})}


def test_an_alternating_run_is_asked_for_the_alternating_threshold(tmp_path: Path) -> None:
    found = verdicts(write(tmp_path, ALTERNATING))
    assert found["k-adam-alternating"] == "holds"
    assert found["k-adam-rotating"] == "not applicable"


def test_a_rotating_run_is_asked_for_the_rotating_threshold(tmp_path: Path) -> None:
    found = verdicts(write(tmp_path, ROTATING))
    assert found["k-adam-alternating"] == "not applicable"
    assert found["k-adam-rotating"] == "holds"


@pytest.mark.parametrize(
    ("name", "chosen"), [("k-adam-alternating", ALTERNATING), ("k-adam-rotating", ROTATING)]
)
def test_a_run_far_from_its_threshold_fails(
    tmp_path: Path, name: str, chosen: dict[str, Any]
) -> None:
    assert verdicts(write(tmp_path, chosen, held=1.2))[name] == "fails"


@pytest.mark.parametrize(("nearer", "verdict"), [(10.0, "holds"), (0.5, "fails")])
def test_the_rod_has_to_end_nearer(tmp_path: Path, nearer: float, verdict: str) -> None:
    assert verdicts(write(tmp_path, ALTERNATING, nearer=nearer))["k-adam-rod"] == verdict
