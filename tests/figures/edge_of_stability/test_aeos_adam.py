"""Full-batch Adam at its threshold: one column a decay, the threshold's line, and runs that do not end at it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import synthetic_results
from drawn import assert_drawn, lines, panels, rows_of, words
from rodflow.audit.claims.measures import equilibrium
from rodflow.figures.core.style import Drawing
from rodflow.figures.edge_of_stability import aeos_adam
from rodflow.store.results import StoredRun
from synthetic_results import always_open, make_run

DECAYS = (0.0, 0.5, 0.9)
RATES = (0.001, 0.002)


def limit(b1: float) -> float:
    """The largest stable learning rate times preconditioned sharpness."""
    return (2 + 2 * b1) / (1 - b1)


def write(root: Path, rate: float, b1: float, **more: Any) -> StoredRun:
    """A run of Adam whose threshold is that of its decay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic_results.THRESHOLDS, "adam", limit(b1))
        given = {"b1": b1, "b2": 0.99}
        folder = root / f"learning_rate={rate:g},b1={b1:g}"
        options = {
            "flows": (),
            "replays": {},
            "hyperparameters": given,
            "change": always_open,
        } | more
        return make_run(folder, "adam", learning_rate=rate, **options)


def halved(numbers: xr.Dataset) -> xr.Dataset:
    """A comparison of a run that stays below its threshold."""
    for name in ("sharpness_over_threshold", "late_mean", "late_lowest", "late_highest"):
        numbers[name] = numbers[name] / 2
    return numbers.assign(onset=numbers["onset"] * np.nan)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("sweep")
    return [write(root, rate, b1) for rate in RATES for b1 in DECAYS]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return aeos_adam.draw(runs)


def test_there_is_one_column_for_each_decay_with_its_threshold(drawing: Drawing) -> None:
    for axes, b1 in zip(panels(drawing)[0], DECAYS, strict=True):
        heading = f"$\\beta_1$ = {b1:g}: threshold {limit(b1):g}"
        assert heading in [text.get_text() for text in axes.texts]
    assert panels(drawing).shape == (3, len(DECAYS))


def test_the_line_and_the_bold_mark_stand_at_the_threshold(drawing: Drawing) -> None:
    for axes, b1 in zip(panels(drawing)[0], DECAYS, strict=True):
        (across,) = (line for line in axes.lines if line.get_transform() != axes.transData)
        assert across.get_ydata()[0] == pytest.approx(limit(b1))
        mark = axes.get_yticklabels()[-1]
        assert (mark.get_text(), mark.get_fontweight()) == (f"{limit(b1):g}", "bold")


def test_thresholds_stand_at_the_same_height(drawing: Drawing) -> None:
    heights = [
        limit(b1) / axes.get_ylim()[1] for axes, b1 in zip(panels(drawing)[0], DECAYS, strict=True)
    ]
    np.testing.assert_allclose(heights, heights[0])


def test_panels_draw_what_the_table_says(drawing: Drawing) -> None:
    drawn = 0
    quantities = ("learning_rate_x_sharpness", "loss")
    for quantity, row in zip(quantities, panels(drawing), strict=False):
        for axes, b1 in zip(row, DECAYS, strict=True):
            for rate in RATES:
                name = f"{quantity}[learning_rate={rate:g} b1={b1:g}]"
                (line,) = lines(axes, name)
                drawn += assert_drawn(line, rows_of(drawing.table, "discrete", name))
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_sharpness_is_in_units_of_the_learning_rate(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    ratio = runs[1].comparison["sharpness_over_threshold"].sel(process="discrete")
    name = "learning_rate_x_sharpness[learning_rate=0.001 b1=0.5]"
    np.testing.assert_allclose(rows_of(drawing.table, "discrete", name)["value"], 6 * ratio)


def test_held_numbers_are_those_that_the_claim_judges(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    for run, b1 in zip(runs, DECAYS, strict=False):
        judged = equilibrium(run)
        for number, expected in (
            ("mean", judged.value),
            ("low", judged.low),
            ("high", judged.high),
        ):
            name = f"{number}_at_edge[learning_rate=0.001 b1={b1:g}]"
            assert rows_of(drawing.table, "discrete", name)["value"].item() == expected
        assert f"{judged.value:.2f}" in words(drawing)


@pytest.mark.slow
def test_seeds_share_a_colour_and_their_mean_is_written(tmp_path: Path) -> None:
    runs = [write(tmp_path, 0.001, 0.9, seed=seed) for seed in (0, 1)]
    drawing = aeos_adam.draw(runs)
    top, _, last = drawing.figure.axes
    curves = [*lines(top, "learning_rate_x_sharpness[learning_rate=0.001 b1=0.9]")]
    assert len(curves) == 2 and len({line.get_color() for line in curves}) == 1
    marks = [float(line.get_ydata()[0]) for line in lines(last, "mean_at_edge")]
    assert f"{np.mean(marks):.2f}" in words(drawing)


@pytest.mark.slow
def test_a_diverged_run_is_said_in_words_and_has_no_held_number(tmp_path: Path) -> None:
    lost = write(tmp_path, 0.004, 0.9, diverged={"discrete": 133})
    drawing = aeos_adam.draw([write(tmp_path, 0.001, 0.9), lost])
    top, _, last = drawing.figure.axes
    assert "0.004: diverged at step 133" in words(drawing)
    assert len([*lines(top, "discrete diverged")]) == len([*lines(last, "mean_at_edge")]) == 1


def test_a_run_below_its_threshold_is_said_in_words_and_has_no_mark(tmp_path: Path) -> None:
    drawing = aeos_adam.draw([write(tmp_path, 0.001, 0.9, compared=halved)])
    assert "0.001: threshold not reached" in words(drawing)
    assert not drawing.table["quantity"].str.contains("at_edge").any()
    assert not [line for line in drawing.figure.axes[2].lines if line.get_marker() == "o"]


def test_a_run_whose_rod_is_closed_has_an_open_mark_and_no_number(tmp_path: Path) -> None:
    drawing = aeos_adam.draw([write(tmp_path, 0.001, 0.9, change=lambda process, data: data)])
    assert "rod closed: not at the edge" in words(drawing)
    (mark,) = lines(drawing.figure.axes[2], "mean_not_at_edge")
    assert mark.get_markerfacecolor() == "white"
    assert f"{mark.get_ydata()[0]:.2f}" not in words(drawing)


@pytest.mark.slow
def test_other_settings_have_rows_of_their_own_and_a_name_in_the_table(tmp_path: Path) -> None:
    other = write(tmp_path, 0.001, 0.9, hyperparameters={"b1": 0.9, "b2": 0.5}, model="cnn")
    drawing = aeos_adam.draw([write(tmp_path, 0.001, 0.9), other])
    assert len(drawing.figure.axes) == 6
    assert {"Adam, MLP", "Adam, CNN"} <= {*words(drawing)}
    assert "loss[learning_rate=0.001 b1=0.9 b2=0.5]" in {*drawing.table["quantity"]}


@pytest.mark.slow
def test_a_decay_without_a_run_is_said(tmp_path: Path) -> None:
    drawing = aeos_adam.draw(
        [write(tmp_path, 0.001, 0.9), write(tmp_path, 0.001, 0.5, model="cnn")]
    )
    assert words(drawing).count("no run") == 2
