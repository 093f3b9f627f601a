"""Tracking error, sharpness and onset against hyperparameters: what was changed decides where a run is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from drawn import words
from rodflow.figures.core.style import Drawing
from rodflow.figures.rod_flow import hyperparameters
from rodflow.store.results import StoredRun
from synthetic_results import make_run

SPECIAL = {"diverged", "seed", "compared"}
BASE = {"learning_rate": 0.005, "b1": 0.9, "b2": 0.99}


def write_changed(root: Path, *, error: float = 1.0, **changed: Any) -> StoredRun:
    """A run of Adam whose settings differ from the base, its errors multiplied by a factor."""
    options: dict[str, Any] = {key: changed.pop(key) for key in SPECIAL & {*changed}}
    folder = root / "-".join(f"{key}={value}" for key, value in {**changed, **options}.items())

    def scaled(numbers: xr.Dataset) -> xr.Dataset:
        for name in ("error_last", "error_mean"):
            numbers[name] = numbers[name] * error
        return numbers

    given = {"compared": scaled, "hyperparameters": BASE | changed} | options
    return make_run(folder, "adam", flows=("stable", "rod_unit_step"), replays={}, **given)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """The base, two learning rates and one decay alone, and one run that differs in both."""
    root = tmp_path_factory.mktemp("sweep")
    return [
        write_changed(root),
        write_changed(root, learning_rate=0.01, error=3),
        write_changed(root, learning_rate=0.0025, error=2),
        write_changed(root, b1=0.5, error=5),
        write_changed(root, b1=0.5, learning_rate=0.01, error=7),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return hyperparameters.draw(runs)


def marks(axes: Axes, label: str) -> np.ndarray:
    (line,) = (line for line in axes.lines if line.get_label() == label)
    return np.asarray(line.get_ydata())


def number(drawing: Drawing, process: str, quantity: str) -> float:
    (value,) = drawing.table.query("process == @process and quantity == @quantity")["value"]
    return float(value)


def test_there_is_one_column_for_each_hyperparameter_that_changes_alone(drawing: Drawing) -> None:
    titles = [axes.get_title() for axes in drawing.figure.axes]
    assert [title for title in titles if "$" in title] == [
        "learning rate $\\eta$",
        "momentum decay $\\beta_1$",
    ]
    ticks = drawing.figure.axes[2].get_xticklabels()
    assert [tick.get_text().split("\n")[0] for tick in ticks] == ["0.0025", "0.005", "0.01"]


def test_marks_are_the_numbers_of_the_comparisons(runs: list[StoredRun], drawing: Drawing) -> None:
    base, high, low, decay, _ = (run.comparison for run in runs)
    errors, sharpness, onset, other, *_ = drawing.figure.axes
    for flow in ("stable", "rod_unit_step"):
        for name in ("error_last", "error_mean"):
            expected = [float(data[name].sel(process=flow)) for data in (low, base, high)]
            np.testing.assert_array_equal(marks(errors, f"{flow} {name}"), expected)
    expected = [float(data["error_last"].sel(process="stable")) for data in (decay, base)]
    np.testing.assert_array_equal(marks(other, "stable error_last"), expected)
    late = [float(data["late_mean"].sel(process="discrete")) for data in (low, base, high)]
    np.testing.assert_array_equal(marks(sharpness, "discrete late_mean"), late)
    bars = [line.get_ydata() for line in sharpness.lines if line.get_label() == "range"]
    ends = [
        [data[f"late_{end}"].values[0] for end in ("lowest", "highest")] for data in (low, base)
    ]
    np.testing.assert_array_equal(bars[:2], ends)
    first = [float(data["onset"].sel(process="rod_unit_step")) for data in (low, base, high)]
    np.testing.assert_array_equal(marks(onset, "rod_unit_step onset"), first)


def test_the_table_names_what_each_run_changes(runs: list[StoredRun], drawing: Drawing) -> None:
    both = runs[-1].comparison["error_last"].sel(process="stable")
    assert number(drawing, "stable", "error_last[learning_rate=0.01 b1=0.5]") == both
    assert number(drawing, "discrete", "threshold[base]") == pytest.approx(
        runs[0].threshold, rel=1e-12
    )
    assert not drawing.table.duplicated(["process", "quantity"]).any()


def test_stable_sharpness_beyond_the_axis_is_a_number(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    late = float(runs[0].comparison["late_mean"].sel(process="stable"))
    assert f"{late:.2g} \u2191" in words(drawing)
    assert late > drawing.figure.axes[1].get_ylim()[1]


def test_pairs_are_maps_with_every_cell_accounted_for(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    error, gain, late = drawing.figure.axes[-3:]
    cells = [text.get_text() for text in error.texts]
    stored = runs[-1].comparison["error_last"].sel(process="rod_unit_step")
    assert len(cells) == 6 and cells.count("no run") == 1
    assert f"{float(stored):.2g}" in cells
    ratio = number(drawing, "rod_unit_step", "error_last_stable_over_flow[base]")
    assert f"{ratio:.2g}" in [text.get_text() for text in gain.texts]
    assert "sharpness / threshold" in late.get_title()


def test_a_run_with_more_changes_is_in_the_table_only(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    far = write_changed(tmp_path, b1=0.5, b2=0.9, learning_rate=0.02)
    drawing = hyperparameters.draw([runs[0], runs[1], far])
    name = "error_last[learning_rate=0.02 b1=0.5 b2=0.9]"
    assert number(drawing, "stable", name) > 0
    assert len(drawing.figure.axes) == 3
    assert any("1 run differs in three or more" in word for word in words(drawing))


def test_a_diverged_process_has_words_instead_of_marks(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    bad = write_changed(tmp_path, b2=0.9, diverged={"stable": 133})
    lost = write_changed(tmp_path, b2=0.5, diverged={"discrete": 120})
    drawing = hyperparameters.draw([runs[0], bad, lost])
    drawing.figure.draw_without_rendering()
    assert "stable diverged\nat step 133" in words(drawing)
    assert "discrete diverged\nat step 120" in words(drawing)
    found = drawing.table["quantity"] + " " + drawing.table["process"]
    assert "error_last[b2=0.9] rod_unit_step" in {*found}
    assert "error_last[b2=0.9] stable" not in {*found}
    assert not any("[b2=0.5]" in word for word in found if "threshold" not in word)


def test_a_threshold_that_was_not_reached_is_stated(runs: list[StoredRun], tmp_path: Path) -> None:
    def below(numbers: xr.Dataset) -> xr.Dataset:
        return numbers.assign(onset=numbers["onset"] * np.nan)

    low = write_changed(tmp_path, learning_rate=0.001, compared=below)
    drawing = hyperparameters.draw([runs[0], low])
    said = [text.get_text() for text in drawing.figure.axes[2].texts]
    assert said.count("threshold\nnot reached") == 3
    assert "onset[learning_rate=0.001]" not in {*drawing.table["quantity"]}


def test_seeds_stand_at_the_same_value(runs: list[StoredRun], tmp_path: Path) -> None:
    other = write_changed(tmp_path, learning_rate=0.01, seed=1)
    drawing = hyperparameters.draw([*runs[:2], other])
    assert len(marks(drawing.figure.axes[0], "stable error_last")) == 3
    assert {*drawing.table["seed"]} == {0, 1}


def test_a_base_alone_is_drawn(runs: list[StoredRun]) -> None:
    drawing = hyperparameters.draw(runs[:1])
    drawing.figure.draw_without_rendering()
    assert number(drawing, "stable", "error_last[base]") > 0


def test_runs_of_another_optimizer_are_left_out(runs: list[StoredRun], tmp_path: Path) -> None:
    drawing = hyperparameters.draw([runs[0], make_run(tmp_path, "gd")])
    assert {*drawing.table["optimizer"]} == {"adam"}
