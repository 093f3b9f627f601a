"""Levels against the batch size: what is drawn of run and models, seeds, what is not settled, what diverged."""

import numpy as np
import pytest

from drawn import assert_drawn, lines, rows_of, words
from minibatch_runs import run, seeds
from rodflow.figures.core.style import Drawing, process_marker
from rodflow.figures.minibatches.minibatch_levels import draw
from rodflow.store.results import StoredRun

LEVELS = {10: 0.6, 100: 0.9}


@pytest.fixture(scope="module")
def runs() -> list[StoredRun]:
    """The full batch first, as the base of a sweep, of two optimizers."""
    found = seeds(batch=None, level=1.0, modelled=0.98) + seeds("adam", None)
    for size, level in LEVELS.items():
        found += seeds(batch=size, level=level, modelled=1.05 * level)
        found += seeds("adam", size, level=level / 2)
    return found


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return draw(runs)


def test_there_is_a_row_an_optimizer_with_levels_sharpness_and_loss(drawing: Drawing) -> None:
    drawing.figure.draw_without_rendering()
    assert len(drawing.figure.axes) == 2 * 3
    assert "gradient descent" in words(drawing) or "GD" in "\n".join(words(drawing))


@pytest.mark.parametrize("process", ["discrete", "pair", "kicked_rod"])
def test_levels_are_means_over_seeds_at_their_batch_size(
    runs: list[StoredRun], drawing: Drawing, process: str
) -> None:
    (line,) = lines(drawing.figure.axes[0], f"{process} levels")
    stored = {
        size: np.mean(
            [
                float(one.comparison["late_mean"].sel(process=process))
                for one in runs
                if (one.optimizer, one.settings["batch_size"]) == ("gd", size)
            ]
        )
        for size in LEVELS
    }
    np.testing.assert_allclose(line.get_ydata()[:2], [*stored.values()])
    for size, value in stored.items():
        rows = rows_of(drawing.table, process, f"level[batch_size={size}]")
        assert rows[rows["optimizer"] == "gd"]["value"].item() == pytest.approx(value)


def test_the_full_batch_joins_the_rod_flow(drawing: Drawing) -> None:
    (level,) = lines(drawing.figure.axes[0], "rod_unit_step levels")
    assert level.get_xdata()[-1] == 1000
    assert level.get_ydata()[-1] == pytest.approx(0.98, abs=0.02)
    (along,) = lines(
        drawing.figure.axes[1], "rod_unit_step sharpness_over_threshold[batch_size=full]"
    )
    rows = rows_of(drawing.table, "rod_unit_step", "mean_sharpness_over_threshold[batch_size=full]")
    assert_drawn(along, rows[rows["optimizer"] == "gd"])


def test_batch_sharpness_is_drawn_over_the_threshold_without_a_preconditioner(
    drawing: Drawing,
) -> None:
    found = [line.get_ydata()[0] for line in lines(drawing.figure.axes[0], "batch sharpness")]
    assert found == [pytest.approx(1.0)] * 2
    assert not [*lines(drawing.figure.axes[3], "batch sharpness")]


def test_the_loss_of_the_model_is_the_mean_of_its_copies(drawing: Drawing) -> None:
    (line,) = lines(drawing.figure.axes[2], "pair loss[batch_size=10]")
    np.testing.assert_allclose(line.get_ydata(), 0.1)


@pytest.mark.slow
def test_a_level_that_is_not_settled_has_an_open_mark() -> None:
    drawing = draw([*seeds(drift=0.6), *seeds(batch=100)])
    rows = drawing.table
    for size, expected in ((10, 0), (100, 1)):
        assert rows_of(rows, "discrete", f"settled[batch_size={size}]")["value"].item() == expected
    faces = {
        line.get_markerfacecolor()
        for line in drawing.figure.axes[0].lines
        if line.get_marker() == process_marker("discrete")
    }
    assert "white" in faces


def test_one_seed_has_no_bars() -> None:
    drawing = draw([run(batch=10), run(batch=100)])
    assert not drawing.figure.axes[0].containers
    assert not drawing.table["quantity"].str.contains("error").any()


def test_a_model_that_diverges_is_named_and_not_averaged() -> None:
    drawing = draw([*seeds(batch=10), *seeds(batch=100, failed="diverged at step 90")])
    drawing.figure.draw_without_rendering()
    assert any("pair, batch 100: diverged at step 90" in text for text in words(drawing))
    assert rows_of(drawing.table, "pair", "level[batch_size=100]").empty


def test_marks_are_those_of_the_processes_everywhere(drawing: Drawing) -> None:
    found = {line.get_marker() for line in drawing.figure.axes[0].lines} - {"None", "x"}
    assert found == {process_marker(p) for p in ("discrete", "pair", "kicked_rod", "rod_unit_step")}


def test_the_level_of_theory_is_named_above_the_axis() -> None:
    found = seeds("heavy_ball", None, level=0.35) + seeds("heavy_ball", 10, level=0.1)
    drawing = draw(found)
    drawing.figure.draw_without_rendering()
    axes = drawing.figure.axes[0]
    (text,) = (one for one in axes.texts if "(1-" in one.get_text())
    line = axes.transData.transform((0, (1 - 0.9) / (1 + 0.9)))[1]
    assert text.get_window_extent().y0 > line > axes.bbox.y0
