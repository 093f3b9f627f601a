"""Claims about generalisation against C(b1, b2): each can hold, fail and be silent."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims.adam_levels import CLAIMS
from rodflow.audit.claims.claim import Judgement, judge
from rodflow.store.results import StoredRun

LEVELS, SECOND, STEPS = (0.0, 0.1, 0.3), (0.9, 0.95, 0.98), 100
Loss = Callable[[float, float], float]


def make(level: float, b2: float, test: float, training: float) -> StoredRun:
    """A run of Adam at a point of a level curve, with these losses in its last quarter."""
    given = {"name": "adam", "b1": 2 / (2 + level + (1 - b2) / b2), "b2": b2}
    settings = json.dumps({"optimizer": given, "steps": STEPS, "seed": 1})
    at = np.arange(0, STEPS + 1, 10)
    comparison = xr.Dataset(
        {
            "test_loss": (("process", "snapshot"), [np.where(at < 0.75 * STEPS, 9.0, test)]),
            "status": ("process", ["completed"]),
        },
        {"process": ["discrete"], "snapshot": at},
        {"settings": settings},
    )
    steps = np.arange(STEPS + 1)
    loss = np.where(steps < 0.75 * STEPS, 9.0, training)
    series = xr.Dataset({"loss": ("step", loss)}, {"step": steps}, {"settings": settings})
    place = Path(f"results/made/sweeps/s/{level:g},{b2:g}/mlp/adam/seed1")
    return MadeUpRun(place, {"comparison": comparison, "discrete": series})


def judged(name: str, test: Loss, training: Loss = lambda c, b2: b2) -> Judgement:
    runs = [make(c, b2, test(c, b2), training(c, b2)) for c in LEVELS for b2 in SECOND]
    (claim,) = (claim for claim in CLAIMS if claim.id == name)
    return judge([], [claim], drawn={"adam_levels": runs})[0]


def falls(level: float, b2: float) -> float:
    return math.exp(-level)


def falls_along(level: float, b2: float) -> float:
    return math.exp(-level - 20 * b2)


CASES: dict[str, tuple[Judgement, Judgement]] = {
    "adam-levels-test-loss": (
        judged("adam-levels-test-loss", falls),
        judged("adam-levels-test-loss", lambda c, b2: 1 + c),
    ),
    "adam-levels-constant": (
        judged("adam-levels-constant", falls),
        judged("adam-levels-constant", falls_along),
    ),
    "adam-levels-training-loss": (
        judged("adam-levels-training-loss", falls),
        judged("adam-levels-training-loss", falls, falls),
    ),
}


def test_every_claim_is_shown_to_hold_and_to_fail() -> None:
    assert {claim.id for claim in CLAIMS} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_claim_holds_and_fails_where_it_should(name: str) -> None:
    good, bad = CASES[name]
    assert (good.verdict, bad.verdict) == ("reproduced", "not reproduced")


@pytest.mark.parametrize("name", CASES)
def test_a_claim_is_silent_without_a_test_set(name: str) -> None:
    run = make(0.1, 0.9, 1.0, 1.0)
    bare = MadeUpRun(
        run.folder, {**run.made_up, "comparison": run.comparison.drop_vars("test_loss")}
    )  # type: ignore[attr-defined]
    (claim,) = (claim for claim in CLAIMS if claim.id == name)
    assert judge([], [claim], drawn={"adam_levels": [bare]})[0].verdict == "not reached"
