"""The plane of jumping and motion: coordinates that can be told in advance, failures in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from drawn import words
from rodflow.figures.core.style import Drawing
from rodflow.figures.rod_flow import weights_plane
from rodflow.store.results import StoredRun
from synthetic_results import FLOWS, STEPS, make_run

FIRST, LAST, CENTRE = 80, 160, 121
JUMP, SPEED, DEPARTURE = 0.05, 0.01, 0.001
ACROSS = np.array([1.0, 1.0, 0.0, 0.0]) / np.sqrt(2)
ASIDE = np.array([0.0, 0.0, 1.0, 0.0])
PRECONDITIONER = np.array([4.0, 1.0, 9.0, 1.0])
ALONG = np.array([1.0, -4.0, 0.0, 0.0]) / np.sqrt(17)  # ACROSS . PRECONDITIONER ALONG = 0


def centre(steps: np.ndarray) -> np.ndarray:
    """Where the midpoint is, [step, parameter]."""
    return 3.0 + SPEED * steps[:, None] * ALONG


def write_plane(
    root: Path,
    optimizer: str = "adam",
    *,
    steps: np.ndarray | None = None,
    at: int | None = CENTRE,
    status: str = "completed",
    **of_run: Any,
) -> StoredRun:
    """A run whose iterates jump by JUMP and whose stable flow passes through at step 80."""

    def moved(process: str, data: xr.Dataset) -> xr.Dataset:
        kept = data["snapshot"].values
        weights = centre(kept) + (process != "discrete") * 1e-11  # an error of 0 has no logarithm
        if process == "stable":
            weights = weights + DEPARTURE * (kept - 80)[:, None] * ASIDE
        both = ("snapshot", "parameter")
        variables: dict[str, Any] = {"weights": (both, weights)}
        if process.startswith("rod"):
            extent = np.tile(JUMP * ACROSS, (len(kept), 1)) * (-1.0) ** (kept[:, None] // 10)
            variables["half_extent"] = (both, extent)
            variables["rod_length"] = ("step", np.full(data.sizes["step"], JUMP))
        if process == "discrete" and optimizer == "adam":
            variables["second_moment"] = (both, np.tile(PRECONDITIONER**2, (len(kept), 1)))
        if process == "discrete" and optimizer == "yogi":
            variables["gain"] = (both, np.tile(1 / PRECONDITIONER, (len(kept), 1)))
        return data.drop_dims("parameter").assign(variables)

    steps = np.arange(FIRST, LAST + 1) if steps is None else steps
    jumps = JUMP * (-1.0) ** steps[:, None] * ACROSS
    onset_window = xr.Dataset(
        {
            "iterate": (("step", "parameter"), centre(steps) + jumps),
            "eigenvector": ("parameter", ACROSS),
        },
        {"step": steps},
        {"onset": 100.0, "status": status} | ({} if at is None else {"centre": at}),
    )
    return make_run(root, optimizer, change=moved, replays={"onset_window": onset_window}, **of_run)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return write_plane(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def drawing(run: StoredRun) -> Drawing:
    return weights_plane.draw([run])


def column(drawing: Drawing, process: str, quantity: str) -> pd.Series:
    here = drawing.table.query("process == @process and quantity == @quantity")
    return pd.Series(here["value"].values, here["step"].astype(int).values)


def test_iterates_jump_across_while_they_move_along(drawing: Drawing) -> None:
    across = column(drawing, "discrete", "iterate_across")
    steps = across.index.to_numpy()
    np.testing.assert_array_equal(steps, np.arange(FIRST, LAST + 1))
    np.testing.assert_allclose(across, JUMP * (-1.0) ** steps, atol=1e-9)
    along = column(drawing, "discrete", "iterate_along")
    np.testing.assert_allclose(along, SPEED * (steps - CENTRE), atol=1e-9)
    np.testing.assert_allclose(column(drawing, "discrete", "iterate_aside"), 0, atol=1e-9)


def test_a_stored_gain_gives_the_same_view_as_the_second_moment(
    drawing: Drawing, tmp_path: Path
) -> None:
    run = write_plane(tmp_path, "yogi")
    assert "second_moment" not in run.trajectory("discrete")
    found = weights_plane.draw([run])
    for quantity in ("iterate_across", "iterate_along", "iterate_aside"):
        expected = column(drawing, "discrete", quantity)
        np.testing.assert_allclose(column(found, "discrete", quantity), expected, atol=1e-9)


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


@pytest.mark.slow
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
    run = write_plane(tmp_path, steps=np.zeros(0, int), at=None, status=status)
    drawing = weights_plane.draw([run])
    assert f"iterates {status}" in words(drawing)
    assert not len(drawing.table)


@pytest.mark.slow
def test_a_run_without_onset_is_drawn_and_says_so(tmp_path: Path) -> None:
    run = write_plane(
        tmp_path, at=119, compared=lambda data: data.assign(onset=data["onset"] * np.nan)
    )
    drawing = weights_plane.draw([run])
    assert "threshold not reached" in words(drawing)
    assert column(drawing, "discrete", "iterate_along")[119] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("flows", [("stable",), ("rod_unit_step",), FLOWS])
def test_flows_may_be_missing(flows: tuple[str, ...], tmp_path: Path) -> None:
    drawing = weights_plane.draw([write_plane(tmp_path, flows=flows)])
    drawing.figure.draw_without_rendering()
    assert {*drawing.table["process"]} == {"discrete", *flows} - {"rod_unit_step"} | (
        {"rod_unit_step"} & {*flows[:1]}
    )


def test_a_fourth_run_begins_a_second_line(tmp_path: Path) -> None:
    names = ("gd", "rmsprop", "adam", "nadam")
    drawing = weights_plane.draw([write_plane(tmp_path, name, flows=()) for name in names])
    assert len(drawing.figure.axes) == 8
    assert {*drawing.table["optimizer"]} == {*names}


def test_a_window_that_goes_to_the_end_of_the_run(tmp_path: Path) -> None:
    run = write_plane(tmp_path, steps=np.arange(150, STEPS + 1))
    assert "distance to the midpoint, step 190" in words(weights_plane.draw([run]))
