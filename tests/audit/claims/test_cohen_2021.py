"""Claims about gradient descent in other settings: each can hold, fail and be silent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims.claim import Judgement, judge
from rodflow.audit.claims.cohen_2021 import CLAIMS, FIGURE
from rodflow.store.results import StoredRun

START, STEPS, AT = 300, 1000, 500
DROP = {"schedule": "drop", "peak": 0.2, "factor": 0.5, "at": AT}


def make(
    optimizer: str = "gd",
    *,
    level: float = 1.0,
    batch: int | None = None,
    drop: float | None = None,
    first: float = 1.01,
    taylor: float = 50.0,
    lost: str = "completed",
) -> MadeUpRun:
    """A run that is at `level` of its threshold.

    Args:
        optimizer, batch: its settings.
        level: see above.
        drop: to which part of it the sharpness falls when the rate does; None: the rate does not.
        first: sharpness over threshold at START.
        taylor: last loss of the Taylor model over that of the run.
        lost: status of the model.
    """
    at = np.arange(START, STEPS + 1, 10)
    ratio = np.full(at.size, level)
    if drop is not None:
        ratio = np.where(at < AT, 1.0, np.clip(drop + (at - AT) / 200, None, level))
    ratio[0] = first
    settings: dict[str, Any] = {
        "batch_size": batch,
        "criterion": "mse",
        "optimizer": {"name": optimizer, "learning_rate": 0.1 if drop is None else DROP},
        "seed": 1,
        "start": START,
        "steps": STEPS,
    }
    comparison = xr.Dataset(
        {
            "sharpness_over_threshold": (("process", "snapshot"), np.stack([ratio, ratio])),
            "status": ("process", ["completed", lost]),
            "onset": ("process", [float(START)] * 2),
            "late_mean": ("process", [ratio[-15:].mean()] * 2),
        },
        {"process": ["discrete", "taylor"], "snapshot": at},
        {"settings": json.dumps(settings)},
    )
    steps = np.arange(STEPS + 1)
    series = xr.Dataset(
        {"loss": ("step", np.ones(steps.size)), "rod_length": ("step", np.ones(steps.size))},
        {"step": steps},
    )
    made_up = {
        "comparison": comparison,
        "discrete": series,
        "taylor": series.assign(loss=series["loss"] * taylor),
    }
    return MadeUpRun(Path(f"results/made/mlp/{optimizer}/seed1"), made_up)


def judged(name: str, run: StoredRun) -> Judgement:
    claims = [claim for claim in CLAIMS if claim.id == name]
    return judge([], claims, drawn={FIGURE: [run]})[0]


GOOD: dict[str, dict[str, Any]] = {
    "eos-momentum-held": {"optimizer": "nesterov"},
    "eos-sizes-held": {},
    "eos-drop-rises": {"optimizer": "sgd", "drop": 0.5},
    "eos-taylor-diverges": {},
    "eos-sgd-below": {"batch": 10, "level": 0.6},
}
BAD: dict[str, dict[str, Any]] = {
    "eos-momentum-held": {"optimizer": "heavy_ball", "level": 1.2},
    "eos-sizes-held": {"level": 0.85},
    "eos-drop-rises": {"optimizer": "sgd", "drop": 0.5, "level": 0.7},
    "eos-taylor-diverges": {"taylor": 2.0},
    "eos-sgd-below": {"batch": 10},
}
SILENT: dict[str, dict[str, Any]] = {
    "eos-momentum-held": {},
    "eos-sizes-held": {"batch": 10},
    "eos-drop-rises": {"optimizer": "sgd", "drop": 0.9},
    "eos-taylor-diverges": {"first": 0.97},
    "eos-sgd-below": {},
}


def test_every_claim_is_shown_to_hold_to_fail_and_to_be_silent() -> None:
    assert {claim.id for claim in CLAIMS} == GOOD.keys() == BAD.keys() == SILENT.keys()


@pytest.mark.parametrize("name", GOOD)
def test_a_claim_holds_where_it_should(name: str) -> None:
    assert judged(name, make(**GOOD[name])).verdict == "reproduced"


@pytest.mark.parametrize("name", BAD)
def test_a_claim_fails_where_it_should(name: str) -> None:
    assert judged(name, make(**BAD[name])).verdict == "not reproduced"


@pytest.mark.parametrize("name", SILENT)
def test_a_claim_is_silent_where_it_should(name: str) -> None:
    assert judged(name, make(**SILENT[name])).verdict == "not reached"


def test_a_taylor_model_whose_loss_falls_without_limit_has_diverged() -> None:
    assert judged("eos-taylor-diverges", make(taylor=-50.0)).verdict == "reproduced"


def test_a_taylor_model_that_is_lost_has_diverged() -> None:
    run = make(taylor=0.1, lost="diverged at step 400")
    assert judged("eos-taylor-diverges", run).verdict == "reproduced"
