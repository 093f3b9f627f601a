"""Figures: what is drawn is what is tabled, the same bytes every time, failures included."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rodflow import artifact, figures
from rodflow.figures import tracking
from rodflow.figures.style import Drawing, Numbers, process_style, save
from rodflow.figures.style import _spread as spread
from rodflow.results import StoredRun
from synthetic_results import FLOWS, STEPS, write_run

NAMES = list(figures.FIGURES)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Two optimizers, one of them with a stable flow that diverged."""
    root = tmp_path_factory.mktemp("results")
    return [write_run(root, "gd"), write_run(root, "adam", diverged={"stable": 133})]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Two optimizers, two models, two seeds."""
    root = tmp_path_factory.mktemp("many")
    return [
        write_run(root, optimizer, model, seed)
        for optimizer in ("gd", "rmsprop")
        for model in ("mlp", "cnn")
        for seed in (0, 1)
    ]


def draw(name: str, runs: list[StoredRun]) -> Drawing:
    return figures.load(name).draw(runs)


def words(drawing: Drawing) -> list[str]:
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    labels = [
        part.get_text()
        for axes in drawing.figure.axes
        for part in (axes.title, axes.xaxis.label, axes.yaxis.label)
    ]
    legends = [*drawing.figure.legends, *(axes.get_legend() for axes in drawing.figure.axes)]
    keys = [text.get_text() for legend in legends if legend for text in legend.get_texts()]
    return [word for word in [*texts, *labels, *keys] if word]


def lines(axes: Axes, label: str) -> Iterator[Line2D]:
    return (line for line in axes.lines if line.get_label() == label)


def panels(drawing: Drawing) -> np.ndarray:
    return np.reshape(np.array(drawing.figure.axes, object), (-1, 3))


def test_catalogue_imports_no_matplotlib_and_figures_no_jax() -> None:
    code = """
import sys
from rodflow import artifact, figures
assert "matplotlib" not in sys.modules
for name in figures.FIGURES:
    figures.load(name)
assert "jax" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_figure_is_named() -> None:
    with pytest.raises(LookupError, match="no figure 'nothing'; there are tracking"):
        figures.load("nothing")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_a_caption_and_known_needs(name: str) -> None:
    assert (ROOT / "workflow" / "report" / f"{name}.rst").read_text().strip()
    assert {*figures.FIGURES[name].needs} <= {"comparison", "trajectories", "sharpness"}


@pytest.mark.parametrize("name", NAMES)
def test_rendered_twice_gives_the_same_bytes(
    name: str, runs: list[StoredRun], tmp_path: Path
) -> None:
    first = save(draw(name, runs), tmp_path / "a" / name)
    fresh = [StoredRun(run.folder) for run in runs]
    second = save(draw(name, fresh), tmp_path / "b" / name)
    assert [path.suffix for path in first] == [".pdf", ".png", ".csv"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    pdf, png, _ = (path.read_bytes() for path in first)
    assert b"CreationDate" not in pdf
    assert b"tEXt" not in png and len(png) < 2**20
    assert not [*tmp_path.rglob("*.tmp")]


@pytest.mark.parametrize("name", NAMES)
def test_csv_gives_the_table_back_exactly(name: str, runs: list[StoredRun], tmp_path: Path) -> None:
    drawing = draw(name, runs)
    csv = save(drawing, tmp_path / name)[-1]
    table = pd.read_csv(csv, dtype={"step": "Int64", "unit": str})
    assert tuple(table.columns) == Numbers.COLUMNS
    pd.testing.assert_frame_equal(table, drawing.table, check_dtype=False, check_exact=True)
    assert (table["unit"] == "1").all()


def test_settings_of_the_user_change_nothing(runs: list[StoredRun], tmp_path: Path) -> None:
    name = "thresholds"
    plain = save(draw(name, runs), tmp_path / "plain")[1].read_bytes()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 30}):
        changed = save(draw(name, runs), tmp_path / "changed")[1].read_bytes()
    assert plain == changed


def test_tracking_draws_what_its_table_says(runs: list[StoredRun]) -> None:
    drawing = draw("tracking", runs)
    table, drawn = drawing.table, 0
    quantities = ["loss", "sharpness_over_threshold", "tracking_error"]
    for run, row in zip(runs, panels(drawing), strict=True):
        for quantity, axes in zip(quantities, row, strict=True):
            for process in run.processes:
                (line,) = lines(axes, process)
                here = table[
                    (table["optimizer"] == run.optimizer)
                    & (table["process"] == process)
                    & (table["quantity"] == quantity)
                ]
                np.testing.assert_array_equal(line.get_xdata(), here["step"])
                np.testing.assert_array_equal(line.get_ydata(), here["value"])
                drawn += len(here)
    assert drawn == len(table) > 0
    errors = table[table["quantity"] == "tracking_error"]
    assert {*errors["process"]} == {*FLOWS}


def test_tracking_takes_errors_and_sharpness_from_the_comparison(runs: list[StoredRun]) -> None:
    table = draw("tracking", runs).table.query("optimizer == 'gd' and process == 'rod'")
    stored = runs[0].comparison.sel(process="rod")
    for quantity in ("tracking_error", "sharpness_over_threshold"):
        values = stored[quantity].dropna("snapshot")
        here = table[table["quantity"] == quantity]
        np.testing.assert_array_equal(here["step"], values["snapshot"])
        np.testing.assert_array_equal(here["value"], values)


def test_loss_of_iterates_has_no_oscillation(runs: list[StoredRun]) -> None:
    at = runs[0].series("discrete")["loss"]
    averaged = tracking.loss(runs[0], "discrete").dropna("snapshot")
    steps = averaged["snapshot"].values
    expected = (at.sel(step=steps - 1).values + at.sel(step=steps + 1).values) / 4
    np.testing.assert_allclose(averaged, expected + at.sel(step=steps).values / 2, rtol=1e-6)
    rod = runs[0].series("rod").sel(step=steps[steps >= 20])
    ends = tracking.loss(runs[0], "rod").sel(snapshot=steps[steps >= 20])
    np.testing.assert_allclose(ends, (rod["loss_plus"] + rod["loss_minus"]) / 2, rtol=1e-6)
    np.testing.assert_allclose(averaged.sel(snapshot=ends["snapshot"]), ends, rtol=2e-3)


def test_a_diverged_process_is_marked(runs: list[StoredRun]) -> None:
    drawing = draw("tracking", runs)
    whole, diverged = panels(drawing)
    assert "stable flow diverged at step 133" in words(drawing)
    for axes in diverged:
        (cross,) = lines(axes, "stable diverged")
        (curve,) = lines(axes, "stable")
        assert cross.get_marker() == "x"
        assert cross.get_xdata()[0] == curve.get_xdata()[-1] < 133
        low, high = axes.get_ylim()
        assert low <= cross.get_ydata()[0] <= high < 1e3
    assert not any("diverged" in line.get_label() for axes in whole for line in axes.lines)


def test_the_summary_says_what_diverged_instead_of_comparing(runs: list[StoredRun]) -> None:
    drawing = draw("tracking_summary", runs)
    assert {*drawing.table["optimizer"]} == {"gd"}
    assert "stable flow diverged at step 133" in words(drawing)


def test_a_diverged_discrete_run_is_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path, diverged={"discrete": 120})
    for name in NAMES:
        assert any("diverged at step 120" in word for word in words(draw(name, [run])))


def test_flows_that_never_started_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    numbers = run.comparison.copy(deep=True)
    for name in numbers.data_vars:
        if numbers[name].dtype.kind == "f":
            numbers[name] = numbers[name].where(False)
    early = "diverged at step 12"
    numbers["status"] = ("process", [early] + 3 * [f"not started: discrete run {early}"])
    artifact.write(numbers, run.folder / "comparison.nc", kind="comparison")
    for flow in FLOWS:
        none = run.trajectory(flow).isel(step=slice(0), snapshot=slice(0))
        artifact.write(none, run.folder / f"{flow}.nc", kind="trajectory")
    fresh = StoredRun(run.folder)
    for name in NAMES:
        drawing = draw(name, [fresh])
        drawing.figure.draw_without_rendering()
        assert any(early in word for word in words(drawing))
    assert "rod flow not started" in words(draw("tracking", [fresh]))


@pytest.mark.parametrize("flows", [("stable",), ("rod",), ("stable", "rod", "closure")])
def test_flows_may_be_missing_or_new(flows: tuple[str, ...], tmp_path: Path) -> None:
    run = write_run(tmp_path, flows=flows)
    for name in NAMES:
        drawing = draw(name, [run])
        assert {*drawing.table["process"]} <= {"discrete", *flows}
        drawing.figure.draw_without_rendering()


@pytest.mark.parametrize("name", NAMES)
def test_several_models_and_seeds_are_told_apart(name: str, many: list[StoredRun]) -> None:
    drawing = draw(name, many)
    keys = drawing.table[["model", "optimizer", "seed"]].drop_duplicates()
    assert len(keys) == len(many)
    text = "\n".join(words(drawing))
    assert "MLP" in text and "CNN" in text and "RMSProp" in text


def test_thresholds_draws_and_writes_both_numbers(runs: list[StoredRun]) -> None:
    drawing = draw("thresholds", runs)
    (axes,) = drawing.figure.axes
    table = drawing.table.set_index(["optimizer", "quantity"])["value"]
    assert table["adam", "threshold"] == pytest.approx(38)
    drawn = [line.get_xdata()[0] for line in lines(axes, "mean")]
    ratios = [table[run.optimizer, "held_over_threshold"] for run in runs]
    np.testing.assert_array_equal(drawn, ratios)
    for bar, run in zip(lines(axes, "range"), runs, strict=True):
        ends = [table[run.optimizer, f"held_{end}_over_threshold"] for end in ("lowest", "highest")]
        np.testing.assert_array_equal(bar.get_xdata(), ends)
        assert f"{table[run.optimizer, 'held']:.4g}" in words(drawing)
        assert f"{table[run.optimizer, 'threshold']:.4g}" in words(drawing)


def test_summary_draws_what_its_table_says(runs: list[StoredRun]) -> None:
    drawing = draw("tracking_summary", runs)
    (axes,) = drawing.figure.axes
    stored = runs[0].comparison
    for row in drawing.table.itertuples():
        name = row.quantity.removesuffix("_stable_over_flow")
        (mark,) = lines(axes, f"{row.process} {name}")
        expected = stored[name].sel(process="stable") / stored[name].sel(process=row.process)
        assert mark.get_xdata()[0] == row.value == expected.item() > 1
    assert len(drawing.table) == 4
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] < 1


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_units_are_there(name: str, runs: list[StoredRun]) -> None:
    text = "\n".join(words(draw(name, runs)))
    assert "gradient descent" in text and "Adam" in text and "[1]" in text
    if name == "tracking":
        for process in ("discrete", *FLOWS):
            assert process_style(process).label in text
        assert "optimizer step" in text and "onset" in text and "$\\eta$ = 0.1" in text


def test_text_stays_inside_the_figure(runs: list[StoredRun]) -> None:
    for name in NAMES:
        figure = draw(name, runs).figure
        figure.draw_without_rendering()
        for axes in figure.axes:
            for text in axes.texts:
                box = text.get_window_extent()
                assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, (name, text.get_text())
                assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, (name, text.get_text())


def test_steps_are_written_below_rows_that_differ_from_the_next(tmp_path: Path) -> None:
    drawing = draw("tracking", [write_run(tmp_path, name) for name in ("gd", "nesterov")])
    upper, lower = panels(drawing)
    assert upper[0].get_xlim() == lower[0].get_xlim() == (0, STEPS)
    assert not upper[0].xaxis.get_tick_params()["labelbottom"]
    assert lower[0].xaxis.get_tick_params()["labelbottom"]


def test_neighbouring_labels_move_apart_and_keep_their_order() -> None:
    np.testing.assert_allclose(spread(np.array([0.0, 20.0]), 8), [0, 20])
    np.testing.assert_allclose(spread(np.array([10.0, 10.0, 40.0]), 8), [6, 14, 40])
    np.testing.assert_allclose(spread(np.array([0.0, 1.0, 2.0]), 8), [-7, 1, 9])
