"""The numbers of the figures, from small trajectories made by hand."""

import numpy as np
import pytest
import xarray as xr

from rodflow.analysis.comparison import (
    compare,
    geometric_mean,
    last_quarter,
    onset,
    tracking_error,
)

START, STEPS, EVERY = 10, 50, 10
RUN = np.random.default_rng(0).standard_normal((6, 3)).cumsum(axis=0)  # at steps 0 to 50


def trajectory(weights, first: int = START, status: str = "completed") -> xr.Dataset:
    weights = np.asarray(weights)
    at = first + EVERY * np.arange(len(weights))
    return xr.Dataset(
        {"weights": (("snapshot", "parameter"), weights)},
        {"snapshot": at},
        {"status": status, "title": "iterates"},
    )


def sharpness(ratios, first: int = START) -> xr.Dataset:
    at = first + EVERY * np.arange(len(ratios))
    found = {"sharpness_over_threshold": ("snapshot", ratios)}
    return xr.Dataset(found, {"snapshot": at}, {"threshold": 20.0})


def series(values, first: int = START) -> xr.DataArray:
    return sharpness(values, first)["sharpness_over_threshold"]


DISCRETE = trajectory(RUN, first=0)


@pytest.fixture(scope="module")
def compared() -> xr.Dataset:
    """A run, a flow that follows it to the end and one that diverges after step 20."""
    trajectories = {
        "discrete": DISCRETE,
        "rod": trajectory(RUN[1:] + 0.01),
        "stable": trajectory(RUN[1:3] + np.array([[0.0], [0.5]]), status="diverged at step 25"),
    }
    ratios = {
        "discrete": sharpness([0.2, 0.4, 0.9, 1.0, 1.1, 1.2], first=0),
        "rod": sharpness([0.4, 0.9, 1.1, 1.0, 1.3]),
        "stable": sharpness([0.4, 0.8]),
    }
    return compare(trajectories, ratios, start=START, steps=STEPS)


def test_tracking_error_of_the_run_itself_is_zero():
    error = tracking_error(trajectory(RUN[1:]), DISCRETE)
    np.testing.assert_array_equal(error, np.zeros(4))


def test_tracking_error_is_the_distance_over_the_distance_travelled_since_the_start():
    flow = RUN[1:] + np.random.default_rng(1).standard_normal((5, 3))
    expected = [
        np.linalg.norm(flow[k] - RUN[1 + k]) / np.linalg.norm(RUN[1 + k] - RUN[1])
        for k in range(1, 5)
    ]
    error = tracking_error(trajectory(flow), DISCRETE)
    np.testing.assert_allclose(error, expected, rtol=1e-14)
    assert error["snapshot"].values.tolist() == [20, 30, 40, 50]


def test_tracking_error_takes_the_snapshots_that_both_have():
    flow = trajectory(RUN[1:4] + 0.1)
    assert tracking_error(flow, DISCRETE)["snapshot"].values.tolist() == [20, 30]
    assert tracking_error(flow, DISCRETE.isel(snapshot=[1, 3]))["snapshot"].values.tolist() == [30]


def test_tracking_error_is_undefined_where_nothing_has_been_travelled():
    still = trajectory(np.ones((3, 2)))
    assert np.isnan(tracking_error(still, still)).all()


def test_tracking_error_of_single_precision_weights_is_computed_in_double():
    weights = np.array([[1.0], [1.0 + 2**-20]], np.float32)
    error = tracking_error(trajectory(weights + np.float32(2**-21)), trajectory(weights))
    assert error.dtype == np.float64
    np.testing.assert_allclose(error, [0.5])


def test_geometric_mean_is_the_root_of_the_product():
    assert float(geometric_mean(series([1e-4, 1e-2, 1.0]))) == pytest.approx(1e-2)
    assert float(geometric_mean(series([1e-4, np.nan, 1.0]))) == pytest.approx(1e-2)


def test_geometric_mean_of_nothing_is_not_a_number():
    assert np.isnan(geometric_mean(series([])))


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [([0.5, 1.0, 0.9, 1.2], 20), ([1.1, 0.5, 0.5, 0.5], 10), ([0.5, 0.9, 0.99, 0.9], np.nan)],
)
def test_onset_is_the_first_snapshot_at_the_threshold(ratios, expected):
    assert onset(series(ratios), START) == pytest.approx(expected, nan_ok=True)


def test_onset_does_not_look_before_the_start():
    assert onset(series([2.0, 0.5, 0.8, 1.0], first=0), START) == 30


@pytest.mark.parametrize(
    ("last", "expected"), [(50, [40, 50]), (40, [30, 40, 50]), (51, [40, 50]), (80, [])]
)
def test_last_quarter_is_that_of_the_planned_run(last, expected):
    assert last_quarter(series(np.ones(5)), last)["snapshot"].values.tolist() == expected


def test_comparison_has_one_row_a_process(compared):
    assert compared["process"].values.tolist() == ["discrete", "rod", "stable"]
    assert compared["status"].values.tolist() == ["completed", "completed", "diverged at step 25"]


def test_comparison_explains_itself(compared):
    assert compared.attrs["title"] == "flows against iterates"
    assert all(compared[name].attrs["long_name"] for name in compared)


def test_comparison_measures_the_mean_and_last_error_of_flows_only(compared):
    rod = compared.sel(process="rod")
    error = 0.01 * np.sqrt(3) / np.linalg.norm(RUN[2:] - RUN[1], axis=1)
    assert float(rod["error_mean"]) == pytest.approx(np.exp(np.log(error).mean()))
    assert float(rod["error_last"]) == pytest.approx(error[-1])
    np.testing.assert_allclose(rod["tracking_error"].dropna("snapshot"), error)
    run = compared.sel(process="discrete")
    assert np.isnan([run["error_mean"], run["error_last"], *run["tracking_error"]]).all()


def test_comparison_averages_the_sharpness_of_the_last_quarter(compared):
    rows = compared[["late_mean", "late_lowest", "late_highest"]].to_dataframe()
    np.testing.assert_allclose(rows.loc["discrete"], [1.15, 1.1, 1.2])
    np.testing.assert_allclose(rows.loc["rod"], [1.15, 1.0, 1.3])


def test_comparison_finds_the_onset_of_every_process(compared):
    np.testing.assert_array_equal(compared["onset"], [30, 30, np.nan])


def test_flow_that_diverges_counts_as_far_as_it_came(compared):
    stable = compared.sel(process="stable")
    expected = 0.5 * np.sqrt(3) / np.linalg.norm(RUN[2] - RUN[1])
    assert float(stable["error_last"]) == pytest.approx(expected)
    assert np.isnan([stable["late_mean"], stable["late_lowest"], stable["late_highest"]]).all()
    assert stable["tracking_error"].dropna("snapshot")["snapshot"].values.tolist() == [20]


@pytest.mark.parametrize("snapshots", [0, 1])
def test_flow_that_never_left_its_start_has_no_error(snapshots):
    trajectories = {"discrete": DISCRETE, "rod": trajectory(RUN[1 : 1 + snapshots])}
    ratios = {"discrete": sharpness(np.ones(6), first=0), "rod": sharpness(np.ones(snapshots))}
    found = compare(trajectories, ratios, start=START, steps=STEPS).sel(process="rod")
    assert np.isnan([found["error_mean"], found["error_last"], found["late_mean"]]).all()
    assert found["tracking_error"].isnull().all()


def with_replicas(snapshots: int) -> xr.Dataset:
    """Two replicas of a run that has so many snapshots from the start on."""
    replicas = xr.concat([trajectory(RUN[1:] + shift) for shift in (0.01, 0.02)], "replica")
    run = trajectory(RUN[: 1 + snapshots], first=0)
    ratios = {"discrete": sharpness([1.0] * (1 + snapshots), first=0)}
    return compare({"discrete": run}, ratios, replicas=replicas, start=START, steps=STEPS)


def test_floor_is_the_tracking_error_of_each_replica():
    found = with_replicas(5)
    for number, shift in enumerate((0.01, 0.02)):
        expected = tracking_error(trajectory(RUN[1:] + shift), DISCRETE)
        np.testing.assert_allclose(found["floor"].isel(replica=number).dropna("snapshot"), expected)
        assert float(found["floor_last"][number]) == pytest.approx(float(expected[-1]))
        mean = float(geometric_mean(expected))
        assert float(found["floor_mean"][number]) == pytest.approx(mean)


@pytest.mark.parametrize("snapshots", [0, 1])
def test_run_that_diverged_before_a_replica_could_part_from_it_has_no_floor(snapshots):
    assert "floor" not in with_replicas(snapshots)


def test_a_run_that_diverged_before_its_first_iterate_is_compared_without_an_iterate_error():
    ratios = {"discrete": sharpness([1.0] * 6, first=0)}
    none = xr.Dataset(attrs={"status": "diverged at step 1"})
    found = compare({"discrete": DISCRETE}, ratios, iterates=none, start=START, steps=STEPS)
    assert "iterate_error" not in found and "tracking_error" in found


def test_iterate_error_is_the_distance_from_the_iterate_over_the_rod():
    run = DISCRETE.assign(iterate=DISCRETE["weights"])
    predicted = xr.Dataset(
        {
            "weights": (("snapshot", "parameter"), RUN[3:] + np.array([0.3, 0.0, 0.4])),
            "rod_length": ("step", [1.0, 2.0, 5.0]),
        },
        {"snapshot": [30, 40, 50], "step": [30, 40, 50]},
    )
    ratios = {"discrete": sharpness([1.0] * 6, first=0)}
    found = compare({"discrete": run}, ratios, iterates=predicted, start=START, steps=STEPS)
    errors = found["iterate_error"].dropna("snapshot")
    np.testing.assert_allclose(errors, [0.5, 0.25, 0.1])
