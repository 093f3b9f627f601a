"""The plane of jumping and motion: coordinates that can be told in advance, failures in words."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rodflow import artifact
from rodflow.figures import weights_plane
from rodflow.figures.style import Drawing, Numbers, save
from rodflow.results import StoredRun
from synthetic_results import FLOWS, STEPS, write_run

FIRST, LAST, CENTRE = 80, 160, 121
JUMP, SPEED, DEPARTURE = 0.05, 0.01, 0.001
ACROSS = np.array([1.0, 1.0, 0.0, 0.0]) / np.sqrt(2)
ASIDE = np.array([0.0, 0.0, 1.0, 0.0])
METRIC = np.array([4.0, 1.0, 9.0, 1.0])
ALONG = np.array([1.0, -4.0, 0.0, 0.0]) / np.sqrt(17)  # ACROSS . METRIC ALONG = 0


def centre(steps: np.ndarray) -> np.ndarray:
    """Where the midpoint is, [step, parameter]."""
    return 3.0 + SPEED * steps[:, None] * ALONG


def write_plane(
    root: Path,
    optimizer: str = "adam",
    *,
    steps: np.ndarray | None = None,
    onset: float = CENTRE,
    status: str = "completed",
    **of_run: object,
) -> StoredRun:
    """A run whose iterates jump by JUMP and whose stable flow passes through at step 80."""
    run = write_run(root, optimizer, **of_run)  # type: ignore[arg-type]
    for process in run.processes:
        data = run.trajectory(process)
        at = data["snapshot"].values
        weights = centre(at)
        if process == "stable":
            weights = weights + DEPARTURE * (at - 80)[:, None] * ASIDE
        new = data.drop_vars("weights").assign(weights=(("snapshot", "parameter"), weights))
        if process.startswith("rod"):
            extent = np.tile(JUMP * ACROSS, (len(at), 1)) * (-1.0) ** (at[:, None] // 10)
            new["half_extent"] = (("snapshot", "parameter"), extent)
            new["rod_length"] = ("step", np.full(data.sizes["step"], JUMP))
        if process == "discrete" and optimizer != "gd":
            moment = np.tile(METRIC**2, (len(at), 1))
            new["second_moment"] = (("snapshot", "parameter"), moment)
        path = run.folder / f"{process}.nc"
        artifact.write(new, path, kind="trajectory", settings=run.settings)
    steps = np.arange(FIRST, LAST + 1) if steps is None else steps
    closeup = xr.Dataset(
        {
            "iterate": (
                ("step", "parameter"),
                centre(steps) + JUMP * (-1.0) ** steps[:, None] * ACROSS,
            ),
            "eigenvector": ("parameter", ACROSS),
        },
        {"step": steps},
        {"onset": onset, "status": status},
    )
    artifact.write(closeup, run.folder / "closeup.nc", kind="closeup", status=status)
    return StoredRun(run.folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return write_plane(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def drawing(run: StoredRun) -> Drawing:
    return weights_plane.draw([run])


def column(drawing: Drawing, process: str, quantity: str) -> pd.Series:
    here = drawing.table.query("process == @process and quantity == @quantity")
    return pd.Series(here["value"].values, here["step"].astype(int).values)


def words(drawing: Drawing) -> list[str]:
    texts = [text.get_text() for axes in drawing.figure.axes for text in axes.texts]
    labels = [
        part.get_text()
        for axes in drawing.figure.axes
        for part in (axes.xaxis.label, axes.yaxis.label)
    ]
    keys = [text.get_text() for legend in drawing.figure.legends for text in legend.get_texts()]
    return [*texts, *labels, *keys]


def test_iterates_jump_across_while_they_move_along(drawing: Drawing) -> None:
    across = column(drawing, "discrete", "iterate_across")
    steps = across.index.to_numpy()
    np.testing.assert_array_equal(steps, np.arange(FIRST, LAST + 1))
    np.testing.assert_allclose(across, JUMP * (-1.0) ** steps, atol=1e-9)
    along = column(drawing, "discrete", "iterate_along")
    np.testing.assert_allclose(along, SPEED * (steps - CENTRE), atol=1e-9)
    np.testing.assert_allclose(column(drawing, "discrete", "iterate_aside"), 0, atol=1e-9)


def test_motion_has_a_part_along_an_eigenvector_that_is_not_orthogonal_to_it(
    tmp_path: Path,
) -> None:
    plain = weights_plane.draw([write_plane(tmp_path, "gd")])
    across = column(plain, "discrete", "iterate_across")
    steps = across.index.to_numpy()
    drift = SPEED * (steps - CENTRE) * (ALONG @ ACROSS)
    np.testing.assert_allclose(across, JUMP * (-1.0) ** steps + drift, atol=1e-9)


def test_rods_span_the_jumps(drawing: Drawing) -> None:
    plus = column(drawing, "rod", "rod_plus_across")
    minus = column(drawing, "rod", "rod_minus_across")
    np.testing.assert_array_equal(plus.index, np.arange(90, LAST, 10))
    np.testing.assert_allclose(plus, -minus, atol=1e-9)
    np.testing.assert_allclose(plus.abs(), JUMP, atol=1e-9)
    np.testing.assert_allclose(column(drawing, "rod", "rod_half_across"), JUMP, atol=1e-9)
    np.testing.assert_allclose(column(drawing, "rod", "rod_plus_aside"), 0, atol=1e-9)


def test_the_stable_flow_departs_and_its_distance_is_named(drawing: Drawing) -> None:
    aside = column(drawing, "stable", "centre_aside")
    np.testing.assert_allclose(aside, DEPARTURE * (aside.index.to_numpy() - 80), atol=1e-9)
    distance = column(drawing, "stable", "distance_to_midpoint")
    assert distance[150] == pytest.approx(DEPARTURE * 70)
    assert column(drawing, "rod", "distance_to_midpoint")[150] == pytest.approx(0, abs=1e-9)
    assert "stable flow  0.07" in words(drawing)
    assert "distance to the midpoint, step 150" in words(drawing)


def test_lines_are_what_the_table_says(run: StoredRun, drawing: Drawing) -> None:
    upper, lower = drawing.figure.axes
    for axes, height in ((upper, "across"), (lower, "aside")):
        for process, what in (("discrete", "iterate"), ("stable", "centre"), ("rod", "centre")):
            (line,) = (line for line in axes.lines if line.get_label() == process)
            along = column(drawing, process, f"{what}_along")
            np.testing.assert_array_equal(line.get_xdata(), along)
            np.testing.assert_array_equal(
                line.get_ydata(), column(drawing, process, f"{what}_{height}")
            )
        segments = [line for line in axes.lines if line.get_label() == "rod rod"]
        plus = column(drawing, "rod", f"rod_plus_{height}")
        assert [line.get_ydata()[0] for line in segments] == list(plus)
    assert {*drawing.table["process"]} == {"discrete", "stable", "rod"}
    stored = run.comparison["sharpness_over_threshold"].sel(process="stable", snapshot=150)
    assert column(drawing, "stable", "sharpness_over_threshold")[150] == stored
    assert f"{float(stored):.2f}" in words(drawing)


def test_a_flow_that_diverged_is_named(tmp_path: Path) -> None:
    within = weights_plane.draw([write_plane(tmp_path / "a", diverged={"stable": 133})])
    assert "stable flow diverged at step 133" in words(within)
    assert "distance to the midpoint, step 130" in words(within)
    before = weights_plane.draw([write_plane(tmp_path / "b", diverged={"stable": 60})])
    assert "stable flow diverged at step 60" in words(before)
    assert "no stable flow to compare with" in words(before)
    assert "stable" not in {*before.table["process"]}


def test_no_iterates_are_stated(tmp_path: Path) -> None:
    status = "not started: discrete run diverged at step 12"
    run = write_plane(tmp_path, steps=np.zeros(0, int), onset=np.nan, status=status)
    drawing = weights_plane.draw([run])
    assert f"iterates {status}" in words(drawing)
    assert not len(drawing.table)


def test_a_run_without_onset_is_drawn_and_says_so(tmp_path: Path) -> None:
    run = write_plane(tmp_path, onset=np.nan)
    numbers = run.comparison.copy(deep=True)
    numbers["onset"] = numbers["onset"] * np.nan
    artifact.write(numbers, run.folder / "comparison.nc", kind="comparison")
    drawing = weights_plane.draw([StoredRun(run.folder)])
    assert "threshold not reached" in words(drawing)
    along = column(drawing, "discrete", "iterate_along")
    assert along[(FIRST + LAST) // 2] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("flows", [("stable",), ("rod_unit_step",), FLOWS])
def test_flows_may_be_missing(flows: tuple[str, ...], tmp_path: Path) -> None:
    drawing = weights_plane.draw([write_plane(tmp_path, flows=flows)])
    drawing.figure.draw_without_rendering()
    assert {*drawing.table["process"]} == {"discrete", *flows} - {"rod_unit_step"} | (
        {"rod_unit_step"} & {*flows[:1]}
    )


def test_a_fourth_run_begins_a_second_line(tmp_path: Path) -> None:
    names = ("gd", "rmsprop", "adam", "nadam")
    drawing = weights_plane.draw([write_plane(tmp_path, name) for name in names])
    assert len(drawing.figure.axes) == 8
    assert {*drawing.table["optimizer"]} == {*names}


def test_a_window_that_goes_to_the_end_of_the_run(tmp_path: Path) -> None:
    run = write_plane(tmp_path, steps=np.arange(150, STEPS + 1))
    assert "distance to the midpoint, step 190" in words(weights_plane.draw([run]))


def test_rendered_twice_gives_the_same_bytes(run: StoredRun, tmp_path: Path) -> None:
    first = save(weights_plane.draw([run]), tmp_path / "a")
    second = save(weights_plane.draw([StoredRun(run.folder)]), tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    table = pd.read_csv(first[-1], dtype={"step": "Int64", "unit": str})
    assert tuple(table.columns) == Numbers.COLUMNS
    assert (table["unit"] == "1").all()


def test_text_stays_inside_the_figure(drawing: Drawing) -> None:
    figure = drawing.figure
    figure.draw_without_rendering()
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, text.get_text()
            assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, text.get_text()
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_imports_no_jax() -> None:
    code = "import sys, rodflow.figures.weights_plane; assert 'jax' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
