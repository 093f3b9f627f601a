"""What tells the runs of a sweep apart."""

from types import SimpleNamespace

import pytest

from rodflow.figures.core.sweeps import by_other_settings, varied, words_of

DROP = {"schedule": "drop", "peak": 0.1, "factor": 0.5, "at": 10}


def run(**hyperparameters):
    settings = {"optimizer": {"name": "sgd", **hyperparameters}, "criterion": "mse"}
    return SimpleNamespace(settings=settings | {"batch_size": None}, model="mlp", optimizer="sgd")


@pytest.mark.parametrize("other", [0.2, DROP | {"peak": 0.2}])
def test_a_rate_that_changes_in_time_tells_runs_apart_like_a_number(other):
    runs = [run(learning_rate=DROP, momentum=0.0), run(learning_rate=other, momentum=0.0)]
    assert varied(runs) == ["learning_rate"]
    assert words_of(runs[0], varied(runs)) == ["learning_rate=drop 0.1"]


def test_runs_are_grouped_by_a_schedule_as_by_a_number():
    rates = [DROP, {**DROP}, 0.2, DROP | {"peak": 0.2}]
    runs = [run(learning_rate=rate, momentum=place) for place, rate in enumerate(rates)]
    assert by_other_settings(runs, "momentum") == [runs[:2], runs[2:3], runs[3:]]


def test_equal_schedules_do_not():
    assert varied([run(learning_rate=DROP), run(learning_rate={**DROP})]) == []
