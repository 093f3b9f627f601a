"""The rod's anatomy: alignments in the right coordinates, losses over the centre's, failures in words."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import synthetic_results
from drawn import assert_drawn, lines, panels, rows_of, words
from rodflow.figures.core.style import Drawing
from rodflow.figures.rod_flow import rod_anatomy
from rodflow.store.results import StoredRun
from synthetic_results import write_run

RODS = ("rod", "rod_unit_step")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("results")
    return [write_run(root, name, replays={}) for name in ("gd", "adam")]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return rod_anatomy.draw(runs)


def test_the_cosine_is_the_root_of_the_part_of_the_squared_rod(tmp_path: Path) -> None:
    def half(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.assign(rod_in_span=0.25 + 0 * data["snapshot"])

    run = write_run(tmp_path, "adam", flows=("rod", "stable"), replays={}, measured=half)
    found = rod_anatomy.alignment(run, "rod")
    assert found is not None
    np.testing.assert_allclose(found, 0.5)
    assert found["snapshot"].min() >= run.settings["start"]


def test_a_process_without_rods_has_no_cosine(tmp_path: Path) -> None:
    run = write_run(tmp_path, "adam", flows=("stable",), replays={})
    assert rod_anatomy.alignment(run, "stable") is None


def test_every_line_is_in_the_table(runs: list[StoredRun], drawing: Drawing) -> None:
    drawn = 0
    for run, row in zip(runs, panels(drawing), strict=True):
        table = drawing.table[drawing.table["optimizer"] == run.optimizer]
        for process in ("discrete", *RODS):
            ends = ("even", "odd") if process == "discrete" else ("plus", "minus")
            names = {f"{process} alignment": 1, f"{process} alignment_short": 1, process: 0}
            names |= {f"{process} loss_{end}_over_centre": 2 for end in ends}
            for label, column in names.items():
                (line,) = lines(row[column], label)
                quantity = label.partition(" ")[2] or "rod_length"
                here = rows_of(table, process, quantity)
                drawn += assert_drawn(line, here)
        (level,) = lines(row[0], "long rod")
        here = rows_of(table, "discrete", "long_rod")["value"]
        assert level.get_ydata()[0] == here.item() == pytest.approx(0.01)
    medians = drawing.table["quantity"] == "alignment_median"
    assert drawn + medians.sum() + len(runs) == len(drawing.table)


def test_only_long_rods_count_and_they_are_aligned(drawing: Drawing) -> None:
    table = drawing.table.set_index("quantity")
    for quantity, expected in {
        "alignment": 1.0,
        "alignment_median": 1.0,
        "alignment_short": 0.0,
    }.items():
        np.testing.assert_allclose(table.loc[quantity, "value"], expected, atol=1e-6)
    assert synthetic_results.is_open(table.loc["alignment", "step"].to_numpy(int)).all()
    assert not synthetic_results.is_open(table.loc["alignment_short", "step"].to_numpy(int)).any()
    assert table.loc[["alignment", "alignment_short"], "step"].min() == 100  # the onset
    assert words(drawing).count("1.00") == 6


def test_losses_are_over_the_centre_at_the_same_step(runs: list[StoredRun]) -> None:
    found = rod_anatomy.loss_ratios(runs[0])
    unit_step, discrete = runs[0].series("rod_unit_step"), runs[0].series("discrete")
    for name, remainder in {"even": 0, "odd": 1}.items():
        values = found["discrete", f"loss_{name}_over_centre"]
        assert (values["step"] % 2 == remainder).all() and values["step"].min() in (20, 21)
        expected = discrete["loss"].sel(step=values["step"]) / unit_step["loss"].sel(
            step=values["step"]
        )
        np.testing.assert_array_equal(values, expected)
    for process in RODS:
        series = runs[0].series(process)
        for end in ("plus", "minus"):
            expected = series[f"loss_{end}"] / series["loss"]
            np.testing.assert_array_equal(found[process, f"loss_{end}_over_centre"], expected)
    assert len(found) == 6


def test_the_reference_is_the_ode_where_there_is_no_unit_step(tmp_path: Path) -> None:
    run = write_run(tmp_path, flows=("stable", "rod"), replays={})
    even = rod_anatomy.loss_ratios(run)["discrete", "loss_even_over_centre"]
    expected = run.series("discrete")["loss"].sel(step=40) / run.series("rod")["loss"].sel(step=40)
    assert float(even.sel(step=40)) == float(expected)


def test_what_is_not_stored_is_named(tmp_path: Path) -> None:
    def without_rods(process: str, data: xr.Dataset) -> xr.Dataset:
        return data.drop_vars(["rod_length", "half_extent"], errors="ignore")

    run = write_run(tmp_path, flows=("stable",), replays={}, change=without_rods)
    drawing = rod_anatomy.draw([run])
    for what in ("rod length", "half-extent", "loss at rod ends"):
        assert f"no {what} stored" in words(drawing)
    assert drawing.table.empty


@pytest.mark.slow
def test_a_diverged_rod_is_said_and_ends_in_a_cross(tmp_path: Path) -> None:
    run = write_run(tmp_path, diverged={"rod": 133}, replays={})
    drawing = rod_anatomy.draw([run])
    assert "rod flow diverged at step 133" in words(drawing)
    axes = drawing.figure.axes[0]
    (cross,), (curve,) = lines(axes, "rod diverged"), lines(axes, "rod")
    assert cross.get_xdata()[0] == curve.get_xdata()[-1] < 133
    low, high = axes.get_ylim()
    assert low <= cross.get_ydata()[0] <= high


def test_no_weights_are_kept_in_memory(runs: list[StoredRun], drawing: Drawing) -> None:
    run = runs[0]
    assert run._read and not [d for d in run._read.values() if "parameter" in d.dims]


def test_axes_are_named(drawing: Drawing) -> None:
    row = panels(drawing)
    assert all(axes.get_title() for axes in row[0])
    assert all(axes.get_xlabel() == "optimizer step" for axes in row[-1])
