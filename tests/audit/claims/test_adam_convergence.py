"""Claims about Adam in continuous time: each can hold, fail and be silent."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.claims.adam_convergence import CLAIMS, FLOW
from rodflow.audit.claims.claim import judge
from rodflow.store.results import DISCRETE, StoredRun
from synthetic_results import run_in_memory

RATES = (8e-4, 4e-4, 2e-4, 1e-4)
Distance = Callable[[float], float]


def first_order(rate: float) -> float:
    return 40 * rate


def write(
    rate: float,
    distance: float,
    optimizer: str = "adam",
    sweep: str = "decays",
    onset: float = np.nan,
    at_onset: float = 0.1,
    loss: float = 1.0,
    diverged: str = "",
) -> StoredRun:
    """A run with this last tracking error.

    Args:
        rate, distance: learning rate and last tracking error.
        optimizer, sweep: of which series.
        onset: when it reaches its threshold.
        at_onset: tracking error there, over the last one.
        loss: of the flow at the end, over that of the run.
        diverged: the process that diverged.
    """
    errors = [[np.nan, np.nan], [at_onset * distance, distance]]
    status = ["diverged at step 99" if p == diverged else "completed" for p in (DISCRETE, FLOW)]
    comparison = xr.Dataset(
        {
            "tracking_error": (("process", "snapshot"), errors),
            "error_last": ("process", [np.nan, distance]),
            "onset": ("process", [onset, np.nan]),
            "status": ("process", status),
        },
        {"process": [DISCRETE, FLOW], "snapshot": [90, 200]},
    )
    series = {
        process: xr.Dataset({"loss": ("step", [0.5, 0.1 * end])}, {"step": [0, 200]})
        for process, end in ((DISCRETE, 1.0), (FLOW, loss))
    }
    path = f"sweeps/{sweep}/learning_rate={rate:g}/mlp/{optimizer}/seed0"
    return run_in_memory(path, comparison, series, learning_rate=rate)


def write_series(distance: Distance, *of: str) -> list[StoredRun]:
    return [write(rate, distance(rate), *of) for rate in RATES]


def verdicts(runs: list[StoredRun]) -> dict[str, str]:
    return {j.claim.id: j.verdict for j in judge([], CLAIMS, drawn={"adam_continuous": runs})}


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_a_first_order_series_below_the_edge_agrees(optimizer: str) -> None:
    found = verdicts(write_series(first_order, optimizer))
    assert found[f"{optimizer}-continuous-order"] == "reproduced"
    assert found["adam-continuous-weights"] == found["adam-continuous-loss"] == "reproduced"
    assert found["adam-continuous-departs"] == "not reached"
    (other,) = {"adam", "adamw"} - {optimizer}
    assert found[f"{other}-continuous-order"] == "not reached"


@pytest.mark.parametrize("power", [0.8, 1.2])
def test_another_order_fails(power: float) -> None:
    runs = write_series(lambda rate: first_order(1e-4) * (rate / 1e-4) ** power)
    assert verdicts(runs)["adam-continuous-order"] == "not reproduced"


def test_one_series_of_another_order_is_enough_to_fail() -> None:
    runs = write_series(first_order)
    more = write_series(lambda rate: rate**2, "adam", "memories")
    assert verdicts([*runs, *more])["adam-continuous-order"] == "not reproduced"


def test_a_distance_of_more_than_a_hundredth_at_the_smallest_rate_fails() -> None:
    runs = write_series(lambda rate: 110 * rate)
    found = verdicts(runs)
    assert found["adam-continuous-order"] == "reproduced"
    assert found["adam-continuous-weights"] == "not reproduced"


@pytest.mark.parametrize(("at", "verdict"), [(0, "reproduced"), (3, "not reproduced")])
def test_the_loss_is_judged_at_the_smallest_rate(at: int, verdict: str) -> None:
    runs = [
        write(rate, first_order(rate), loss=1.02 if k == at else 1.005)
        for k, rate in enumerate(RATES)
    ]
    assert verdicts(runs)["adam-continuous-loss"] == verdict


def test_a_flow_that_diverges_below_the_edge_fails() -> None:
    runs = write_series(first_order)[:-1]
    runs.append(write(1e-4, first_order(1e-4), diverged=FLOW))
    found = verdicts(runs)
    assert found["adam-continuous-weights"] == found["adam-continuous-loss"] == "not reproduced"


def test_a_run_at_its_threshold_is_asked_for_its_departure_alone() -> None:
    run = write(1e-3, 0.3, onset=90)
    found = verdicts([run])
    assert found.pop("adam-continuous-departs") == "reproduced"
    assert {*found.values()} == {"not reached"}


def test_a_run_that_stays_with_the_flow_at_its_threshold_fails() -> None:
    run = write(1e-3, 0.3, onset=90, at_onset=0.5)
    assert verdicts([run])["adam-continuous-departs"] == "not reproduced"


def test_a_run_at_its_threshold_from_the_start_on_says_nothing() -> None:
    run = write(1e-3, 0.3, onset=20)
    assert verdicts([run])["adam-continuous-departs"] == "not reached"


def test_a_run_without_the_flow_or_that_diverged_says_nothing() -> None:
    plain = write(1e-3, 0.3)
    plain.take("comparison", plain.comparison.sel(process=[DISCRETE]))
    lost = write(1e-3, 0.3, diverged=DISCRETE)
    assert {*verdicts([plain, lost]).values()} == {"not reached"}
