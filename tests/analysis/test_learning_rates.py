"""Methods at their best learning rates: which is best, what a last loss is, and what belongs together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.learning_rates import (
    ROUNDING,
    Method,
    curve,
    last_loss,
    lowest_test_loss,
    tuned,
)
from rodflow.store.results import StoredRun
from synthetic_results import STEPS, make_run

MLP = {"kind": "mlp", "activation": "tanh"}


def write(
    root: Path, level: float, rate: float = 0.1, k: int = 1, seed: int = 0, **options: Any
) -> StoredRun:
    """A run whose loss is at this level from the first step on."""

    def flat(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(loss=data["loss"] * 0 + np.float32(level))

    network = MLP | ({"normalisation": "layer"} if options.pop("normalised", False) else {})
    return make_run(
        root / f"{rate}-{k}-{len(network)}", "k_adam", seed=seed, learning_rate=rate,
        hyperparameters={"b1": 0.9, "b2": 0.99, "k": k}, settings={"model": network} | options.pop("settings", {}),
        flows=(), replicas=None, replays={}, change=flat, **options,
    )  # fmt: skip


def test_the_last_loss_is_the_mean_over_the_last_tenth(tmp_path: Path) -> None:
    run = make_run(tmp_path, flows=(), replicas=None, replays={})
    series = run.series("discrete")["loss"]
    late = series.values[series["step"].values >= 0.9 * STEPS]
    assert last_loss(run) == pytest.approx(late.mean(), rel=1e-6)


def test_a_loss_below_rounding_counts_as_rounding(tmp_path: Path) -> None:
    assert last_loss(write(tmp_path, 1e-12)) == ROUNDING


def test_a_run_that_diverged_has_no_last_loss(tmp_path: Path) -> None:
    assert last_loss(write(tmp_path, 1.0, diverged={"discrete": 150})) == np.inf


def test_the_best_rate_has_the_lowest_geometric_mean_over_the_seeds(tmp_path: Path) -> None:
    levels = {0.1: (0.1, 0.1), 0.3: (0.01, 0.5), 1.0: (0.3, 0.3)}
    runs = [
        write(tmp_path, x, rate, seed=s) for rate, two in levels.items() for s, x in enumerate(two)
    ]
    ((own,),) = (methods.values() for methods in tuned(runs))
    assert own.best == 0.3 and not own.at_edge
    assert own.loss(0.3) == pytest.approx(np.sqrt(0.01 * 0.5))


def test_rates_can_be_judged_by_the_lowest_test_loss_along_a_run(tmp_path: Path) -> None:
    lowest = {0.1: 0.7, 0.3: 0.4}
    runs = [
        write(tmp_path, last, rate, compared=falls_to(lowest[rate]))
        for rate, last in ((0.1, 0.01), (0.3, 0.2))
    ]
    ((own,),) = (methods.values() for methods in tuned(runs, lowest_test_loss))
    assert {rate: pytest.approx(own.loss(rate)) for rate in lowest} == lowest
    assert own.best == 0.3


def falls_to(lowest: float) -> Callable[[xr.Dataset], xr.Dataset]:
    """A test loss that falls to this and rises again."""

    def compared(data: xr.Dataset) -> xr.Dataset:
        ratio = data["sharpness_over_threshold"]
        place = xr.DataArray(np.arange(ratio.sizes["snapshot"]), dims="snapshot")
        return data.assign(test_loss=ratio * 0 + lowest + abs(place - 3))

    return compared


def test_a_rate_at_which_a_seed_diverged_is_not_the_best(tmp_path: Path) -> None:
    runs = [
        write(tmp_path, 0.2, 0.1),
        write(tmp_path, 1e-3, 0.3),
        write(tmp_path, 1e-3, 0.3, seed=1, diverged={"discrete": 150}),
    ]
    ((own,),) = (methods.values() for methods in tuned(runs))
    assert own.best == 0.1 and own.at_edge


def test_methods_of_one_problem_differ_in_k_and_normalisation_only(tmp_path: Path) -> None:
    runs = [
        write(tmp_path / "a", 0.1),
        write(tmp_path / "a", 0.1, k=2),
        write(tmp_path / "a", 0.1, normalised=True),
        write(tmp_path / "b", 0.1, settings={"criterion": "cross_entropy"}),
        write(tmp_path / "c", 0.1, settings={"batch_size": 50}),
    ]
    found = tuned(runs)
    assert [*found[0]] == [Method(1, False), Method(2, False), Method(1, True)]
    assert len(found) == 3


def test_a_curve_averages_over_windows_to_the_end_of_the_shortest_run(tmp_path: Path) -> None:
    whole = make_run(tmp_path / "a", flows=(), replicas=None, replays={})
    short = make_run(
        tmp_path / "b", flows=(), replicas=None, replays={}, diverged={"discrete": 101}
    )
    found = curve([whole, short], 10)
    np.testing.assert_allclose(found["step"], 5.5 + 10 * np.arange(10))
    first = whole.series("discrete")["loss"].values[:10].astype(float).mean()
    assert float(found[0, 0]) == pytest.approx(first)
