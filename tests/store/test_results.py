"""Stored runs: found in order, read on demand, kept."""

import subprocess
import sys
from pathlib import Path

import pytest

from rodflow.config.catalogue import OPTIMIZERS
from rodflow.optimizers.table import TABLE
from rodflow.store import artifact
from rodflow.store.results import StoredRun, ordered, stored_runs
from synthetic_results import START, STEPS, write_run


def test_order_is_that_of_the_optimizer_table() -> None:
    assert tuple(TABLE) == tuple(OPTIMIZERS)


@pytest.mark.slow
def test_runs_come_by_model_then_optimizer_then_seed(tmp_path: Path) -> None:
    chosen = [
        ("mlp", "lion", 0),
        ("mlp", "adam", 10),
        ("mlp", "adam", 9),
        ("mlp", "gd", 0),
        ("cnn", "nadam", 0),
    ]
    for model, optimizer, seed in chosen:
        write_run(tmp_path, optimizer, model, seed, flows=("rod",))
    (tmp_path / "mlp" / "gd" / "seed1").mkdir()
    found = stored_runs(str(tmp_path))
    assert [(run.model, run.optimizer, run.seed) for run in found] == [
        ("cnn", "nadam", 0),
        ("mlp", "gd", 0),
        ("mlp", "adam", 9),
        ("mlp", "adam", 10),
        ("mlp", "lion", 0),
    ]
    assert ordered(reversed(found)) == found


def test_no_runs_in_an_empty_folder(tmp_path: Path) -> None:
    assert stored_runs(tmp_path) == []


def test_a_run_reads_what_was_written(tmp_path: Path) -> None:
    run = write_run(tmp_path, "heavy_ball", flows=("stable", "rod"))
    assert run.processes == ("discrete", "stable", "rod")
    assert (run.settings["start"], run.settings["steps"]) == (START, STEPS)
    assert run.threshold == pytest.approx(38)
    stored = artifact.read(run.folder / "rod.nc")
    assert run.trajectory("rod").identical(stored)
    assert run.sharpness("rod").attrs["process"] == "rod"
    assert run.comparison["error_last"].sel(process="rod") > 0


def test_series_are_a_trajectory_without_its_weights(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    series = run.series("rod")
    assert "parameter" not in series.sizes
    assert series.identical(run.trajectory("rod").drop_dims("parameter"))


def test_files_are_read_once_and_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path)
    opened, seen = artifact.open_lazily, []

    def counting(path: Path, **options: str) -> object:
        seen.append(path.name)
        return opened(path, **options)

    monkeypatch.setattr(artifact, "open_lazily", counting)
    fresh = StoredRun(run.folder)
    assert (fresh.model, fresh.optimizer, fresh.seed, seen) == ("mlp", "gd", 0, [])
    for _ in range(2):
        assert fresh.trajectory("rod") is fresh.trajectory("rod")
        fresh.series("rod"), fresh.series("stable"), fresh.comparison, fresh.processes
    assert sorted(seen) == ["comparison.nc", "rod.nc", "stable.nc"]


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    (run.folder / "comparison.nc").replace(run.folder / "rod.nc")
    with pytest.raises(artifact.ArtifactError, match=r"rod\.nc.*kind 'comparison'"):
        run.trajectory("rod")


@pytest.mark.slow
def test_reading_imports_no_jax() -> None:
    code = "import sys, rodflow.store.results; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_released_run_keeps_what_is_short_and_reads_the_rest_again(tmp_path: Path) -> None:
    run = write_run(tmp_path, "gd", flows=("rod",))
    whole, short, compared = run.trajectory("rod"), run.series("rod"), run.comparison
    run.release()
    assert run.series("rod").identical(short) and run.comparison is compared
    assert run.trajectory("rod") is not whole and run.trajectory("rod").identical(whole)
