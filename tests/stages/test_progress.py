"""The line that says how far a job is."""

import pytest

from rodflow.stages import progress
from rodflow.stages.progress import Clock, words


@pytest.fixture
def seconds(monkeypatch):
    """A function that lets time pass."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])

    def let_pass(time):
        now[0] += time

    return let_pass


def test_the_time_left_is_estimated_without_loading_and_compiling(seconds, capsys):
    clock = Clock("discrete", 1000)
    seconds(100)  # before the first step
    clock(100, 0.5)
    seconds(10)
    clock(300, 0.25)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "discrete: step 100 of 1000, loss 0.5, 100 s"
    # 200 steps took 10 s, so that 700 take 35.
    assert second == "discrete: step 300 of 1000, loss 0.25, 110 s, about 35 s left"


def test_lines_are_some_seconds_apart_but_for_the_last(seconds, capsys):
    clock = Clock("flow", 10)
    for step in range(11):
        seconds(1)
        clock(step, 1.0)
    steps = [line.split(",")[0] for line in capsys.readouterr().err.splitlines()]
    assert steps == ["flow: step 5 of 10", "flow: step 10 of 10"]


def test_what_a_killed_job_spent_counts(seconds, capsys):
    clock = Clock("flow", 10)
    clock.tell("continues at step 5", 30)
    seconds(2)
    assert clock.elapsed == 32
    assert capsys.readouterr().err == "flow: continues at step 5\n"


@pytest.mark.parametrize(
    ("time", "said"), [(3.4, "3 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")]
)
def test_a_span_of_time_in_words(time, said):
    assert words(time) == said
