"""Claims about adaptive methods in other settings: each can hold, fail and be silent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims.claim import Judgement, Verdict, judge
from rodflow.audit.claims.cohen_2022 import CLAIMS
from rodflow.store.results import StoredRun

START, STEPS = 100, 1000
MIDDLE = STEPS // 2
WARM_UP = {"schedule": "warmup_constant", "peak": 0.01, "warmup": 400, "start": 0.0}


def make(
    optimizer: str = "adam",
    *,
    level: float = 1.0,
    growth: float = 2.0,
    rate: float | dict[str, Any] = 0.01,
    seed: int = 1,
    criterion: str = "mse",
    opening: int = START,
    decay: float = 0.005,
    freeze: int = MIDDLE,
) -> MadeUpRun:
    """A run at `level` of its threshold.

    Args:
        optimizer, rate, seed, criterion, freeze: its settings.
        level: see above.
        growth: of the raw sharpness, in the second half of the run.
        opening: the step at which the rod opens.
        decay: of the loss in a step.
    """
    at = np.arange(START, STEPS + 1, 10)
    steps = np.arange(STEPS + 1)
    given = {"name": optimizer, "learning_rate": rate}
    given |= {"freeze": freeze} if optimizer == "adam_frozen" else {}
    settings = json.dumps(
        {
            "batch_size": None,
            "criterion": criterion,
            "optimizer": given,
            "seed": seed,
            "start": START,
            "steps": STEPS,
        }
    )
    ratio = np.full((1, at.size), level)
    comparison = xr.Dataset(
        {
            "sharpness_over_threshold": (("process", "snapshot"), ratio),
            "status": ("process", ["completed"]),
            "onset": ("process", [float(START)]),
        },
        {"process": ["discrete"], "snapshot": at},
        {"settings": settings},
    )
    rod = np.where(steps < opening, 1e-6, 1.0)
    series = xr.Dataset(
        {"loss": ("step", np.exp(-decay * steps)), "rod_length": ("step", rod)},
        {"step": steps},
        {"settings": settings},
    )
    raw = growth ** ((at - START) / MIDDLE)
    eigenvalues = xr.Dataset({"raw_sharpness": ("snapshot", raw)}, {"snapshot": at})
    made_up = {"comparison": comparison, "discrete": series, "sharpness/discrete": eigenvalues}
    place = f"results/made/sweeps/s/{rate if isinstance(rate, float) else 'up'}/mlp/{optimizer}"
    return MadeUpRun(Path(f"{place}/seed{seed}"), made_up)


def judged(name: str, runs: list[StoredRun]) -> Judgement:
    (claim,) = (claim for claim in CLAIMS if claim.id == name)
    return judge([], [claim], drawn={claim.figure: runs})[0]


def frozen(adapting: float, fixed: float, **options: Any) -> list[StoredRun]:
    """A pair of runs whose raw sharpness grows so much in the second half."""
    return [make(growth=adapting), make("adam_frozen", growth=fixed, **options)]


def rates(optimizer: str, small: float, large: float) -> list[StoredRun]:
    """Two rates, the smaller of half the speed, whose raw sharpness grows so much in half a run."""
    slow = make(optimizer, rate=0.01, decay=0.005, growth=small)
    return [slow, make(optimizer, rate=0.02, decay=0.01, growth=large)]


def entropy(optimizer: str, level: float) -> list[StoredRun]:
    return [make(optimizer, level=level, criterion="cross_entropy")]


CASES: dict[str, dict[Verdict, list[StoredRun]]] = {
    "aeos-curvature-rmsprop": {
        "reproduced": [make("rmsprop")],
        "not reproduced": [make("rmsprop", growth=1.0)],
        "not reached": [make("adam")],
    },
    "aeos-frozen-held": {
        "reproduced": [make("adam_frozen")],
        "not reproduced": [make("adam_frozen", level=0.8)],
        "not reached": [make("adam_frozen", freeze=950)],
    },
    "aeos-frozen-loses": {
        "reproduced": frozen(2.0, 1.0),
        "not reproduced": frozen(2.0, 1.9),
        "not reached": frozen(2.0, 1.0, seed=2),
    },
    "aeos-warm-up-follows": {
        "reproduced": [make("adamw", rate=WARM_UP)],
        "not reproduced": [make("adamw", rate=WARM_UP, level=0.7)],
        "not reached": [make("adamw", rate=WARM_UP, opening=450)],
    },
    "aeos-small-rates-sharper-adam": {
        "reproduced": rates("adam", 2.0, 2.0),
        "not reproduced": rates("adam", 2.0, 5.0),
        "not reached": [make("adam")],
    },
    "aeos-small-rates-sharper-rmsprop": {
        "reproduced": rates("rmsprop", 2.0, 2.0),
        "not reproduced": rates("rmsprop", 2.0, 5.0),
        "not reached": [make("rmsprop")],
    },
    "cross-entropy-amsgrad": {
        "reproduced": entropy("amsgrad", 0.9),
        "not reproduced": entropy("amsgrad", 1.1),
        "not reached": [make("amsgrad", level=0.9)],
    },
    "cross-entropy-rmsprop": {
        "reproduced": entropy("rmsprop", 1.5),
        "not reproduced": entropy("rmsprop", 1.1),
        "not reached": entropy("adam", 1.5),
    },
    "cross-entropy-adagrad": {
        "reproduced": entropy("adagrad", 1.5),
        "not reproduced": entropy("adagrad", 1.1),
        "not reached": entropy("adam", 1.5),
    },
}


def test_every_claim_is_shown_to_hold_to_fail_and_to_be_silent() -> None:
    assert {claim.id for claim in CLAIMS} == CASES.keys()
    assert all(len(cases) == 3 for cases in CASES.values())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("verdict", ["reproduced", "not reproduced", "not reached"])
def test_a_claim_is_judged_as_it_should_be(name: str, verdict: Verdict) -> None:
    assert judged(name, CASES[name][verdict]).verdict == verdict


def test_a_run_frozen_elsewhere_than_at_its_middle_makes_no_pair() -> None:
    runs = frozen(2.0, 1.0, freeze=400)
    assert judged("aeos-frozen-loses", runs).verdict == "not reached"


def test_small_rates_are_compared_at_the_loss_that_all_of_them_reach() -> None:
    (finding,) = judged("aeos-small-rates-sharper-adam", rates("adam", 2.0, 2.0)).measured
    # The slow run has the loss of its end at twice the step of the fast one: a factor of 2 for 500 steps.
    assert finding.measured == pytest.approx(2.0, rel=0.05)
