"""Series of learning rates, and the order at which a flow and its run near each other along one."""

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.convergence import below_edge, order, series
from rodflow.store.results import StoredRun
from synthetic_results import run_in_memory

RATES = np.array([8e-4, 4e-4, 2e-4])


def run(path: str, rate: float, onset: float = np.nan, status: str = "completed") -> StoredRun:
    compared = {"onset": ("process", [onset]), "status": ("process", [status])}
    return run_in_memory(path, xr.Dataset(compared, {"process": ["discrete"]}), learning_rate=rate)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_order_is_the_power_of_the_learning_rate(power: float) -> None:
    assert order([*RATES], [*(3.0 * RATES**power)]) == pytest.approx(power, abs=1e-12)


@pytest.mark.parametrize("distances", [[1.0, 0.5, np.inf], [1.0, 0.5, 0.0], [1.0, 0.5]])
def test_there_is_no_order_of_too_few_numbers_or_of_such_without_a_logarithm(
    distances: list[float],
) -> None:
    assert np.isnan(order([*RATES[: len(distances)]], distances))


def test_a_series_is_of_one_sweep_optimizer_and_seed_from_the_largest_rate_on() -> None:
    runs = [
        run("sweeps/b/learning_rate=2e-4/mlp/adam/seed0", 2e-4),
        run("sweeps/a/learning_rate=4e-4/mlp/adam/seed0", 4e-4),
        run("sweeps/b/learning_rate=8e-4/mlp/adam/seed0", 8e-4),
        run("sweeps/b/learning_rate=8e-4/mlp/adam/seed1", 8e-4),
        run("sweeps/b/learning_rate=8e-4/mlp/adamw/seed0", 8e-4),
        run("mlp/adam/seed0", 1e-3),
    ]
    expected = [[runs[2], runs[0]], [runs[1]], [runs[3]], [runs[4]], [runs[5]]]
    assert series(runs) == expected


def test_a_run_is_below_the_edge_if_it_completes_and_never_reaches_its_threshold() -> None:
    assert below_edge(run("mlp/adam/seed0", 1e-3))
    assert not below_edge(run("mlp/adam/seed0", 1e-3, onset=90))
    assert not below_edge(run("mlp/adam/seed0", 1e-3, status="diverged at step 100"))
