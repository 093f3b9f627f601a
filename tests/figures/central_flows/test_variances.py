"""Variances along the directions of an oscillation: what they are of rods and of a central flow, and what is drawn."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from drawn import assert_drawn, lines, panels, rows_of, words
from rodflow.figures.central_flows.variances import draw
from rodflow.figures.core.variances import averaged_variances, held_variances, variances
from rodflow.store.results import StoredRun
from synthetic_results import MOMENT, make_run

FLOWS = ("stable", "central", "rod")
OF_CENTRAL = (0.3, 0.2, 0.1)


def with_variances(process: str, data: xr.Dataset) -> xr.Dataset:
    """The central flow's, and a rod of the run that is open throughout."""
    if process == "discrete":
        return data.assign(rod_length=0 * data["loss"] + 1)
    if process != "central":
        return data
    return data.assign(
        {
            f"variance_{k}": 0 * data["loss"] + np.float32(v)
            for k, v in enumerate(OF_CENTRAL, start=1)
        }
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[StoredRun]:
    root = tmp_path_factory.mktemp("results")
    return [
        make_run(root, name, flows=FLOWS, change=with_variances, replays={})
        for name in ("gd", "rmsprop")
    ]


def test_one_rod_that_alternates_has_its_squared_length_along_one_direction() -> None:
    rod = np.array([3.0, 0.0, 4.0])
    found = averaged_variances(np.stack([rod, -rod, rod, -rod]), 3)
    np.testing.assert_allclose(found, np.tile([25, 0, 0], (4, 1)), atol=1e-12)


def test_variances_are_the_eigenvalues_of_the_mean_covariance_around() -> None:
    rods = np.random.default_rng(0).standard_normal((7, 5))
    found = averaged_variances(rods, 5)
    for place, around in ((0, rods[:3]), (3, rods[1:6]), (6, rods[4:])):
        dense = np.linalg.eigvalsh(around.T @ around / len(around))[::-1][:3]
        np.testing.assert_allclose(found[place], dense, atol=1e-12)


def test_rods_that_are_no_numbers_have_no_variance_and_leave_the_others() -> None:
    rods = np.ones((9, 2))
    rods[0] = np.nan
    found = averaged_variances(rods, 3)
    assert np.isnan(found[:2]).all()
    np.testing.assert_allclose(found[2:, 0], 2)


def test_the_metric_is_the_preconditioner_over_the_learning_rate(runs: list[StoredRun]) -> None:
    for run, scale in zip(runs, (1.0, np.sqrt(MOMENT) + 1e-8), strict=True):
        values = variances(run, "discrete")
        assert values is not None
        rod = run.trajectory("discrete")["half_extent"].sel(snapshot=100).values
        expected = 5 / 9 * np.sum(scale / 0.1 * rod**2)  # five of the nine around it are open
        assert float(values.sel(snapshot=100)[0]) == pytest.approx(expected, rel=1e-5)


def test_a_central_flow_has_those_that_it_stores_and_a_stable_flow_none(
    runs: list[StoredRun],
) -> None:
    values = variances(runs[0], "central")
    assert values is not None
    np.testing.assert_allclose(values, np.tile(OF_CENTRAL, (len(values), 1)), rtol=1e-6)
    np.testing.assert_allclose(held_variances(runs[0], values), OF_CENTRAL, rtol=1e-6)
    assert variances(runs[0], "stable") is None


def test_a_run_below_its_threshold_holds_no_variance(tmp_path: Path) -> None:
    def never(data: xr.Dataset) -> xr.Dataset:
        return data.assign(onset=data["onset"] * np.nan)

    run = make_run(tmp_path, flows=FLOWS, change=with_variances, replays={}, compared=never)
    values = variances(run, "central")
    assert values is not None
    assert np.isnan(held_variances(run, values)).all()


def test_every_process_that_oscillates_is_a_line_in_each_direction(runs: list[StoredRun]) -> None:
    drawing = draw(runs)
    drawing.figure.draw_without_rendering()
    for run, row in zip(runs, panels(drawing, 3), strict=True):
        own = drawing.table[drawing.table["optimizer"] == run.optimizer]
        for direction, axes in enumerate(row, start=1):
            for process in ("discrete", "central", "rod"):
                (line,) = lines(axes, process)
                assert_drawn(line, rows_of(own, process, f"variance_{direction}"))
            assert not [*lines(axes, "stable")]


@pytest.mark.slow
def test_rows_name_their_seeds_where_there_are_several(tmp_path: Path) -> None:
    def seeds_of_rows(*seeds: int) -> list[str]:
        options = {"flows": FLOWS, "change": with_variances, "replays": {}}
        found = [make_run(tmp_path, "gd", seed=seed, **options) for seed in seeds]
        return [word.split("\n")[0] for word in words(draw(found)) if word.startswith("seed")]

    assert seeds_of_rows(1, 2) == ["seed 1", "seed 2"]
    assert not seeds_of_rows(1)
