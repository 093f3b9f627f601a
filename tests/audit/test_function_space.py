"""Stored errors in function space are taken again from stored weights."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from rodflow.audit.function_space import check
from rodflow.audit.recompute import output_sample
from rodflow.problem import objective
from rodflow.stages.outputs import outputs

SETTINGS = {
    "dataset": {"name": "made up"},
    "model": {"kind": "mlp", "hidden": [4], "activation": "tanh"},
    "criterion": "mse",
    "seed": 0,
    "start": 20,
}
PROCESSES = ("discrete", "stable", "rod")


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    shapes = {"input": ("feature", 3), "target": ("class", 2)}
    return xr.Dataset(
        {
            name: (("sample", dim), rng.normal(size=(9, size)).astype(np.float32))
            for name, (dim, size) in shapes.items()
        }
    )


@pytest.fixture(scope="module")
def trajectories(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    _, weights = objective.of_run(dataset, SETTINGS)
    found = {}
    for seed, process in enumerate(PROCESSES):
        steps = np.random.default_rng(seed).normal(0, 0.1, (5, weights.size))
        path = (np.asarray(weights) + steps.cumsum(0)).astype(np.float32)
        variables = {"weights": (("snapshot", "parameter"), path)}
        found[process] = xr.Dataset(variables, {"snapshot": 10 * np.arange(1, 6)}, {"title": ""})
    return found


@pytest.fixture(scope="module")
def stored(dataset: xr.Dataset, trajectories: dict[str, xr.Dataset]) -> xr.Dataset:
    return outputs(objective.of_run(dataset, SETTINGS)[0], trajectories, 20)


def _doubled(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda data: data.assign({name: 2 * data[name]})


def _fitting(data: xr.Dataset) -> xr.Dataset:
    """Errors and distances that fit each other and not the weights."""
    return data.assign({name: 2 * data[name] for name in ("output_distance", "output_error")})


FORGERIES: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], str]] = {
    "nothing": (lambda data: data, ""),
    "error": (_doubled("output_error"), "output_error is not output_distance over"),
    "both": (_fitting, "output_distance[snapshot="),
    "status": (
        lambda data: data.isel(snapshot=slice(0)).assign_attrs(status="no outputs: x"),
        "status is 'no outputs: x', recomputed 'completed'",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_does_not_fit_the_weights_is_named(name, dataset, trajectories, stored) -> None:
    forge, words = FORGERIES[name]
    one = output_sample("outputs.nc", SETTINGS, forge(stored), trajectories)
    (found,) = check(dataset, [one])
    assert found.fault.startswith(words) and bool(found.fault) == (name != "nothing")


def test_a_file_of_other_flows_or_snapshots_does_not_fit_its_trajectories(
    trajectories, stored
) -> None:
    for other in (stored.isel(process=slice(1)), stored.isel(snapshot=slice(2))):
        with pytest.raises(ValueError, match="it has other"):
            output_sample("outputs.nc", SETTINGS, other, trajectories)
