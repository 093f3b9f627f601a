"""Predictability: the floor is that of the replicas, ratios to it are right, absences are in words."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, rows_of, words
from rodflow.figures.core.style import Drawing, two_digits
from rodflow.figures.rod_flow import predictability
from rodflow.store.results import StoredRun
from synthetic_results import FLOWS, LEVEL, make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("results")
    return [make_run(root, name, replays={}) for name in ("gd", "adam")]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return predictability.draw(runs)


def test_the_floor_is_the_range_and_median_of_the_replicas(runs: list[StoredRun]) -> None:
    found = predictability.floor_range(runs[0])
    assert found is not None
    at = found["snapshot"]
    assert at.min() == 30 and at.max() == 200
    for name, factor in {"lowest": 0.5, "median": 1.0, "highest": 4.0}.items():
        np.testing.assert_allclose(found[f"floor_{name}"], factor * LEVEL * at / 200)


def test_a_replica_that_diverged_counts_where_it_was(tmp_path: Path) -> None:
    def without_last(data: xr.Dataset) -> xr.Dataset:
        data["floor"] = data["floor"].where((data["replica"] != 3) | (data["snapshot"] < 100))
        data["floor_last"] = data["floor_last"].where(data["replica"] != 3)
        return data

    fresh = make_run(tmp_path, compared=without_last, replays={})
    found = predictability.floor_range(fresh)
    assert found is not None and found["snapshot"].max() == 200
    highest = found["floor_highest"] / found["floor_lowest"]
    np.testing.assert_allclose(highest.sel(snapshot=[90, 100, 200]), [8, 4, 4])
    ratios = predictability.over_floor(fresh, "rod")
    error = float(fresh.comparison["error_last"].sel(process="rod"))
    assert ratios is not None and ratios["highest"] == pytest.approx(error / (2 * LEVEL))


def test_ratios_are_of_last_errors(runs: list[StoredRun]) -> None:
    for flow in ("rod", "rod_unit_step"):
        error = float(runs[0].comparison["error_last"].sel(process=flow))
        expected = {"median": error / LEVEL, "highest": error / (4 * LEVEL)}
        expected["lowest"] = error / (0.5 * LEVEL)
        assert predictability.over_floor(runs[0], flow) == pytest.approx(expected)


def test_every_line_is_in_the_table(runs: list[StoredRun], drawing: Drawing) -> None:
    drawn = 0
    for run, axes in zip(runs, drawing.figure.axes[::2], strict=True):
        table = drawing.table[drawing.table["optimizer"] == run.optimizer]
        names = {flow: (flow, "tracking_error") for flow in FLOWS}
        names["floor"] = ("discrete", "floor_median")
        for label, (process, quantity) in names.items():
            (line,) = lines(axes, label)
            here = rows_of(table, process, quantity)
            drawn += assert_drawn(line, here)
        (band,) = axes.collections
        edges = band.get_paths()[0].vertices
        for quantity in ("floor_lowest", "floor_highest"):
            here = rows_of(table, "discrete", quantity)
            points = {*map(tuple, edges)}
            assert {*zip(here["step"].astype(float), here["value"], strict=True)} <= points
            drawn += len(here)
    columns = ["optimizer", "process", "quantity"]
    table = drawing.table.set_index(columns)["value"].sort_index()
    for flow in ("rod", "rod_unit_step"):
        for run, beside in zip(runs, drawing.figure.axes[1::2], strict=True):
            (mark,), (bar,) = lines(beside, f"{flow} median"), lines(beside, f"{flow} range")
            own = table[run.optimizer, flow]
            assert mark.get_xdata()[0] == own["error_last_over_median_floor"]
            ends = [own[f"error_last_over_{end}_floor"] for end in ("highest", "lowest")]
            np.testing.assert_array_equal(bar.get_xdata(), ends)
            assert two_digits(mark.get_xdata()[0]) in words(drawing)
            drawn += 3
    assert drawn == len(drawing.table)


def test_lines_stand_at_the_floor_and_at_twice_of_it(drawing: Drawing) -> None:
    for beside in drawing.figure.axes[1::2]:
        assert beside.get_xscale() == "log"
        for label, value in {"floor": 1, "twice": 2}.items():
            (line,) = lines(beside, label)
            assert [*line.get_xdata()] == [value, value]
            assert label in words(drawing)


def test_ratios_share_an_axis(drawing: Drawing) -> None:
    assert len({axes.get_xlim() for axes in drawing.figure.axes[1::2]}) == 1


def test_a_run_without_replicas_says_so(tmp_path: Path) -> None:
    drawing = predictability.draw([make_run(tmp_path, replicas=None, replays={})])
    drawing.figure.draw_without_rendering()
    assert words(drawing).count("no replicas stored") == 2
    assert {*drawing.table["quantity"]} == {"tracking_error"}
    assert not drawing.figure.axes[0].collections


def test_replicas_that_never_started_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, replicas=np.full(3, np.nan), replays={})
    text = "\n".join(words(predictability.draw([run])))
    assert "no replica started" in text and "no replica reached the end" in text


def test_what_diverged_is_said_and_has_no_mark(tmp_path: Path) -> None:
    run = make_run(tmp_path, diverged={"rod": 133}, replays={})
    drawing = predictability.draw([run])
    axes, summary = drawing.figure.axes
    assert "rod diverged at step 133" in words(drawing)
    assert "rod flow diverged at step 133" in words(drawing)
    assert not [*lines(summary, "rod median")] and [*lines(summary, "rod_unit_step median")]
    (cross,), (curve,) = lines(axes, "rod diverged"), lines(axes, "rod")
    assert cross.get_xdata()[0] == curve.get_xdata()[-1] < 133
    low, high = axes.get_ylim()
    assert low <= cross.get_ydata()[0] <= high < 1e3


def test_a_flow_has_no_mark_where_the_discrete_run_diverged(tmp_path: Path) -> None:
    drawing = predictability.draw([make_run(tmp_path, diverged={"discrete": 120}, replays={})])
    assert "discrete run diverged at step 120" in words(drawing)
    assert not [*lines(drawing.figure.axes[-1], "rod median")]


@pytest.mark.slow
def test_models_have_rows_and_seeds_have_lines_of_their_own(tmp_path: Path) -> None:
    chosen = [("gd", "mlp", 0), ("gd", "cnn", 0), ("rmsprop", "cnn", 0), ("rmsprop", "cnn", 1)]
    runs = [make_run(tmp_path, *run, flows=("rod",), replays={}) for run in chosen]
    drawing = predictability.draw(runs)
    drawing.figure.draw_without_rendering()
    assert len(drawing.figure.axes) == 2 * 3
    *_, beside = drawing.figure.axes
    assert len({mark.get_ydata()[0] for mark in lines(beside, "rod median")}) == 2
    text = " ".join(words(drawing))
    assert "RMSProp" in text and text.count("CNN") == 2 and text.count("MLP") == 1


def test_axes_are_named(drawing: Drawing) -> None:
    first, *_, last, beside = drawing.figure.axes
    assert first.get_title() == "tracking error" and last.get_xlabel() == "optimizer step"
    assert "floor" in beside.get_xlabel()
