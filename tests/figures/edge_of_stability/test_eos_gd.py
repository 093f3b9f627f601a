"""Gradient descent at the edge: a column a problem, a line a run, thresholds at 2/η, failures in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from drawn import assert_drawn, crowded, lines, rows_of, words
from rodflow.audit.claims.measures import equilibrium
from rodflow.figures.core.style import Drawing
from rodflow.figures.core.sweeps import ordered_colors, step_size
from rodflow.figures.edge_of_stability import eos_gd
from rodflow.store.results import StoredRun
from synthetic_results import always_open, make_run

CURVES = [["loss", "loss_averaged"], ["raw_sharpness"]]


def write_edge_run(
    root: Path, learning_rate: float, model: str = "tanh", criterion: str = "mse", **options: Any
) -> StoredRun:
    """A run of gradient descent with this criterion."""
    folder = root / f"{learning_rate:g},{criterion},{options.get('seed', 0)}"
    given = {"flows": (), "replicas": None, "replays": {}, "learning_rate": learning_rate}
    given |= {"change": always_open}
    settings = {"criterion": criterion}
    return make_run(folder, "gd", model, settings=settings, **given | options)


def calm(numbers: xr.Dataset) -> xr.Dataset:
    """A comparison of a run that stays below the threshold."""
    below = numbers["sharpness_over_threshold"] * 0 + 0.4
    return numbers.assign(sharpness_over_threshold=below, onset=numbers["onset"] * np.nan)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """Squared error at two step sizes, one with two seeds; cross-entropy: diverged, and always below."""
    root = tmp_path_factory.mktemp("edge")
    entropy = {"criterion": "cross_entropy"}
    return [
        write_edge_run(root, 0.1),
        write_edge_run(root, 0.05),
        write_edge_run(root, 0.1, seed=1),
        write_edge_run(root, 0.3, **entropy, diverged={"discrete": 133}),
        write_edge_run(root, 0.2, **entropy, compared=calm),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return eos_gd.draw(runs)


def columns(drawing: Drawing) -> list[list[Axes]]:
    axes = drawing.figure.axes
    return [axes[first : first + 2] for first in range(0, len(axes), 2)]


def name(run: StoredRun) -> str:
    return f"learning_rate={step_size(run):g} criterion={run.settings['criterion']}"


def test_there_is_one_column_for_each_model_and_criterion(drawing: Drawing) -> None:
    assert len(columns(drawing)) == 2
    assert {"tanh, squared error", "tanh, cross-entropy"} <= {*words(drawing)}


def test_the_activation_is_named_where_the_name_of_the_model_does_not(tmp_path: Path) -> None:
    drawing = eos_gd.draw([write_edge_run(tmp_path, 0.1, "mlp")])
    assert "MLP (tanh), squared error" in words(drawing)


def test_each_run_has_one_line_and_seeds_share_a_colour(drawing: Drawing) -> None:
    first, second = columns(drawing)
    for axes, quantities in zip(first, CURVES, strict=True):
        for quantity in quantities:
            low, high, other = lines(axes, quantity)
            assert high.get_color() == other.get_color() != low.get_color()
    assert [len([*lines(axes, own[0])]) for axes, own in zip(second, CURVES, strict=True)] == [
        2
    ] * 2


def test_dashed_lines_stand_at_two_over_the_step_size(drawing: Drawing) -> None:
    (_, first), (_, second) = columns(drawing)
    heights = [
        {line.get_ydata()[0] for line in lines(axes, "threshold")} for axes in (first, second)
    ]
    assert heights == [{2 / 0.1, 2 / 0.05}, {2 / 0.3, 2 / 0.2}]
    for line in lines(first, "threshold"):
        of_colour = [
            own for own in lines(first, "raw_sharpness") if own.get_color() == line.get_color()
        ]
        assert of_colour


def test_the_table_holds_exactly_what_is_drawn(drawing: Drawing, runs: list[StoredRun]) -> None:
    drawn = 0
    ordered = [[runs[1], runs[0], runs[2]], [runs[4], runs[3]]]
    for own, column in zip(ordered, columns(drawing), strict=True):
        for axes, quantities in zip(column, CURVES, strict=True):
            for quantity in quantities:
                for run, line in zip(own, lines(axes, quantity), strict=True):
                    table = drawing.table[drawing.table["seed"] == run.seed]
                    drawn += assert_drawn(
                        line, rows_of(table, "discrete", f"{quantity}[{name(run)}]")
                    )
    assert drawn == len(drawing.table.dropna(subset="step")) > 0


def test_the_average_at_the_edge_is_written(drawing: Drawing, runs: list[StoredRun]) -> None:
    mean = equilibrium(runs[1]).value
    table = rows_of(drawing.table, "discrete", f"mean_at_edge[{name(runs[1])}]")
    assert table["value"].item() == mean
    assert f"{mean:.2f}" in words(drawing)


def test_a_diverged_run_is_said_in_words_and_ends_in_crosses(drawing: Drawing) -> None:
    assert "diverged at step 133" in words(drawing)
    assert all(len([*lines(axes, "discrete diverged")]) == 1 for axes in columns(drawing)[1])


def test_a_run_below_its_threshold_is_said_in_words(drawing: Drawing) -> None:
    assert "threshold not reached" in words(drawing)


def test_a_run_whose_rod_is_closed_has_no_numbers(tmp_path: Path) -> None:
    drawing = eos_gd.draw([write_edge_run(tmp_path, 0.1, change=lambda process, data: data)])
    assert "not at the edge" in words(drawing)
    assert not drawing.table["quantity"].str.contains("at_edge").any()


@pytest.mark.slow
def test_words_above_columns_do_not_overlap(tmp_path: Path) -> None:
    runs = [
        write_edge_run(tmp_path, rate, model, criterion)
        for model in ("tanh", "relu", "silu")
        for criterion in ("mse", "cross_entropy")
        for rate in (0.05, 0.15)
    ]
    assert not crowded(eos_gd.draw(runs))


def test_the_moving_average_stands_at_the_middle_of_its_window(
    drawing: Drawing, runs: list[StoredRun]
) -> None:
    line = next(lines(columns(drawing)[0][0], "loss_averaged"))
    step = int(line.get_xdata()[0])
    around = runs[1].series("discrete")["loss"].sel(step=slice(step - 24, step + 25))
    assert around.size == 50
    assert line.get_ydata()[0] == pytest.approx(around.mean().item())


def test_a_run_that_diverged_at_once_is_drawn_all_the_same(tmp_path: Path) -> None:
    drawing = eos_gd.draw([write_edge_run(tmp_path, 0.1, diverged={"discrete": 5})])
    assert "diverged at step 5" in words(drawing)


def test_only_the_first_steps_are_shown_where_the_edge_was_left_long_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def early(numbers: xr.Dataset) -> xr.Dataset:
        ratio = xr.where(numbers["snapshot"] <= 30, 1.1, 0.5)
        whole = numbers["sharpness_over_threshold"] * 0 + ratio
        return numbers.assign(sharpness_over_threshold=whole)

    monkeypatch.setattr(eos_gd, "WINDOW", 10)
    drawing = eos_gd.draw(
        [write_edge_run(tmp_path, 0.1, criterion="cross_entropy", compared=early)]
    )
    assert "optimizer step\n(first 100 of 200)" in words(drawing)
    assert drawing.table["step"].max() == 100


def test_without_gradient_descent_one_line_says_what_to_do(tmp_path: Path) -> None:
    adam = make_run(tmp_path, "adam", flows=(), replicas=None, replays={})
    with pytest.raises(eos_gd.EdgeError, match="eos_gd") as error:
        eos_gd.draw([adam])
    assert "\n" not in str(error.value)


def test_colours_are_distinct_however_many_there_are() -> None:
    for count in (1, 2, 7):
        assert len({*ordered_colors(range(count)).values()}) == count


def test_numbers_are_finite_or_left_out(drawing: Drawing) -> None:
    assert np.isfinite(drawing.table["value"]).all()
