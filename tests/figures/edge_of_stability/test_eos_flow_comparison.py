"""Gradient descent against gradient flow: a column a step size, time in units of it, onset and errors written."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from drawn import lines, rows_of, words
from figures.edge_of_stability.test_eos_gd import calm, write_edge_run
from rodflow.figures.core.style import Drawing, error_words
from rodflow.figures.edge_of_stability import eos_flow_comparison as comparison
from rodflow.store.results import StoredRun
from synthetic_results import START, STEPS, make_run

CURVES = {
    "tracking_error": ["stable"],
    "sharpness_over_threshold": ["discrete", "stable"],
    "loss": ["discrete", "stable"],
}
STABLE = ("stable",)


def never(numbers: xr.Dataset) -> xr.Dataset:
    """A comparison of a run that stays below the threshold."""
    return calm(numbers).assign(onset=numbers["onset"] * np.nan)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Two step sizes, one that diverged, one that never gets to the threshold, and one without a flow."""
    root = tmp_path_factory.mktemp("flow")
    return [
        write_edge_run(root, 0.1, flows=STABLE),
        write_edge_run(root, 0.05, flows=STABLE),
        write_edge_run(root, 0.2, flows=STABLE, diverged={"discrete": 133}),
        write_edge_run(root, 0.01, flows=STABLE, compared=never),
        write_edge_run(root, 0.3),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return comparison.draw(runs)


def columns(drawing: Drawing) -> dict[str, list[Axes]]:
    axes = drawing.figure.axes
    found = [axes[first : first + 3] for first in range(0, len(axes), 3)]
    return {column[0].get_title().split(" = ")[1]: column for column in found}


def test_columns_are_step_sizes_in_order_of_runs_that_have_the_flow(drawing: Drawing) -> None:
    assert [*columns(drawing)] == ["0.01", "0.05", "0.1", "0.2"]


def test_several_criteria_are_named_in_columns_and_table(tmp_path: Path) -> None:
    drawing = comparison.draw(
        [
            write_edge_run(tmp_path, 0.1, flows=STABLE),
            write_edge_run(tmp_path, 0.1, criterion="cross_entropy", flows=STABLE),
        ]
    )
    titles = [axes.get_title() for axes in drawing.figure.axes[::3]]
    assert titles == [
        "tanh,\nsquared error\n$\\eta$ = 0.1",
        "tanh,\ncross-entropy\n$\\eta$ = 0.1",
    ]
    names = {*drawing.table["quantity"]}
    assert {f"loss[learning_rate=0.1 criterion={c}]" for c in ("mse", "cross_entropy")} <= names


def test_the_table_holds_exactly_what_is_drawn(drawing: Drawing) -> None:
    drawn = 0
    for size, column in columns(drawing).items():
        for axes, (quantity, processes) in zip(column, CURVES.items(), strict=True):
            for process in processes:
                (line,) = lines(axes, process)
                rows = rows_of(drawing.table, process, f"{quantity}[learning_rate={size}]")
                time = float(size) * (rows["step"].to_numpy(float) - START)
                np.testing.assert_allclose(line.get_xdata(), time)
                np.testing.assert_array_equal(line.get_ydata(), rows["value"])
                drawn += len(rows)
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_the_onset_is_marked_in_time_units(drawing: Drawing, runs: list[StoredRun]) -> None:
    onset = runs[0].comparison["onset"].sel(process="discrete").item()
    for axes in columns(drawing)["0.1"]:
        (line,) = lines(axes, "onset")
        assert line.get_xdata()[0] == pytest.approx(0.1 * (onset - START))


def test_errors_at_the_onset_and_at_the_end_are_written(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    numbers = runs[0].comparison
    error = numbers["tracking_error"].sel(process="stable")
    onset = numbers["onset"].sel(process="discrete").item()
    expected = [error.sel(snapshot=onset).item(), error.sel(snapshot=STEPS).item()]
    written = [text.get_text() for text in columns(drawing)["0.1"][0].texts]
    assert f"{error_words(expected[0])} at the onset" in written
    assert f"{error_words(expected[1])} at the end" in written


def test_a_diverged_run_is_said_in_words(drawing: Drawing) -> None:
    written = [text.get_text() for text in columns(drawing)["0.2"][2].texts]
    assert written == ["diverged at step 133", "gradient descent"]


def test_a_run_below_its_threshold_is_said_in_words_and_has_no_onset(drawing: Drawing) -> None:
    column = columns(drawing)["0.01"]
    assert "threshold not reached" in [text.get_text() for text in column[0].texts]
    assert not [*lines(column[0], "onset")]


def test_a_run_that_diverged_before_its_flow_began_is_drawn_all_the_same(tmp_path: Path) -> None:
    drawing = comparison.draw(
        [write_edge_run(tmp_path, 0.1, flows=STABLE, diverged={"discrete": 5})]
    )
    assert "diverged at step 5" in words(drawing)


def test_without_the_flow_one_line_says_what_to_do(tmp_path: Path) -> None:
    adam = make_run(tmp_path, "adam", flows=STABLE, replicas=None, replays={})
    with pytest.raises(comparison.FlowError, match="add stable to its flows") as error:
        comparison.draw([adam])
    assert "\n" not in str(error.value)


def test_seeds_share_a_column(tmp_path: Path) -> None:
    seeds = [write_edge_run(tmp_path, 0.1, flows=STABLE, seed=seed) for seed in (0, 1)]
    (column,) = columns(comparison.draw(seeds)).values()
    assert len([*lines(column[0], "stable")]) == 2
