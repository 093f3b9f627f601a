"""When a run reaches its threshold."""

import numpy as np
import pytest

from rodflow.config.settings import resolve
from rodflow.problem.labelled import load
from rodflow.stages.onset import crossing, onset
from rodflow.stages.sharpness import sharpness
from rodflow.stages.training import discrete_run


def test_the_crossing_is_linear_between_two_looks() -> None:
    steps = np.array([10, 20, 30, 40])
    assert crossing(steps, np.array([0.5, 0.9, 1.1, 0.8])) == pytest.approx(25.0)


def test_a_ratio_that_stays_below_has_no_crossing() -> None:
    assert crossing(np.array([10, 20]), np.array([0.5, np.nan])) is None


def test_a_ratio_that_begins_above_crosses_at_the_first_look() -> None:
    assert crossing(np.array([10, 20]), np.array([1.5, 0.5])) == 10.0


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.02, 0.2])
def test_it_is_where_the_sharpness_along_the_whole_run_reaches_the_threshold(rate: float) -> None:
    config = {
        "name": "small",
        "dataset": {"name": "digits", "samples": 60},
        "models": {"mlp": {"kind": "mlp", "hidden": [8]}},
        "optimizers": {"gd": {"learning_rate": rate, "start": 5, "steps": 150}},
        "snapshots": {"every": 5},
    }
    experiment = resolve(config)
    settings = experiment.runs[0].settings
    data = load(experiment.dataset)
    found = onset(data, settings)
    whole = sharpness(
        data, discrete_run(data, settings), settings, count=3, tolerance=1e-3, every=1
    )["sharpness_over_threshold"].sel(snapshot=slice(5, None))
    expected = crossing(whole["snapshot"].values, whole.values)
    assert found.step == (None if expected is None else pytest.approx(expected, abs=0.5))
    assert found.status == "completed"
    assert (found.highest is not None) and ((found.highest >= 1) == (found.step is not None))
