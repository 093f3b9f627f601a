"""The figure of the two closures: what is drawn is what is tabled, runs without a closure are left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rodflow import artifact
from rodflow.figures import closures
from rodflow.figures.style import Drawing, Numbers, save
from rodflow.results import StoredRun
from synthetic_results import FLOWS, START, write_run

QUANTITIES = ["sharpness_over_threshold", "tracking_error", "rod_length"]
PROCESSES = ["discrete", "rod", "rod_unit_step", "closure"]
STEP_TIMES = {"discrete": 2e-3, "rod": 26e-3, "rod_unit_step": 14e-3, "closure": 17e-3}


def write_closure_run(root: Path, optimizer: str = "gd", **options) -> StoredRun:
    """A synthetic run with a closure, and what the figure reads besides: rod lengths and step times."""
    run = write_run(root, optimizer, flows=(*FLOWS, "closure"), **options)
    for seed, (process, step_time) in enumerate(STEP_TIMES.items()):
        data = artifact.read(run.folder / f"{process}.nc", kind="trajectory")
        length = 10 ** np.random.default_rng(seed).uniform(-6, -2, data.sizes["step"])
        data["rod_length"] = ("step", length.astype(np.float32))
        data.attrs["step_time_s"] = step_time
        settings, status = artifact.settings(data), data.attrs["status"]
        own = [k for k in data.attrs if k in ("title", "process", "status", "step_time_s")]
        data.attrs = {name: data.attrs[name] for name in own}
        path = run.folder / f"{process}.nc"
        artifact.write(data, path, kind="trajectory", root=root, settings=settings, status=status)
    return StoredRun(run.folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    """One run without a closure, one with, and one whose closure diverged."""
    root = tmp_path_factory.mktemp("results")
    return [
        write_run(root, "heavy_ball"),
        write_closure_run(root),
        write_closure_run(root, "adam", diverged={"closure": 133}),
    ]


@pytest.fixture(scope="module")
def drawing(runs: list[StoredRun]) -> Drawing:
    return closures.draw(runs)


def words(drawing: Drawing) -> list[str]:
    return [text.get_text() for axes in drawing.figure.axes for text in axes.texts]


def test_runs_without_a_closure_are_left_out(drawing: Drawing) -> None:
    assert {*drawing.table["optimizer"]} == {"gd", "adam"}
    assert len(drawing.figure.axes) == 2 * len(QUANTITIES)
    assert {*drawing.table["process"]} == {*PROCESSES}


def test_without_any_closure_one_line_says_what_to_do(runs: list[StoredRun]) -> None:
    with pytest.raises(closures.ClosuresError, match="add closure to its flows") as error:
        closures.draw(runs[:1])
    assert isinstance(error.value, ValueError)
    assert "\n" not in str(error.value)


def test_panels_draw_what_the_table_says(drawing: Drawing, runs: list[StoredRun]) -> None:
    panels, table, drawn = np.reshape(drawing.figure.axes, (2, 3)), drawing.table, 0
    assert tuple(table.columns) == Numbers.COLUMNS
    for run, row in zip(runs[1:], panels, strict=True):
        for quantity, axes in zip(QUANTITIES, row, strict=True):
            for process in PROCESSES:
                (line,) = (found for found in axes.lines if found.get_label() == process)
                here = table[
                    (table["optimizer"] == run.optimizer)
                    & (table["process"] == process)
                    & (table["quantity"] == quantity)
                ]
                np.testing.assert_array_equal(line.get_xdata(), here["step"])
                np.testing.assert_array_equal(line.get_ydata(), here["value"])
                drawn += len(here)
    assert drawn == len(table.dropna(subset="step")) > 0


def test_numbers_come_from_the_stored_files(drawing: Drawing, runs: list[StoredRun]) -> None:
    run = runs[1]
    table = drawing.table.query("optimizer == 'gd' and process == 'closure'").set_index("quantity")
    error = run.comparison["tracking_error"].sel(process="closure").dropna("snapshot")
    np.testing.assert_array_equal(table.loc["tracking_error", "value"], error)
    length = run.series("closure")["rod_length"].sel(
        step=table.loc["rod_length", "step"].to_numpy(int)
    )
    np.testing.assert_array_equal(table.loc["rod_length", "value"], length)
    assert table.loc["rod_length", "step"].min() == START
    assert table.loc["cost", "value"] == pytest.approx(8.5)
    for name in ("onset", "error_mean", "error_last"):
        assert table.loc[name, "value"] == run.comparison[name].sel(process="closure").item()


def test_numbers_are_written_beside_the_panels(drawing: Drawing, runs: list[StoredRun]) -> None:
    found = words(drawing)
    onset = runs[1].comparison["onset"].sel(process="closure").item()
    assert {"closure", "8.5×", "13×", "1×", f"{onset:.0f}"} <= {*found}
    mantissa, exponent = next(w for w in found if w.count("e-") == 1).split("e")
    assert 1 <= float(mantissa) < 10 and int(exponent) < 0


def test_a_diverged_closure_says_so_instead(drawing: Drawing) -> None:
    assert "diverged at step 133" in words(drawing)
    whole = drawing.table.query("optimizer == 'adam' and process == 'closure' and step.isna()")
    assert whole.empty


def test_rendered_twice_gives_the_same_bytes(runs: list[StoredRun], tmp_path: Path) -> None:
    first = save(closures.draw(runs), tmp_path / "a" / "closures")
    fresh = [StoredRun(run.folder) for run in runs]
    second = save(closures.draw(fresh), tmp_path / "b" / "closures")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    table = pd.read_csv(first[-1], dtype={"step": "Int64", "unit": str})
    pd.testing.assert_frame_equal(
        table, closures.draw(runs).table, check_dtype=False, check_exact=True
    )
