"""The figure of the curvature along the rod: its curves, its averages, and what it says without a threshold."""

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, panels, rows_of, words
from rodflow.config.catalogue import FIGURES
from rodflow.figures.core.style import hyperparameters
from rodflow.figures.rod_flow.along_rod import draw
from synthetic_results import STATES, make_run, run_in_memory


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("along_rod")


def test_every_curve_is_what_the_table_says(root) -> None:
    drawing = draw([make_run(root, "rmsprop")])
    left, middle, right = panels(drawing)[0]
    for axes, process in ((left, "discrete"), (middle, "rod_unit_step")):
        for name in ("sharpness", "quotient", "secant"):
            (line,) = lines(axes, f"{name}_over_threshold")
            line.set_data(np.array(line.get_data())[:, np.isfinite(line.get_ydata())])
            assert assert_drawn(line, rows_of(drawing.table, process, f"{name}_over_threshold"))
    assert len([*lines(right, "multiplier")]) == 2


def test_averages_are_over_the_open_snapshots_of_the_discrete_run(root) -> None:
    run = make_run(root, "gd")
    table = draw([run]).table
    row = rows_of(table, "discrete", "secant_over_threshold_while_open")
    opened = run.comparison["secant_over_threshold"].sel(
        process="discrete", snapshot=slice(80, 120)
    )
    assert row["value"].item() == pytest.approx(float(opened.mean()))


def test_a_curve_has_a_gap_where_the_rod_is_closed(root) -> None:
    def measured(process, data):
        return (
            data.assign(
                secant_over_threshold=data["secant_over_threshold"].where(data["snapshot"] > 60)
            )
            if "secant" in data
            else data
        )

    drawing = draw([make_run(root, "adam", measured=measured)])
    (line,) = lines(panels(drawing)[0][0], "secant_over_threshold")
    closed = np.isnan(line.get_ydata())
    np.testing.assert_array_equal(np.array(line.get_xdata())[closed], np.arange(10, 70, 10))


def test_without_a_threshold_it_says_so_and_shows_the_multiplier(root) -> None:
    drawing = draw([make_run(root, "lion", **STATES["no threshold"])])
    assert "no linear threshold: see the multiplier" in words(drawing)
    assert len(rows_of(drawing.table, "discrete", "multiplier"))
    assert not len(rows_of(drawing.table, "discrete", "secant_over_threshold"))


def test_a_scheduled_rate_is_named_by_its_peak_and_its_schedule() -> None:
    rate = {"schedule": "warmup_cosine", "peak": 0.01, "warmup": 50}
    run = run_in_memory("mlp/rmsprop/seed0", xr.Dataset(), learning_rate=rate)
    assert hyperparameters(run)[:2] == [r"$\eta$ ≤ 0.01", "warmup cosine"]


def test_another_angle_is_named(root) -> None:
    drawing = draw([make_run(root, "yogi", **STATES["no rod"])])
    assert "first mode turns by 90° a step: no rod" in words(drawing)


@pytest.mark.parametrize("name", ["tracking", "thresholds", "aeos_methods"])
def test_other_figures_of_a_run_without_a_threshold_say_so_too(root, name: str) -> None:
    drawing = FIGURES.load(name).draw([make_run(root, "lion", **STATES["no threshold"])])
    assert "no linear threshold" in words(drawing)
    assert not [word for word in words(drawing) if "not reached" in word]
