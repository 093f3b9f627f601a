"""Claims of the edge-of-stability papers: each can hold, fail and be silent."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from made_up import MadeUpRun
from rodflow.audit.claims.claim import Claim, Judgement, judge
from rodflow.audit.claims.edge_of_stability import CLAIMS
from rodflow.store.results import StoredRun

STEPS, EVERY, START, ONSET = 600, 10, 20, 100


def make(
    optimizer: str = "gd",
    *,
    seed: int = 1,
    batch: int | None = None,
    criterion: str = "mse",
    level: float = 1.0,
    early: float = 0.5,
    until: int = STEPS,
    swing: float = 0.2,
    drift: float = -1.0,
    apart: float = 0.2,
    growth: float = 1.0,
    closed: int = STEPS,
    status: str = "completed",
) -> MadeUpRun:
    """A run whose sharpness rises from `early` to the threshold at step ONSET and stays at `level` until a step.

    Args:
        optimizer, seed, batch, criterion: its settings.
        level, early, until: of sharpness over threshold, around which it goes up and down by 2%.
        swing: of the loss, to and fro, at the edge.
        drift: of the logarithm of the loss over the run.
        apart: last distance to gradient flow; it is 0.01 at the onset.
        growth: of the raw sharpness after the onset.
        closed: the step from which on the rod is closed.
        status: of the discrete run.
    """
    at, steps = np.arange(START, STEPS + 1, EVERY), np.arange(STEPS + 1)
    rising = early + (1 - early) * (at - START) / (ONSET - START)
    ratio = np.where(at < ONSET, rising, level * (1 + 0.02 * (-1.0) ** (at // EVERY)))
    ratio = np.where(at > until, 0.3, ratio)
    reached = at[ratio >= 1]
    late = ratio[at >= 0.75 * STEPS]
    error = 0.01 * (apart / 0.01) ** np.clip((at - ONSET) / (STEPS - ONSET), 0, 1)
    processes = ["discrete", "stable"]
    numbers = {
        "onset": reached[0] if reached.size else np.nan,
        "late_mean": late.mean(),
        "late_lowest": late.min(),
        "late_highest": late.max(),
    }
    settings = {
        "batch_size": batch,
        "criterion": criterion,
        "optimizer": {"name": optimizer, "learning_rate": 0.1},
        "seed": seed,
        "start": START,
        "steps": STEPS,
    }
    comparison = xr.Dataset(
        {
            "sharpness_over_threshold": (("process", "snapshot"), np.stack([ratio, ratio])),
            "tracking_error": (("process", "snapshot"), np.stack([np.nan * error, error])),
            "status": ("process", [status, "completed"]),
            **{name: ("process", [value, value]) for name, value in numbers.items()},
        },
        {"process": processes, "snapshot": at},
        {"settings": json.dumps(settings)},
    )
    loss = np.exp(drift * steps / STEPS) * (1 + swing * (-1.0) ** steps * (steps > ONSET))
    rod = np.where((steps > ONSET) & (steps <= closed), 1.0, 1e-4)
    raw = growth ** np.clip((at - ONSET) / (STEPS - ONSET), 0, 1)
    made_up = {
        "comparison": comparison,
        "discrete": xr.Dataset(
            {"loss": ("step", loss), "rod_length": ("step", rod)}, {"step": steps}
        ),
        "sharpness/discrete": xr.Dataset({"raw_sharpness": ("snapshot", raw)}, {"snapshot": at}),
    }
    return MadeUpRun(Path(f"results/made/mlp/{optimizer}/seed{seed}"), made_up)


def sweep(levels: dict[int | None, tuple[float, float, float]]) -> list[MadeUpRun]:
    """Batch size -> the levels of three seeds."""
    found = []
    for batch, values in levels.items():
        for seed, level in enumerate(values):
            run = make("adam", seed=seed, batch=batch, level=level)
            folder = Path(f"results/made/sweeps/batches/batch_size={batch}/mlp/adam/seed{seed}")
            found.append(MadeUpRun(folder, run.made_up))
    return found


def claim(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == name)


def judged(name: str, *runs: StoredRun) -> Judgement:
    return judge([], [claim(name)], drawn={claim(name).figure: runs})[0]


RISING = {10: (0.1, 0.11, 0.12), 50: (0.4, 0.41, 0.42), None: (0.98, 0.99, 1.0)}
GOOD: dict[str, dict[str, Any]] = {"aeos-curvature-adam": {"optimizer": "adam", "growth": 1.5}}
"""Claim -> what a run is made with that agrees with it, where the usual does not."""
FAILURES: dict[str, dict[str, Any]] = {
    "eos-gd-sharpening": {"early": 1.2, "level": 1.0},
    "eos-gd-hovering": {"level": 1.08},
    "eos-gd-rises": {"swing": 0.0},
    "eos-gd-falls": {"drift": 0.5},
    "eos-flow-follows": {},
    "eos-flow-departs": {"apart": 0.04},
    "aeos-adam-held": {"level": 1.15},
    "aeos-methods-held": {"level": 1.15},
    "aeos-curvature-gd": {"growth": 1.5},
    "aeos-curvature-adam": {"optimizer": "adam", "growth": 0.7},
    "aeos-small-b2-held": {"level": 1.15},
}
"""Claim -> what a run is made with that disagrees with it."""
OF_MANY = {"aeos-minibatch-below", "aeos-minibatch-monotone"}


def test_every_claim_is_shown_to_hold_and_to_fail_here() -> None:
    assert {claim.id for claim in CLAIMS} == FAILURES.keys() | OF_MANY


@pytest.mark.parametrize("name", FAILURES)
def test_claim_holds_on_numbers_that_agree(name: str) -> None:
    assert judged(name, make(**GOOD.get(name, {}))).verdict == "reproduced"


@pytest.mark.parametrize("name", sorted({*FAILURES} - {"eos-gd-sharpening", "eos-flow-follows"}))
def test_claim_fails_on_numbers_that_disagree(name: str) -> None:
    assert judged(name, make(**FAILURES[name])).verdict == "not reproduced"


def test_flow_that_has_departed_before_the_onset_does_not_follow() -> None:
    run = make()
    far = run.comparison.assign(tracking_error=run.comparison["tracking_error"] * 3)
    changed = MadeUpRun(run.folder, run.made_up | {"comparison": far})
    assert judged("eos-flow-follows", changed).verdict == "not reproduced"


def test_sharpness_that_falls_to_the_threshold_was_not_sharpened() -> None:
    run = make()
    ratio = run.comparison["sharpness_over_threshold"].copy()
    ratio[:, 0] = 0.99
    ratio[:, 8:] = 0.98
    onset = run.comparison["onset"] * 0 + ratio["snapshot"].values[8]
    changed = run.comparison.assign(sharpness_over_threshold=ratio, onset=onset)
    judgement = judged(
        "eos-gd-sharpening", MadeUpRun(run.folder, run.made_up | {"comparison": changed})
    )
    assert judgement.verdict == "not reproduced"


@pytest.mark.parametrize("name", sorted(FAILURES.keys() | OF_MANY))
def test_no_claim_holds_on_a_run_that_diverged(name: str) -> None:
    optimizer = "adam" if "adam" in name else "gd"
    runs = [make(optimizer, seed=seed, status="diverged at step 9") for seed in range(3)]
    assert judged(name, *runs).verdict == "not reached"


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_a_run_below_its_threshold_says_nothing(name: str) -> None:
    optimizer = "adam" if "adam" in name else "gd"
    judgement = judged(name, make(optimizer, level=0.8))
    assert judgement.verdict == "not reached"
    assert "threshold never reached, sharpness at most 0.9" in judgement.findings[0].note


@pytest.mark.parametrize("criterion", ["mse", "cross_entropy"])
def test_the_average_is_over_the_whole_window_whatever_the_criterion(criterion: str) -> None:
    judgement = judged("eos-gd-hovering", make(until=400, criterion=criterion))
    assert judgement.verdict == "not reproduced"
    assert judgement.findings[0].note.endswith("of the steps 101 to 600")


HELD = ["eos-gd-hovering", "aeos-adam-held", "aeos-methods-held", "aeos-small-b2-held"]


@pytest.mark.parametrize("name", [*HELD, "eos-gd-rises", "eos-gd-falls"])
def test_a_run_whose_rod_closes_soon_is_not_at_the_edge(name: str) -> None:
    judgement = judged(name, make(closed=200))
    assert judgement.verdict == "not at the edge"
    assert judgement.findings[0].note == "the rod is closed on 80% of the steps 101 to 600"


def test_sharpness_that_rises_with_the_batch_agrees() -> None:
    for name in OF_MANY:
        assert judged(name, *sweep(RISING)).verdict == "reproduced"


def test_a_batch_size_with_less_sharpness_than_a_smaller_one_disagrees() -> None:
    fallen = RISING | {50: (0.05, 0.06, 0.07)}
    judgement = judged("aeos-minibatch-monotone", *sweep(fallen))
    assert judgement.verdict == "not reproduced"
    assert judgement.findings[0].measured < -1


def test_a_fall_within_the_error_bars_is_none() -> None:
    within = RISING | {50: (0.02, 0.1, 0.19)}
    assert judged("aeos-minibatch-monotone", *sweep(within)).verdict == "reproduced"


def test_the_least_rise_is_that_of_the_means_in_standard_errors() -> None:
    two = {10: (0.1, 0.2, 0.3), None: (0.5, 0.6, 0.7)}
    measured = judged("aeos-minibatch-monotone", *sweep(two)).findings[0].measured
    assert measured == pytest.approx(0.4 / np.hypot(0.1 / 3**0.5, 0.1 / 3**0.5), rel=0.01)


def test_a_batch_above_the_threshold_disagrees() -> None:
    above = RISING | {50: (1.1, 1.2, 1.3)}
    assert judged("aeos-minibatch-below", *sweep(above)).verdict == "not reproduced"


def test_two_seeds_are_too_few() -> None:
    pairs = [run for run in sweep(RISING) if run.seed < 2]
    judgement = judged("aeos-minibatch-monotone", *pairs)
    assert judgement.verdict == "not reached"
    assert judgement.findings[0].note == "too few runs"


def test_a_claim_about_a_figure_that_is_not_drawn_is_left_out() -> None:
    assert judge([make()], CLAIMS) == []


def test_runs_of_a_sweep_are_named_by_their_folder() -> None:
    subjects = judged("aeos-minibatch-below", *sweep(RISING)).findings[0].values
    assert "sweeps/batches/batch_size=10/mlp/adam/seed0" in subjects
