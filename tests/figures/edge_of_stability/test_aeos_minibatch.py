"""Sharpness against the batch size: seeds and their mean, what did not reach the threshold, what diverged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, rows_of, words
from rodflow.analysis.equilibrium import mean_and_error
from rodflow.figures.core.style import Drawing
from rodflow.figures.edge_of_stability import aeos_minibatch
from rodflow.store.results import StoredRun
from synthetic_results import SAMPLES, make_run


def write(root: Path, size: int | None, seed: int = 0, **options: Any) -> StoredRun:
    """A run of Adam with this batch size; one of a part of the images stays below the threshold."""
    folder = root / f"batch_size={size}" / "-".join(map(str, options))

    def lower(numbers: xr.Dataset) -> xr.Dataset:
        if size is None:
            return numbers
        share = size / SAMPLES
        scaled = {k: share * numbers[k] for k in ("late_mean", "sharpness_over_threshold")}
        return numbers.assign(onset=numbers["onset"] * np.nan, **scaled)

    given = {"model": "mlp", "replicas": None, "replays": {}, "compared": lower} | options
    settings = {"batch_size": size}
    return make_run(folder, "adam", seed=seed, flows=(), settings=settings, **given)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """The full batch first, as the base of a sweep, then two sizes; three seeds each."""
    root = tmp_path_factory.mktemp("sweep")
    return [write(root, size, seed) for size in (None, 250, 16) for seed in range(3)]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return aeos_minibatch.draw(runs)


def late(run: StoredRun) -> float:
    return float(run.comparison["late_mean"].sel(process="discrete"))


def ticks(drawing: Drawing, panel: int = 1) -> list[str]:
    return [tick.get_text() for tick in drawing.figure.axes[panel].get_xticklabels()]


def test_every_seed_is_a_line_with_the_batch_size_in_the_table(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    along = drawing.figure.axes[0]
    for run, name in zip(runs[::3], ("full", "250", "16"), strict=True):
        rows = rows_of(drawing.table, "discrete", f"sharpness_over_threshold[batch_size={name}]")
        (line,) = lines(along, f"batch_size={name} seed 0")
        assert assert_drawn(line, rows[rows["seed"] == 0]) > 10
        stored = run.comparison["sharpness_over_threshold"].sel(process="discrete")
        np.testing.assert_array_equal(line.get_ydata(), stored)


def test_the_bold_line_is_the_mean_of_the_seeds(runs: list[StoredRun], drawing: Drawing) -> None:
    (line,) = lines(drawing.figure.axes[0], "batch_size=16")
    stored = [run.comparison["sharpness_over_threshold"].values[0] for run in runs[6:]]
    np.testing.assert_allclose(line.get_ydata(), np.mean(stored, axis=0))
    rows = rows_of(drawing.table, "discrete", "mean_sharpness_over_threshold[batch_size=16]")
    assert_drawn(line, rows)


def test_averages_stand_at_their_batch_size_from_the_smallest_on(
    runs: list[StoredRun], drawing: Drawing
) -> None:
    sizes = drawing.figure.axes[1]
    assert [*sizes.get_xticks()] == [16, 250, SAMPLES]
    assert [label.split("\n")[0] for label in ticks(drawing)] == ["16", "250", "500"]
    for name, own in {"full": runs[:3], "250": runs[3:6], "16": runs[6:]}.items():
        (dots,) = lines(sizes, f"batch_size={name}")
        np.testing.assert_array_equal(dots.get_ydata(), [late(run) for run in own])
        (mean,) = lines(sizes, f"mean batch_size={name}")
        assert mean.get_ydata()[0] == np.mean([late(run) for run in own])
        assert f"{np.mean([late(run) for run in own]):.2f}" in words(drawing)


def test_the_standard_error_is_that_of_the_mean() -> None:
    mean, error = mean_and_error([1.0, 2.0, 3.0])
    assert (mean, error) == (2, pytest.approx(1 / np.sqrt(3)))


def test_one_seed_has_no_standard_error(runs: list[StoredRun]) -> None:
    drawing = aeos_minibatch.draw(runs[::3])
    assert np.isnan(mean_and_error([1.0])[1])
    assert not any("error" in quantity for quantity in drawing.table["quantity"])
    assert not drawing.figure.axes[1].containers


def test_seeds_that_reach_the_threshold_are_counted(drawing: Drawing) -> None:
    assert [label.split("\n")[-1] for label in ticks(drawing)] == ["0 of 3", "0 of 3", "3 of 3"]
    assert "seeds that reach\nthe threshold" in words(drawing)


def test_the_full_batch_is_named(drawing: Drawing) -> None:
    assert ticks(drawing)[-1].split("\n")[:2] == ["500", "(all)"]
    assert "500 (all)" in words(drawing)


def test_a_run_that_diverged_is_named_and_not_averaged(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    bad = write(tmp_path, 16, seed=7, diverged={"discrete": 190})
    drawing = aeos_minibatch.draw([*runs, bad])
    drawing.figure.draw_without_rendering()
    assert "batch size 16, seed 7: diverged at step 190" in words(drawing)
    (dots,) = lines(drawing.figure.axes[1], "batch_size=16")
    assert len(dots.get_ydata()) == 3
    assert [*lines(drawing.figure.axes[0], "discrete diverged")]
    assert ticks(drawing)[0].endswith("0 of 3")


def test_a_batch_size_whose_runs_all_diverged_keeps_its_place(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    bad = write(tmp_path, 50, diverged={"discrete": 12})
    drawing = aeos_minibatch.draw([*runs, bad])
    drawing.figure.draw_without_rendering()
    assert ticks(drawing)[1] == "50\n\ndiverged"
    assert not any(q.startswith("late_mean[batch_size=50]") for q in drawing.table["quantity"])


@pytest.mark.slow
def test_models_and_learning_rates_have_rows_of_their_own(
    runs: list[StoredRun], tmp_path: Path
) -> None:
    other = write(tmp_path, 16, model="cnn")
    fast = write(tmp_path, 16, learning_rate=0.2)
    drawing = aeos_minibatch.draw([runs[0], runs[6], other, fast])
    assert len(drawing.figure.axes) == 2 * 3
    text = "\n".join(words(drawing))
    assert "MLP" in text and "CNN" in text and "$\\eta$ = 0.2" in text
    assert "late_mean[learning_rate=0.2 batch_size=16]" in {*drawing.table["quantity"]}
    assert "late_mean[batch_size=16]" in {*drawing.table["quantity"]}
    assert (
        not drawing.table.dropna(subset="step")
        .duplicated(["model", "optimizer", "seed", "quantity", "step"])
        .any()
    )
