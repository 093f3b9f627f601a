"""Claims about scale-invariant kernels: each can hold, fail and be silent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims.claim import Claim, Judgement, judge
from rodflow.audit.claims.scale_invariance import CLAIMS
from rodflow.store.results import StoredRun

STEPS = 50
OPTIMIZERS: dict[str, dict[str, float]] = {
    "gd": {},
    "heavy_ball": {"momentum": 0.5},
    "adam": {"b1": 0.5},
}


def make(
    optimizer: str = "gd",
    *,
    times: float = 1.0,
    square: float = 0.01,
    cosine: float = 1e-8,
    status: str = "completed",
    kernels: bool = True,
) -> MadeUpRun:
    """A run with two kernels, of which one grows by its squared steps and the other by `times` as much.

    Args:
        optimizer: its name.
        times: see above.
        square: squared length of a step; the kernels begin with 1.
        cosine: of the second kernel with its gradient, once.
        status: of the run.
        kernels: whether there are scale-invariant kernels.
    """
    steps = np.arange(STEPS + 1)
    factor = 3.0 if optimizer == "heavy_ball" else 1.0
    squared = 1 + factor * square * steps[:, None] * np.array([1.0, times])
    along = np.full((STEPS + 1, 2), 1e-9)
    along[7, 1] = -cosine
    variables: dict[str, Any] = {"loss": ("step", np.ones(STEPS + 1))}
    if kernels:
        variables |= {
            "squared_norm": (("step", "kernel"), squared.astype(np.float32)),
            "squared_update": (("step", "kernel"), np.full((STEPS + 1, 2), square, np.float32)),
            "radial": (("step", "kernel"), 0 * along),
            "alignment": (("step", "kernel"), along),
        }
    settings = {"optimizer": {"name": optimizer, "learning_rate": 0.1, **OPTIMIZERS[optimizer]}}
    attributes = {"settings": json.dumps(settings)}
    coordinates = {"step": steps} | ({"kernel": ["first", "second"]} if kernels else {})
    comparison = xr.Dataset(
        {"status": ("process", [status])}, {"process": ["discrete"]}, attributes
    )
    discrete = xr.Dataset(variables, coordinates, attributes)
    folder = Path(f"results/made/mlp/{optimizer}/seed0")
    return MadeUpRun(folder, {"comparison": comparison, "discrete": discrete})


def claim(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == name)


def judged(name: str, *runs: StoredRun) -> Judgement:
    return judge([], [claim(name)], drawn={"scale_invariance": runs})[0]


ABOUT = {
    "scale-invariance-orthogonal": "gd",
    "scale-invariance-growth-gd": "gd",
    "scale-invariance-growth-adam": "adam",
    "scale-invariance-growth-momentum": "heavy_ball",
    "scale-invariance-rate": "adam",
}
FAILURES: dict[str, dict[str, Any]] = {
    "scale-invariance-orthogonal": {"cosine": 2e-4},
    "scale-invariance-growth-gd": {"times": 1.02},
    "scale-invariance-growth-adam": {"times": 0.7},
    "scale-invariance-growth-momentum": {"times": 1.02},
    "scale-invariance-rate": {"times": -0.1},
}
"""Claim -> what a run is made with that disagrees with it."""


def test_every_claim_is_shown_to_hold_and_to_fail_here() -> None:
    assert {claim.id for claim in CLAIMS} == FAILURES.keys() == ABOUT.keys()


@pytest.mark.parametrize("name", FAILURES)
def test_claim_holds_on_numbers_that_agree(name: str) -> None:
    assert judged(name, make(ABOUT[name])).verdict == "reproduced"


@pytest.mark.parametrize("name", FAILURES)
def test_claim_fails_if_one_kernel_disagrees(name: str) -> None:
    assert judged(name, make(ABOUT[name], **FAILURES[name])).verdict == "not reproduced"


@pytest.mark.parametrize("name", FAILURES)
def test_a_run_that_diverged_says_nothing(name: str) -> None:
    lost = make(ABOUT[name], status="diverged at step 9")
    assert judged(name, lost).verdict == "not reached"


@pytest.mark.parametrize("name", FAILURES)
def test_a_run_without_scale_invariant_kernels_says_nothing(name: str) -> None:
    judgement = judged(name, make(ABOUT[name], kernels=False))
    assert judgement.findings[0].note == "no kernel is scale invariant"


def test_a_growth_that_single_precision_does_not_resolve_says_nothing() -> None:
    judgement = judged("scale-invariance-growth-gd", make(square=1e-6))
    assert judgement.findings[0].note == "the norm is too constant for single precision"


def test_the_measured_cosine_is_the_worst_of_all_steps_and_kernels() -> None:
    finding = judged("scale-invariance-orthogonal", make(cosine=3e-5)).findings[0]
    assert finding.measured == pytest.approx(3e-5)
    assert finding.note == "second at step 7"


def test_the_measured_growth_is_that_of_the_worst_kernel() -> None:
    finding = judged("scale-invariance-growth-adam", make("adam", times=1.5)).findings[0]
    assert finding.measured == pytest.approx(0.5, rel=1e-4)
    assert finding.note == "first 1.0 times, second 1.5 times"
