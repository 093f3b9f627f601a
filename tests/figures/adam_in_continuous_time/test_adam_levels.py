"""Losses against C(b1, b2): a mark a run, those of one level curve above one another."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from drawn import words
from rodflow.analysis.adam_bound import condition
from rodflow.figures.adam_in_continuous_time import adam_levels
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import make_run

LEVEL, SECOND = 0.2, (0.9, 0.95, 0.98)


def with_test_loss(numbers: xr.Dataset) -> xr.Dataset:
    """A comparison with a test loss."""
    return numbers.assign(test_loss=numbers["sharpness_over_threshold"] * 0 + 0.5)


def write(
    root: Path, b2: float, seed: int = 0, diverged: dict[str, int] | None = None
) -> StoredRun:
    decays = {"b1": 2 / (2 + LEVEL + (1 - b2) / b2), "b2": b2}
    return make_run(
        root / f"{b2}", "adam", "mlp", seed, flows=(), replicas=None, replays={},
        hyperparameters=decays, compared=with_test_loss, diverged=diverged,
    )  # fmt: skip


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    root = tmp_path_factory.mktemp("levels")
    lost = write(root, 0.9, seed=2, diverged={"discrete": 133})
    return adam_levels.draw([*(write(root, b2) for b2 in SECOND), write(root, 0.9, seed=1), lost])


def test_marks_of_one_level_curve_lie_at_its_c_and_seeds_share_a_colour(drawing: Drawing) -> None:
    left, right = drawing.figure.axes
    for axes in (left, right):
        marks = axes.get_lines()
        places = [float(np.asarray(mark.get_xdata())[0]) for mark in marks]
        assert places == pytest.approx([LEVEL] * 4, abs=0.02)
        assert marks[0].get_color() == marks[3].get_color() != marks[1].get_color()


def test_what_is_drawn_is_in_the_table_and_what_diverged_is_not(drawing: Drawing) -> None:
    table = drawing.table
    losses = table[table["quantity"].str.startswith("test_loss[")]
    assert losses["value"].tolist() == [0.5] * 4
    assert set(losses["seed"]) == {0, 1}
    level = table[table["quantity"].str.startswith("C[")]["value"]
    assert level.to_numpy() == pytest.approx(LEVEL)


def test_the_key_names_the_second_decay(drawing: Drawing) -> None:
    assert {rf"$\beta_2$ = {b2:g}" for b2 in SECOND} <= {*words(drawing)}


def test_the_axis_is_the_condition_of_the_bound() -> None:
    assert condition(2 / (2 + LEVEL), 1.0) == pytest.approx(LEVEL)
