"""Claims about losses of a few weights: each can hold, fail and be silent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims.claim import Judgement, judge
from rodflow.audit.claims.few_weights import CLAIMS
from rodflow.store.results import StoredRun

START, STEPS, ONSET, EPS = 20, 600, 100, 1e-3
ERRORS = {
    "stable": 3.0,
    "rod": 2e-5,
    "rod_unit_step": 1e-5,
    "rod_macro": 1e-4,
    "edge": 3e-3,
    "edge_unit_step": 2e-5,
    "closure": 2.0,
    "central": 1e-2,
}


def make(
    kind: str = "one",
    square: float = 2 * EPS,
    overshoot: float = 0.05,
    below: float = 0.99,
    cost: float = 8.0,
    **errors: float,
) -> MadeUpRun:
    """A run at its threshold from ONSET on, 5% above it in a first burst of 100 steps.

    Args:
        kind: of the toy.
        square: of the rod from the onset on.
        overshoot: of the flows in that burst.
        below: sharpness over threshold just after it.
        cost: gradients of the edge flow in a unit of time.
        errors: flow -> its tracking error, in place of `ERRORS`.
    """
    flows = ERRORS | errors
    processes, at = ["discrete", *flows], np.arange(START, STEPS + 1, 5)
    settings: dict[str, Any] = {
        "batch_size": None,
        "criterion": "toys.py:value",
        "model": {"kind": f"toys.py:{kind}", "eps": EPS},
        "optimizer": {"name": "gd", "learning_rate": 0.3},
        "seed": 1,
        "start": START,
        "steps": STEPS,
    }
    ratio = np.minimum(1, 0.9 + 0.1 * (at - START) / (ONSET - START))
    burst = (at > ONSET) & (at < ONSET + 100)
    heights = np.array([0.05, *[overshoot] * len(flows)])[:, None]
    sharpness = np.where(at == ONSET + 100, below, np.where(burst, 1 + heights, ratio))
    error = np.outer([np.nan, *flows.values()], np.ones(at.size))
    comparison = xr.Dataset(
        {
            "sharpness_over_threshold": (("process", "snapshot"), sharpness),
            "tracking_error": (("process", "snapshot"), error),
            "status": ("process", ["completed"] * len(processes)),
            "onset": ("process", [float(ONSET)] * len(processes)),
        },
        {"process": processes, "snapshot": at},
        {"settings": json.dumps(settings)},
    )
    steps = np.arange(STEPS + 1)
    rod = np.where(steps > ONSET, np.sqrt(square), 1e-6)
    made_up = {
        "comparison": comparison,
        "discrete": xr.Dataset({"rod_length": ("step", rod)}, {"step": steps}),
        "edge": xr.Dataset({"gradients": ("step", np.full(steps.size, cost))}, {"step": steps}),
        "edge_unit_step": xr.Dataset(
            {"gradients": ("step", np.full(steps.size, 2.0))}, {"step": steps}
        ),
    }
    return MadeUpRun(Path("results/made/toy/gd/seed1"), made_up)


def judged(name: str, run: StoredRun) -> Judgement:
    return judge([run], [claim for claim in CLAIMS if claim.id == name])[0]


FAILURES: dict[str, dict[str, Any]] = {
    "toys-balance": {"square": EPS},
    "toys-rod-unit-step-error": {"rod_unit_step": 1e-3},
    "toys-rod-ode-error": {"rod": 1e-3},
    "toys-edge-flow-error": {"edge": 0.1},
    "toys-closure-error": {"closure": 0.1},
    "toys-central-tracks": {"central": 4.0},
    "toys-rod-unit-step-tracks": {"rod_unit_step": 4.0},
    "toys-rod-macro-step-tracks": {"rod_macro": 4.0},
    "toys-one-direction": {"edge": 5e-5, "kind": "two"},
    "toys-edge-unit-step-tracks": {"edge_unit_step": 4.0},
    "toys-edge-unit-step-nearer": {"edge_unit_step": 1e-3},
    "toys-edge-unit-step-cost": {"cost": 5.0},
    "toys-edge-flow-onset": {"overshoot": 0.0},
    "toys-edge-unit-step-onset": {"overshoot": 0.06},
}
"""Claim -> what a run is made with that disagrees with it."""


def test_every_claim_is_shown_to_hold_and_to_fail_here() -> None:
    assert {claim.id for claim in CLAIMS} == FAILURES.keys()


@pytest.mark.parametrize("name", FAILURES)
def test_a_claim_holds_where_it_should(name: str) -> None:
    kind = FAILURES[name].get("kind", "one")
    assert judged(name, make(kind)).verdict == "reproduced"


@pytest.mark.parametrize("name", FAILURES)
def test_a_claim_fails_where_it_should(name: str) -> None:
    assert judged(name, make(**FAILURES[name])).verdict == "not reproduced"


@pytest.mark.parametrize("name", FAILURES)
def test_another_problem_says_nothing(name: str) -> None:
    run = make()
    settings = json.loads(run.comparison.attrs["settings"]) | {"model": {"kind": "mlp"}}
    run.comparison.attrs["settings"] = json.dumps(settings)
    assert judged(name, run).verdict == "not reached"


def test_two_curvatures_need_twice_the_square_of_the_oscillation() -> None:
    assert judged("toys-balance", make("two", square=4 * EPS)).verdict == "reproduced"
    assert judged("toys-balance", make("two")).verdict == "not reproduced"


def test_a_run_that_does_not_leave_its_threshold_again_has_no_first_burst() -> None:
    found = judged("toys-edge-unit-step-onset", make(below=1.0))
    assert found.verdict == "not reached"
