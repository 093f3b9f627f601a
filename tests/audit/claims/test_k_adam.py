"""Claims about k-Adam: which threshold is asked for, and what holds it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.claim import judge
from rodflow.audit.claims.k_adam import CLAIMS
from rodflow.store.results import StoredRun
from synthetic_results import make_run

ALTERNATING, ROTATING = {"b1": 0.2, "k": 2}, {"b1": 0.9, "k": 2}
THRESHOLD = {0.2: 4.5, 0.9: 0.19 / 0.81}


def write(root: Path, chosen: dict[str, Any], held: float = 1.0, nearer: float = 10.0) -> StoredRun:
    """A run at its threshold from the start on, held at this level; how much nearer the rod is."""

    def open_rod(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(rod_length=0 * data["loss"] + 1)

    def compared(data: xr.Dataset) -> xr.Dataset:
        error = data["tracking_error"].copy()
        error.loc["stable"], error.loc["rod_unit_step"] = 0.1, 0.1 / nearer
        ratio = data["sharpness_over_threshold"] * 0 + held
        return data.assign(
            tracking_error=error, sharpness_over_threshold=ratio, onset=data["onset"] * 0 + 60
        )

    limit = THRESHOLD[chosen["b1"]] / 0.1

    def measured(data: xr.Dataset) -> xr.Dataset:
        return data.assign_attrs(threshold=limit)

    run = make_run(
        root, "k_adam", hyperparameters=chosen, flows=("stable", "rod_unit_step"), replicas=None,
        replays={}, change=open_rod, compared=compared,
    )  # fmt: skip
    sharpness = measured(run.sharpness("discrete"))
    run.take("sharpness/discrete", sharpness)
    return run


def verdicts(run: StoredRun) -> dict[str, str]:
    return {j.claim.id: j.verdict for j in judge([], CLAIMS, drawn={"k_adam": [run]})}


def test_an_alternating_run_is_asked_for_the_alternating_threshold(tmp_path: Path) -> None:
    found = verdicts(write(tmp_path, ALTERNATING))
    assert found["k-adam-alternating"] == "reproduced"
    assert found["k-adam-rotating"] == "not reached"


def test_a_rotating_run_is_asked_for_the_rotating_threshold(tmp_path: Path) -> None:
    found = verdicts(write(tmp_path, ROTATING))
    assert found["k-adam-alternating"] == "not reached"
    assert found["k-adam-rotating"] == "reproduced"


@pytest.mark.parametrize(
    ("name", "chosen"), [("k-adam-alternating", ALTERNATING), ("k-adam-rotating", ROTATING)]
)
def test_a_run_far_from_its_threshold_fails(
    tmp_path: Path, name: str, chosen: dict[str, Any]
) -> None:
    assert verdicts(write(tmp_path, chosen, held=1.2))[name] == "not reproduced"


@pytest.mark.parametrize(("nearer", "verdict"), [(10.0, "reproduced"), (0.5, "not reproduced")])
def test_the_rod_has_to_be_nearer(tmp_path: Path, nearer: float, verdict: str) -> None:
    assert verdicts(write(tmp_path, ALTERNATING, nearer=nearer))["k-adam-rod-unit-step"] == verdict


# How it trains, beside normalisation layers

PLAIN, NORMALISED, TRANSFORMER = (
    {"kind": "mlp"},
    {"kind": "mlp", "normalisation": "layer"},
    {"kind": "vit"},
)


def train(
    root: Path,
    network: dict[str, Any],
    k: int,
    level: float,
    rate: float = 0.1,
    optimizer: str = "k_adam_shared",
    criterion: str = "cross_entropy",
    test: int | None = None,
    **options: Any,
) -> StoredRun:
    """A run whose loss is at this level from the first step on."""

    def flat(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(loss=data["loss"] * 0 + np.float32(level))

    place = root / "sweeps" / "-".join(network.values()) / f"k={k},learning_rate={rate}"
    return make_run(
        place, optimizer, learning_rate=rate,
        hyperparameters={"b1": 0.9, "b2": 0.99, "k": k},
        settings={"model": network, "criterion": criterion, "dataset": {"name": "digits", "test": test}},
        flows=(), replicas=None, replays={}, change=flat, **options,
    )  # fmt: skip


def trained(runs: list[StoredRun]) -> dict[str, tuple[str, float]]:
    """Verdict and measured number of the claims about training."""
    found = judge([], CLAIMS, drawn={"k_adam_training": runs})
    return {j.claim.id: (j.verdict, j.findings[0].measured) for j in found}


def four(
    root: Path, adam: float, normalised: float, two: float, normalised_two: float
) -> list[StoredRun]:
    """Adam and 2-Adam without and with normalisation, whose losses are at these levels."""
    return [
        train(root, PLAIN, 1, adam),
        train(root, NORMALISED, 1, normalised),
        train(root, PLAIN, 2, two),
        train(root, NORMALISED, 2, normalised_two),
    ]


def test_claims_about_training_hold_where_two_adam_does_what_normalisation_does(
    tmp_path: Path,
) -> None:
    found = trained(four(tmp_path, 1e-2, 2e-3, 1e-3, 9e-4))
    expected = {
        "two-adam-against-adam": 0.1,
        "two-adam-against-normalisation": 0.5,
        "normalised-adam-resembles-two-adam": np.log(2) / np.log(10),
        "normalisation-adds-less-to-two-adam": (10 / 9) / 5,
    }
    for name, value in expected.items():
        assert found[name] == ("reproduced", pytest.approx(value, rel=1e-4))
    assert found["two-adam-on-transformers"][0] == "not reached"


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("two-adam-against-adam", (1e-3, 1e-2, 2e-3, 1e-3)),
        ("two-adam-against-normalisation", (1e-2, 1e-3, 2e-3, 1e-3)),
        ("normalised-adam-resembles-two-adam", (1e-3, 1e-2, 1e-3 / 2, 1e-3)),
        ("normalisation-adds-less-to-two-adam", (1e-2, 5e-3, 1e-3, 1e-4)),
    ],
)
def test_a_claim_about_training_fails_where_the_losses_say_the_opposite(
    tmp_path: Path, name: str, levels: tuple[float, float, float, float]
) -> None:
    assert trained(four(tmp_path, *levels))[name][0] == "not reproduced"


def test_each_method_is_judged_at_its_best_rate(tmp_path: Path) -> None:
    runs = four(tmp_path, 1e-2, 1e-2, 1e-1, 1e-2)
    assert trained(runs)["two-adam-against-adam"] == ("not reproduced", pytest.approx(10))
    runs.append(train(tmp_path, PLAIN, 2, 1e-3, rate=0.03))
    assert trained(runs)["two-adam-against-adam"] == ("reproduced", pytest.approx(0.1))
    runs.append(train(tmp_path, PLAIN, 2, 1e-6, rate=1.0, diverged={"discrete": 150}))
    assert trained(runs)["two-adam-against-adam"] == ("reproduced", pytest.approx(0.1))


@pytest.mark.parametrize(("level", "verdict"), [(1e-3, "reproduced"), (1e-1, "not reproduced")])
@pytest.mark.parametrize(
    ("name", "network", "chosen"),
    [
        ("two-adam-on-transformers", TRANSFORMER, {}),
        ("two-adam-equal-decays", PLAIN, {"optimizer": "k_adam"}),
        ("two-adam-squared-error", PLAIN, {"criterion": "mse"}),
    ],
)
def test_other_problems_have_claims_of_their_own(
    tmp_path: Path,
    name: str,
    network: dict[str, Any],
    chosen: dict[str, str],
    level: float,
    verdict: str,
) -> None:
    runs = [train(tmp_path, network, k, at, **chosen) for k, at in ((1, 1e-2), (2, level))]
    found = {one: own for one, (own, _) in trained(runs).items() if own != "not reached"}
    assert found == {name: verdict}


def test_without_normalised_runs_nothing_is_said_of_normalisation(tmp_path: Path) -> None:
    found = trained(four(tmp_path, 1e-2, 2e-3, 1e-3, 9e-4)[::2])
    assert found["two-adam-against-adam"][0] == "reproduced"
    assert found["two-adam-against-normalisation"][0] == "not reached"


@pytest.mark.parametrize(("two", "verdict"), [(0.4, "reproduced"), (0.6, "not reproduced")])
def test_test_losses_are_compared_at_the_rates_that_are_best_for_them(
    tmp_path: Path, two: float, verdict: str
) -> None:
    def tested(loss: float) -> Callable[[xr.Dataset], xr.Dataset]:
        return lambda data: data.assign(test_loss=data["sharpness_over_threshold"] * 0 + loss)

    runs = [  # the rate that is best in training is the worse on the test set
        train(tmp_path, PLAIN, 1, 0.1, 0.1, test=9, compared=tested(0.5)),
        train(tmp_path, PLAIN, 1, 0.01, 0.3, test=9, compared=tested(0.9)),
        train(tmp_path, PLAIN, 2, 0.1, 0.1, test=9, compared=tested(two)),
    ]
    found, number = trained(runs)["two-adam-test-loss"]
    assert (found, number) == (verdict, pytest.approx(two / 0.5))


def test_without_a_test_set_nothing_is_said_about_test_losses(tmp_path: Path) -> None:
    runs = [train(tmp_path, PLAIN, k, 0.1) for k in (1, 2)]
    assert trained(runs)["two-adam-test-loss"][0] == "not reached"
