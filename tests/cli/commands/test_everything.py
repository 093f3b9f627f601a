"""What `rodflow everything` says of its experiments before and while it runs them."""

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


def test_the_time_left_follows_from_the_share_of_the_work_that_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, other = planned("lee2026", "normalised")
    now = [0.0]
    monkeypatch.setattr(everything.time, "monotonic", lambda: now[0])
    watch = everything.Watch([one, other])
    now[0] = 600.0
    share = one.cost / (one.cost + other.cost)
    assert watch.line(1).endswith(f"about {everything.words(600 * (1 - share) / share)} left")
