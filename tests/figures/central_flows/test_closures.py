"""The figure of the two closures: what is drawn is what is tabled, runs without a closure are left out."""

import numpy as np
import pytest

from drawn import assert_drawn, lines, panels, rows_of, words
from rodflow.figures.central_flows import closures
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import FLOWS, START, make_run

QUANTITIES = ["sharpness_over_threshold", "tracking_error", "rod_length"]
PROCESSES = ["discrete", "rod", "rod_unit_step", "closure"]
CLOSURE = (*FLOWS, "closure")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """One run without a closure, one with, and one whose closure diverged."""
    root = tmp_path_factory.mktemp("results")
    return [
        make_run(root, "heavy_ball", replays={}),
        make_run(root, flows=CLOSURE, replays={}),
        make_run(root, "adam", flows=CLOSURE, diverged={"closure": 133}, replays={}),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return closures.draw(runs)


def test_runs_without_a_closure_are_left_out(drawing: Drawing) -> None:
    assert {*drawing.table["optimizer"]} == {"gd", "adam"}
    assert len(drawing.figure.axes) == 2 * len(QUANTITIES)
    assert {*drawing.table["process"]} == {*PROCESSES}


def test_without_any_closure_one_line_says_what_to_do(runs: list[StoredRun]) -> None:
    with pytest.raises(closures.ClosuresError, match="add closure to its flows") as error:
        closures.draw(runs[:1])
    assert isinstance(error.value, ValueError)
    assert "\n" not in str(error.value)


def test_panels_draw_what_the_table_says(drawing: Drawing, runs: list[StoredRun]) -> None:
    drawn = 0
    for run, row in zip(runs[1:], panels(drawing), strict=True):
        own = drawing.table[drawing.table["optimizer"] == run.optimizer]
        for quantity, axes in zip(QUANTITIES, row, strict=True):
            for process in PROCESSES:
                (line,) = lines(axes, process)
                drawn += assert_drawn(line, rows_of(own, process, quantity))
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_numbers_come_from_the_stored_files(drawing: Drawing, runs: list[StoredRun]) -> None:
    run = runs[1]
    table = drawing.table.query("optimizer == 'gd' and process == 'closure'").set_index("quantity")
    error = run.comparison["tracking_error"].sel(process="closure").dropna("snapshot")
    np.testing.assert_array_equal(table.loc["tracking_error", "value"], error)
    length = run.series("closure")["rod_length"].sel(
        step=table.loc["rod_length", "step"].to_numpy(int)
    )
    np.testing.assert_array_equal(table.loc["rod_length", "value"], length)
    assert table.loc["rod_length", "step"].min() == START
    assert table.loc[["gradients", "hessian_products"], "value"].tolist() == [6, 2]
    for name in ("onset", "error_mean", "error_last"):
        assert table.loc[name, "value"] == run.comparison[name].sel(process="closure").item()


def test_numbers_are_written_beside_the_panels(drawing: Drawing, runs: list[StoredRun]) -> None:
    found = words(drawing)
    onset = runs[1].comparison["onset"].sel(process="closure").item()
    assert {"closure", "8", "4", "6", "2", f"{onset:.0f}"} <= {*found}
    mantissa, exponent = next(w for w in found if w.count("e-") == 1).split("e")
    assert 1 <= float(mantissa) < 10 and int(exponent) < 0


def test_a_diverged_closure_says_so_instead(drawing: Drawing) -> None:
    assert "diverged at step 133" in words(drawing)
    whole = drawing.table.query("optimizer == 'adam' and process == 'closure' and step.isna()")
    assert whole.empty
