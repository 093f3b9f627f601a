"""What is run again from stored states: replicas, single iterates, an onset window at the onset."""

from typing import Any

import numpy as np
import pytest
import xarray as xr

from rodflow.problem import labelled
from rodflow.stages.iterates import iterates
from rodflow.stages.onset_window import onset_window
from rodflow.stages.replicas import replicas as replicas_of
from rodflow.stages.run import prepare
from rodflow.stages.sharpness import sharpness as measured
from rodflow.stages.training import discrete_run

SETTINGS: dict[str, Any] = {
    "dataset": {"name": "digits", "samples": 40, "scaling": "unit", "size": 8},
    "batch_size": None,
    "criterion": "mse",
    "model": {"kind": "mlp", "hidden": [6], "activation": "tanh"},
    "optimizer": {"name": "gd", "learning_rate": 0.1},
    "seed": 0,
    "snapshots": {"every": 10},
    "start": 20,
    "steps": 120,
}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return labelled.load(SETTINGS["dataset"])


@pytest.fixture(scope="module")
def discrete(dataset: xr.Dataset) -> xr.Dataset:
    return discrete_run(dataset, SETTINGS)


@pytest.fixture(scope="module")
def sharpness(dataset: xr.Dataset, discrete: xr.Dataset) -> xr.Dataset:
    return measured(dataset, discrete, SETTINGS, count=1, tolerance=1e-3, every=1)


@pytest.fixture(scope="module")
def below(discrete: xr.Dataset) -> xr.Dataset:
    """The discrete run as it would be had it diverged before the start."""
    states = [name for name in discrete if str(name).startswith("state_")]
    return discrete.drop_vars(states).assign_attrs(status="diverged at step 7")


@pytest.fixture(scope="module")
def replicas(dataset: xr.Dataset, discrete: xr.Dataset) -> xr.Dataset:
    return replicas_of(prepare(dataset, SETTINGS), discrete, count=2)


def test_replicas_start_within_rounding_of_the_run_and_of_each_other(discrete, replicas) -> None:
    first = replicas["weights"].sel(snapshot=20).values
    run = discrete["weights"].sel(snapshot=20).values
    assert 0 < np.abs(first - run).max() <= 1e-6 * np.abs(run).max()
    assert 0 < np.abs(first[0] - first[1]).max()


def test_replicas_are_compared_at_the_snapshots_of_the_flows(discrete, replicas) -> None:
    assert replicas["snapshot"].values.tolist() == list(range(20, 121, 10))
    assert replicas.attrs["status"] == "completed"
    assert np.isfinite(replicas["weights"]).all() and np.isfinite(replicas["loss"]).all()


def test_a_run_without_states_has_replicas_that_did_not_start(dataset, below) -> None:
    found = replicas_of(prepare(dataset, SETTINGS), below, count=2)
    assert found.attrs["status"] == "not started: discrete run diverged at step 7"
    assert np.isnan(found["weights"]).all()


def at_threshold(sharpness: xr.Dataset) -> xr.Dataset:
    """The same eigenvectors with a sharpness that says that the threshold has been reached."""
    ratio = xr.ones_like(sharpness["sharpness_over_threshold"])
    return sharpness.assign(sharpness_over_threshold=ratio)


def test_the_replayed_iterates_are_those_that_are_stored(dataset, discrete, sharpness) -> None:
    found = iterates(prepare(dataset, SETTINGS), discrete, at_threshold(sharpness), restart=60)
    assert found.attrs["replay_difference"] == 0
    # gd has no preconditioner: positions are along the eigenvector itself
    vector = sharpness["eigenvector"].sel(snapshot=60)
    stored = discrete["iterate"].sel(snapshot=slice(60, None))
    expected = ((stored - stored.isel(snapshot=0)) * vector.drop_vars("snapshot")).sum("parameter")
    actual = found["actual"].sel(step=stored["snapshot"].values)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_iterate_error_is_that_of_the_predicted_weights(dataset, discrete, sharpness) -> None:
    found = iterates(prepare(dataset, SETTINGS), discrete, at_threshold(sharpness), restart=60)
    at = found["snapshot"].values
    assert at.tolist() == list(range(60, 121, 10))
    gap = np.linalg.norm(found["weights"].values - discrete["iterate"].sel(snapshot=at), axis=1)
    expected = gap / found["rod_length"].sel(step=at).values
    np.testing.assert_allclose(found["iterate_error"].sel(step=at), expected, rtol=0.05, atol=1e-3)
    assert found["iterate_error"].isel(step=0) < 1e-3


def test_iterates_are_not_predicted_below_the_threshold(dataset, discrete, sharpness) -> None:
    low = sharpness.assign(sharpness_over_threshold=0.43 * sharpness["raw_sharpness"] ** 0)
    found = iterates(prepare(dataset, SETTINGS), discrete, low, restart=60)
    assert found.attrs["status"] == "not started: below the threshold (0.43 of it)"
    assert found.sizes["step"] == found.sizes["snapshot"] == 0


def test_iterates_are_predicted_from_the_first_snapshot_of_an_open_rod(
    dataset, discrete, sharpness
) -> None:
    length = np.where(discrete["step"] < 91, 1e-3, 2.0)
    opened = discrete.assign(rod_length=("step", length))
    found = iterates(prepare(dataset, SETTINGS), opened, at_threshold(sharpness))
    assert found.attrs["restart"] == 100
    low = sharpness.assign(sharpness_over_threshold=0.43 * sharpness["raw_sharpness"] ** 0)
    found = iterates(prepare(dataset, SETTINGS), opened, low)
    assert found.attrs["status"] == "not started: threshold not reached (0.43 of it at most)"


def test_the_onset_window_has_every_iterate_around_the_onset(dataset, discrete, sharpness) -> None:
    reached = (discrete["snapshot"].values >= 70).astype(float)
    rising = sharpness.assign(sharpness_over_threshold=("snapshot", reached))
    length = np.where(discrete["step"] < 91, 1e-3, 2.0)
    opened = discrete.assign(rod_length=("step", length))
    found = onset_window(prepare(dataset, SETTINGS), opened, rising)
    assert (found.attrs["onset"], found.attrs["centre"]) == (70, 91)
    assert found["step"].values.tolist() == list(range(31, 121))
    at = discrete["snapshot"].sel(snapshot=slice(31, None)).values
    np.testing.assert_array_equal(
        found["iterate"].sel(step=at).values, discrete["iterate"].sel(snapshot=at).values
    )
    assert np.linalg.norm(found["eigenvector"]) == pytest.approx(1)
