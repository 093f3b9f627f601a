"""Raw and preconditioned sharpness side by side: growth is that from the onset on, and what is missing is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, rows_of, words
from rodflow.audit.claims.cohen_2022 import frozen_level
from rodflow.audit.claims.measures import SHORTEST, equilibrium
from rodflow.figures.core.held import held_at_edge
from rodflow.figures.core.preconditioner import preconditioner_spread
from rodflow.figures.core.style import Drawing
from rodflow.figures.edge_of_stability import aeos_curvature
from rodflow.store.results import StoredRun
from synthetic_results import MOMENT, STEPS, always_open, make_run

GROWTH = {"gd": 1.0, "adam": 0.5}  # of the raw sharpness over the whole run


def write(root: Path, optimizer: str, **options: Any) -> StoredRun:
    """A run whose raw sharpness is 20 and then changes by a constant factor a step."""
    given = {"flows": (), "replicas": None, "replays": {}, "change": always_open} | options
    run = make_run(root, optimizer, **given)
    stored = run.sharpness("discrete")
    raw = 20 * GROWTH[optimizer] ** (stored["snapshot"] / STEPS)
    run.take("sharpness/discrete", stored.assign(raw_sharpness=raw))
    return run


def moments(values: np.ndarray) -> Callable[[str, xr.Dataset], xr.Dataset]:
    """Puts these second moments at every snapshot."""

    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        there = np.tile(values, (data.sizes["snapshot"], 1)).astype(np.float32)
        return data.assign(second_moment=(("snapshot", "parameter"), there))

    return change


def below(numbers: xr.Dataset) -> xr.Dataset:
    return numbers.assign(onset=numbers["onset"] * np.nan)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("results")
    return [write(root, "gd"), write(root, "adam")]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return aeos_curvature.draw(runs)


def number(drawing: Drawing, optimizer: str, quantity: str) -> float:
    (value,) = drawing.table.query("optimizer == @optimizer and quantity == @quantity")["value"]
    return float(value)


def test_each_optimizer_has_a_column_of_what_is_stored(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    names = ("raw_sharpness", "sharpness_over_threshold", "preconditioner_geometric_mean")
    for run, column in zip(runs, np.reshape(drawing.figure.axes, (2, 3)), strict=True):
        own = drawing.table[drawing.table["optimizer"] == run.optimizer]
        for name, axes in zip(names, column, strict=True):
            (line,) = lines(axes, name)
            assert assert_drawn(line, rows_of(own, "discrete", name)) > 10
        np.testing.assert_array_equal(
            rows_of(own, "discrete", "raw_sharpness")["value"],
            run.sharpness("discrete")["raw_sharpness"],
        )
    assert {"gradient descent", "Adam"} <= {*words(drawing)}


def test_growth_is_the_long_run_factor_from_the_onset_to_the_end(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    onset = number(drawing, "adam", "onset")
    assert onset == float(runs[1].comparison["onset"].sel(process="discrete"))
    expected = GROWTH["adam"] ** ((STEPS - onset) / STEPS)
    assert number(drawing, "adam", "raw_sharpness_growth") == pytest.approx(expected, rel=1e-6)
    assert number(drawing, "gd", "raw_sharpness_growth") == pytest.approx(1)
    written = [word for word in words(drawing) if "from the onset to the end" in word]
    assert written[:2] == [f"× {value:.2f} from the onset to the end" for value in (1, expected)]


def test_the_trend_lies_on_a_series_that_changes_by_a_constant_factor(drawing: Drawing) -> None:
    (line,) = lines(drawing.figure.axes[3], "trend")
    steps = np.asarray(line.get_xdata(), float)
    np.testing.assert_allclose(line.get_ydata(), 20 * 0.5 ** (steps / STEPS), rtol=1e-6)


def test_only_gradient_descent_has_a_threshold_of_the_raw_sharpness(drawing: Drawing) -> None:
    assert number(drawing, "gd", "raw_sharpness_threshold") == pytest.approx(20)
    assert "raw_sharpness_threshold" not in {
        *drawing.table.query("optimizer == 'adam'")["quantity"]
    }
    assert [word for word in words(drawing) if "eta$ = 20" in word] == [r"$2/\eta$ = 20"]


def test_the_average_at_the_edge_is_that_of_the_claims(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    for run in runs:
        level = equilibrium(run).value
        assert number(drawing, run.optimizer, "mean_at_edge") == level
        assert f"average at the edge: {level:.2f}" in words(drawing)


def test_the_average_of_frozen_adam_is_that_of_its_claim_from_the_freezing_on(
    tmp_path: Path,
) -> None:
    settings = {"snapshots": {"every": 2}}
    options = {"flows": (), "replays": {}, "replicas": None, "change": always_open}
    run = make_run(
        tmp_path, "adam_frozen", hyperparameters={"freeze": 110}, settings=settings, **options
    )
    level = held_at_edge(run, 110)
    assert level and level.window.first == 110 and level != held_at_edge(run)
    drawing = aeos_curvature.draw([run])
    assert number(drawing, "adam_frozen", "mean_at_edge") == level.ratio.mean
    assert level.ratio.size < SHORTEST or level.ratio.mean == frozen_level(run).value


def test_a_run_whose_rod_is_closed_says_so_and_has_no_average(tmp_path: Path) -> None:
    drawing = aeos_curvature.draw([write(tmp_path, "gd", change=lambda process, data: data)])
    assert "not at the edge" in words(drawing)
    assert not drawing.table["quantity"].str.contains("at_edge").any()


def test_the_preconditioner_is_described_by_mean_and_quartiles(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    root = np.sqrt(MOMENT) + 1e-8
    spread = preconditioner_spread(runs[1]).isel(snapshot=-1)
    assert float(spread["geometric_mean"]) == pytest.approx(np.prod(root) ** (1 / 3))
    assert float(spread["lower_quartile"]) == pytest.approx(2.5)
    assert float(spread["upper_quartile"]) == pytest.approx(3.5)
    assert "none: $P = 1$" in words(drawing)


@pytest.mark.slow
def test_weights_without_a_gradient_are_left_out_and_counted(tmp_path: Path) -> None:
    run = write(tmp_path, "adam", change=moments(np.array([0.0, 4.0, 9.0])))
    spread = preconditioner_spread(run)
    np.testing.assert_allclose(spread["geometric_mean"], np.sqrt(6))
    assert spread.attrs["left_out"] == pytest.approx(1 / 3)
    said = " ".join(words(aeos_curvature.draw([run]))).replace("\n", " ")
    assert "without the 33% of the weights that never get a gradient" in said


@pytest.mark.slow
def test_a_run_that_diverged_says_so_and_has_no_factor(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    bad = write(tmp_path, "adam", diverged={"discrete": 150})
    drawing = aeos_curvature.draw([runs[0], bad])
    drawing.figure.draw_without_rendering()
    assert "diverged at step 150" in words(drawing)
    found = {*drawing.table.query("optimizer == 'adam'")["quantity"]}
    assert not found & {"raw_sharpness_growth", "mean_at_edge", "raw_sharpness_trend"}
    assert all([*lines(axes, "discrete diverged")] for axes in drawing.figure.axes[3:])


@pytest.mark.slow
def test_a_run_that_diverged_at_once_is_drawn(runs: list[StoredRun], tmp_path: Path) -> None:
    lost = write(tmp_path, "adam", diverged={"discrete": 12})
    drawing = aeos_curvature.draw([runs[0], lost])
    drawing.figure.draw_without_rendering()
    assert "diverged at step 12" in words(drawing)


def test_a_threshold_that_was_not_reached_is_stated(tmp_path: Path) -> None:
    drawing = aeos_curvature.draw([write(tmp_path, "gd", compared=below)])
    assert "threshold not reached" in words(drawing)
    assert not {"onset", "raw_sharpness_growth"} & {*drawing.table["quantity"]}
    assert "onset" not in words(drawing)


def test_seeds_share_a_column_and_give_a_range(runs: list[StoredRun], tmp_path: Path) -> None:
    other = write(tmp_path, "adam", seed=1, compared=below)
    more = write(tmp_path, "adam", seed=2)
    drawing = aeos_curvature.draw([runs[1], other, more])
    assert len(drawing.figure.axes) == 3
    assert len([*lines(drawing.figure.axes[0], "raw_sharpness")]) == 3
    assert "seed 1: threshold not reached" in words(drawing)
    levels = sorted(f"{equilibrium(run).value:.2f}" for run in (runs[1], more))
    expected = " to ".join(dict.fromkeys(levels))
    assert f"average at the edge: {expected}" in words(drawing)


def test_models_are_told_apart(runs: list[StoredRun], tmp_path: Path) -> None:
    drawing = aeos_curvature.draw([runs[0], write(tmp_path, "gd", model="cnn")])
    assert {"gradient descent, MLP", "gradient descent, CNN"} <= {*words(drawing)}
