"""Single iterates: what is drawn is what is stored, phases are counted, absences are in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import synthetic_results
from drawn import assert_drawn, rows_of, words
from rodflow.figures.core.style import Drawing
from rodflow.figures.rod_flow import iterates
from rodflow.store.results import StoredRun
from synthetic_results import RESTART, STEPS, make_run


def run_with(root: Path, optimizer: str = "gd", **of_iterates: Any) -> StoredRun:
    """A run with such iterates; "model" and "seed" say which."""
    which = {key: of_iterates.pop(key) for key in ("model", "seed") if key in of_iterates}
    replays = {"iterates": synthetic_results.iterates(**of_iterates)}
    return make_run(root, optimizer, flows=("rod_unit_step",), replays=replays, **which)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("results")
    return [run_with(root), run_with(root, "adam", flip=150)]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return iterates.draw(runs)


def test_oscillation_has_no_slope_and_no_curvature_of_a_slow_path() -> None:
    steps = np.arange(20)
    np.testing.assert_allclose(iterates.oscillation(3.0 * steps + 1), 0, atol=1e-12)
    found = iterates.oscillation(3.0 * steps + 0.5 * (-1.0) ** steps)
    np.testing.assert_allclose(found, 0.5 * (-1.0) ** steps[1:-1])
    assert iterates.oscillation(np.ones(1)).size == 0


def test_phase_is_compared_where_there_is_an_oscillation() -> None:
    steps = np.arange(42)
    actual = np.where(steps < 21, 1.0, 1e-6) * (-1.0) ** steps
    predicted = (-1.0) ** steps
    assert iterates.steps_in_phase(actual, predicted, 1e-3) == (21, 21)
    assert iterates.steps_in_phase(actual, -predicted, 1e-3) == (0, 21)
    assert iterates.steps_in_phase(actual, predicted, 1e-9) == (40, 40)
    assert iterates.steps_in_phase(actual, predicted, 2.0) == (0, 0)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ([0.01, 0.05, 0.051, 0.01], 2),
        ([0.01, 0.02], 2),
        ([0.06], 0),
        ([0.01, np.nan, 0.01], 1),
        ([], 0),
    ],
)
def test_steps_are_predicted_until_the_error_is_first_above(
    error: list[float], expected: int
) -> None:
    assert iterates.steps_predicted(np.array(error)) == expected


def test_every_point_is_stored_and_in_the_table(runs: list[StoredRun], drawing: Drawing) -> None:
    rows = np.reshape(np.array(drawing.figure.axes, object), (-1, 3))
    for run, row in zip(runs, rows, strict=True):
        table = drawing.table[drawing.table["optimizer"] == run.optimizer]
        first = run.iterates.isel(step=slice(0, 40))
        last = run.iterates.isel(step=slice(-40, None))
        looks = (("discrete", "actual"), ("rod_unit_step", "predicted"))
        for name, window, axes in (("first", first, row[0]), ("last", last, row[1])):
            for line, (process, quantity) in zip(axes.lines, looks, strict=True):
                here = rows_of(table, process, f"{quantity}_{name}")
                assert_drawn(line, here)
                np.testing.assert_array_equal(here["step"], window["step"])
                np.testing.assert_array_equal(here["value"], window[quantity])
        error, length, limit, chance = row[2].lines
        here = rows_of(table, "rod_unit_step", "iterate_error")
        np.testing.assert_array_equal(error.get_ydata(), here["value"])
        np.testing.assert_array_equal(here["value"], run.iterates["iterate_error"])
        here = rows_of(table, "rod_unit_step", "rod_length_over_first")
        np.testing.assert_array_equal(length.get_ydata(), here["value"])
        assert here["value"].iloc[0] == 1 and limit.get_ydata()[0] == 0.05
        assert chance.get_ydata()[0] == 1
    assert (drawing.table["unit"] == "1").all()


def test_phase_and_predicted_steps_are_counted(drawing: Drawing) -> None:
    table = drawing.table.set_index(["optimizer", "quantity"])["value"]
    assert table["gd", "steps_predicted"] == STEPS - RESTART + 1
    assert table["adam", "steps_predicted"] == 150 - RESTART
    for optimizer in ("gd", "adam"):
        assert table[optimizer, "steps_compared_last"] == 38
        assert table[optimizer, "steps_in_phase_first"] == 38
    assert table["gd", "steps_in_phase_last"] == 38 and table["adam", "steps_in_phase_last"] == 0
    text = "\n".join(words(drawing))
    assert text.count("in phase: 38 of 38") == 3 and text.count("in phase: 0 of 38") == 1
    assert "within 5% for 121 of 121 steps" in text and "within 5% for 70 of 121 steps" in text
    assert "from step 80,\nat 1.07 of threshold" in text


def test_runs_that_have_nothing_to_show_say_why(tmp_path: Path) -> None:
    below = "not started: below the threshold (0.43 of it)"
    runs = [
        run_with(tmp_path, status=below),
        make_run(tmp_path, "nesterov", flows=(), diverged={"discrete": 120}, replays={}),
        run_with(tmp_path, "adam", status="diverged at step 151", last=150),
    ]
    drawing = iterates.draw(runs)
    drawing.figure.draw_without_rendering()
    text = "\n".join(words(drawing))
    assert below in text and "no iterates stored" in text
    assert "discrete run diverged at step 120" in text
    assert "diverged at step 151" in text
    assert {*drawing.table["optimizer"]} == {"adam"}
    assert drawing.table["step"].max() == 150


def test_no_panel_covers_the_words_of_a_run_that_has_nothing_to_show(tmp_path: Path) -> None:
    long = "not started: threshold not reached (0.87 of it at most)"
    drawing = iterates.draw(
        [run_with(tmp_path), run_with(tmp_path, "heavy_ball", status=long, last=0)]
    )
    drawing.figure.draw_without_rendering()
    panels = drawing.figure.axes
    place, text = next((a, t) for a in panels for t in a.texts if t.get_text() == long)
    covering = [
        panel
        for panel in panels
        if panel is not place
        and panel.patch.get_visible()
        and panel.get_window_extent().overlaps(text.get_window_extent())
    ]
    assert not covering


def test_few_steps_are_drawn_in_both_windows(tmp_path: Path) -> None:
    run = run_with(tmp_path, status="diverged at step 81", last=RESTART)
    drawing = iterates.draw([run])
    drawing.figure.draw_without_rendering()
    assert "no oscillation left" in words(drawing)
    table = drawing.table.set_index("quantity")["value"]
    assert table["steps_compared_first"] == table["steps_compared_last"] == 0


@pytest.mark.slow
def test_models_and_seeds_have_rows_of_their_own(tmp_path: Path) -> None:
    chosen = [("mlp", 0), ("mlp", 1), ("cnn", 0), ("cnn", 1)]
    runs = [run_with(tmp_path, model=model, seed=seed) for model, seed in chosen]
    drawing = iterates.draw(runs)
    assert len(drawing.figure.axes) == 12
    text = "\n".join(words(drawing))
    assert text.count("MLP") == text.count("CNN") == text.count("seed 1") == 2


def test_axes_are_named(drawing: Drawing) -> None:
    axes = drawing.figure.axes
    assert all(panel.get_title() for panel in axes[:3])
    assert all(panel.get_xlabel() == "optimizer step" for panel in axes[-3:])
