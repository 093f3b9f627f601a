"""The figure of scale-invariant kernels: what is stored is drawn, and what went wrong is said."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, rows_of, words
from rodflow.analysis import scale_invariance
from rodflow.config.catalogue import FIGURES
from rodflow.config.settings import resolve
from rodflow.figures.adam_in_continuous_time import scale_invariance as figure
from rodflow.figures.core.style import Drawing
from rodflow.store.results import StoredRun
from synthetic_results import KERNELS, STEPS, make_run, with_kernels

ROWS = 4


def write(root: Path, optimizer: str, radial: float = 0.0, **options: Any) -> StoredRun:
    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        return with_kernels(data, radial)

    return make_run(root, optimizer, flows=(), replicas=None, replays={}, change=change, **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("results")
    adam = {"b1": 0.9, "b2": 0.99}
    return [write(root, "gd"), write(root, "adam", 0.02, hyperparameters=adam)]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return figure.draw(runs)


def test_each_optimizer_has_a_column_of_what_is_stored(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    quantities = ("gradient_cosine", "growth", "relative_rate")
    for run, column in zip(runs, np.reshape(drawing.figure.axes, (2, ROWS)), strict=True):
        own = drawing.table[drawing.table["optimizer"] == run.optimizer]
        for quantity, axes in zip(quantities, column[:3], strict=True):
            for kernel in KERNELS:
                name = f"{quantity} of {kernel}"
                (line,) = lines(axes, name)
                assert assert_drawn(line, rows_of(own, "discrete", name)) > 50
        drawn = rows_of(own, "discrete", f"growth of {KERNELS[1]}")
        growth = scale_invariance.growth(run.series("discrete")).sel(kernel=KERNELS[1])
        np.testing.assert_array_equal(drawn["value"], growth.sel(step=drawn["step"].tolist()))
        (loss,) = lines(column[3], "loss")
        assert assert_drawn(loss, rows_of(own, "discrete", "loss")) > 50
    assert {"gradient descent", "Adam"} <= {*words(drawing)}


def test_growth_and_rate_at_the_end_are_written(drawing: Drawing) -> None:
    said = words(drawing)
    assert said.count("1.00") == 3  # both kernels of gradient descent, one of Adam's
    assert "5.00" in said  # (0.01 + 2 * 0.02) / 0.01
    assert f"{4 / (4 + 0.02 * (STEPS - 1)):.3g}" in said
    assert "max $|\\cos(W, g)| = 3.0 \\cdot 10^{-8}$" in said


def test_the_sum_with_momentum_is_drawn_where_there_is_momentum(drawing: Drawing) -> None:
    name = f"squared_steps_with_momentum of {KERNELS[0]}"
    drawn = drawing.table[drawing.table["quantity"] == name]
    assert {*drawn["optimizer"]} == {"adam"}
    plain = drawing.table.query("optimizer == 'adam'")
    plain = plain[plain["quantity"] == f"squared_steps of {KERNELS[0]}"]
    np.testing.assert_allclose(drawn["value"], 19 * plain["value"].values)


@pytest.mark.slow
def test_no_line_bridges_a_growth_that_is_not_positive(tmp_path: Path) -> None:
    def change(process: str, data: xr.Dataset) -> xr.Dataset:
        data = with_kernels(data)
        sunk = (data["step"] > 20) & (data["step"] < 60)
        return data.assign(squared_norm=data["squared_norm"].where(~sunk, 3.9))

    run = make_run(tmp_path, "gd", flows=(), replicas=None, replays={}, change=change)
    axes = figure.draw([run]).figure.axes[1]
    first, second = lines(axes, f"growth of {KERNELS[0]}")
    assert max(first.get_xdata()) <= 20
    assert min(second.get_xdata()) >= 60


@pytest.mark.parametrize("step", [2, 12, 150])
@pytest.mark.slow
def test_a_run_that_diverged_says_so_and_has_no_numbers(
    runs: list[StoredRun], tmp_path: Path, step: int
) -> None:
    bad = write(tmp_path, "adam", hyperparameters={"b1": 0.9}, diverged={"discrete": step})
    drawing = figure.draw([runs[0], bad])
    drawing.figure.draw_without_rendering()
    assert f"diverged at step {step}" in words(drawing)
    found = " ".join(drawing.table.query("optimizer == 'adam'")["quantity"].unique())
    assert "growth_over" not in found
    assert "largest" not in found


@pytest.mark.slow
def test_seeds_share_a_column_and_give_a_range(runs: list[StoredRun], tmp_path: Path) -> None:
    other = write(tmp_path, "adam", 0.04, seed=1, hyperparameters={"b1": 0.9})
    drawing = figure.draw([runs[1], other])
    assert len(drawing.figure.axes) == ROWS
    assert "5.00 to 9.00" in words(drawing)


def test_only_models_with_normalisation_are_drawn() -> None:
    mlp = {"kind": "mlp", "hidden": [4]}
    config = {
        "name": "some",
        "models": {
            "plain": mlp,
            "normed": mlp | {"normalisation": "layer"},
            "vit": {"kind": "vit"},
        },
        "optimizers": {"gd": {"learning_rate": 0.1, "start": 10, "steps": 100}},
    }
    runs = resolve(config).runs
    assert [run.model for run in FIGURES["scale_invariance"].runs(runs)] == ["normed"]
