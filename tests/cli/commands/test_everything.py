"""What `rodflow everything` says of its experiments before and while it runs them."""

import os
from pathlib import Path

import pytest

from rodflow.cli.commands import everything

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without results."""
    monkeypatch.chdir(tmp_path)


def planned(*names: str) -> list[everything.Planned]:
    found, _ = everything.experiments(
        [REPOSITORY / "config" / f"{name}.yaml" for name in names], []
    )
    return found


def test_a_small_experiment_costs_what_its_files_do_at_least() -> None:
    (one,) = planned("language-model")
    assert one.cost >= everything.SECONDS_OF_A_FILE * one.files[1]


def test_the_quickest_experiment_comes_first() -> None:
    assert [one.experiment.name for one in planned("minibatch", "normalised")] == [
        "normalised",
        "minibatch",
    ]


def make_files(one: everything.Planned, when: float) -> None:
    """All files of an experiment, made at some time."""
    for path in one.expected:
        file = Path("results", one.experiment.name, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (when, when))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Both clocks stand at what is written here."""
    now = {"monotonic": 0.0, "time": 1e9}
    for name in now:
        monkeypatch.setattr(everything.time, name, lambda name=name: now[name])
    return now


def test_the_time_left_follows_from_the_share_of_the_work_that_is_done(
    clock: dict[str, float],
) -> None:
    one, other = planned("lee2026", "normalised")
    watch = everything.Watch([one, other])
    make_files(one, clock["time"] + 300)
    clock["monotonic"] = 600.0
    left = 600 * other.cost / one.cost
    assert watch.line(1).endswith(f"about {everything.words(left)} left")


def test_files_of_an_earlier_call_are_no_measure_of_speed(clock: dict[str, float]) -> None:
    one, other = planned("lee2026", "normalised")
    make_files(one, clock["time"] - 300)
    watch = everything.Watch([one, other])
    clock["monotonic"] = 600.0
    assert "left" not in watch.line(1)
