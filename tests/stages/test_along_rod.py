"""The measures at amplitude through the stages, against the same formed by hand from what is stored."""

import jax
import numpy as np
import optax
import pytest
import xarray as xr

from rodflow.optimizers.table import TABLE
from rodflow.problem import labelled, objective
from rodflow.stages.along_rod import along_rod, in_span
from rodflow.stages.flow import flow_run
from rodflow.stages.sharpness import sharpness
from rodflow.stages.training import discrete_run

SETTINGS = {
    "batch_size": None,
    "criterion": "mse",
    "dataset": {"name": "digits"},
    "model": {"kind": "mlp", "hidden": [3], "activation": "tanh"},
    "optimizer": {"name": "heavy_ball", "learning_rate": 3.0, "momentum": 0.5},
    "seed": 0,
    "snapshots": {"every": 4},
    "start": 6,
    "steps": 14,
}
HOW = {"count": 1, "tolerance": 1e-2, "every": 1}


@pytest.fixture(scope="module")
def dataset() -> xr.Dataset:
    return labelled.load({"name": "digits", "samples": 12, "scaling": "unit", "size": 8})


@pytest.fixture(scope="module")
def run(dataset: xr.Dataset) -> xr.Dataset:
    return discrete_run(dataset, SETTINGS)


@pytest.fixture(scope="module")
def measured(dataset: xr.Dataset, run: xr.Dataset) -> xr.Dataset:
    return sharpness(dataset, run, SETTINGS, **HOW)


def test_multiplier_is_that_of_plain_optax_from_both_ends_momentum_included(
    dataset: xr.Dataset, run: xr.Dataset
) -> None:
    loss, _ = objective.of_run(dataset, SETTINGS)
    optimizer = optax.sgd(3.0 * 0.5, momentum=0.5)  # in the averaging form of the project
    weights, trace = (run[f"state_{index}"].values.astype(np.float64) for index in range(2))

    def end(sign: float) -> np.ndarray:
        z, m = ((v[0] + 2 * v[1] + v[2]) / 4 for v in (weights, trace))
        x, y = ((2 * v[1] - v[0] - v[2]) / 4 for v in (weights, trace))
        at = np.float32(z + sign * x)
        memory = jax.tree.map(lambda _: np.float32(m + sign * y), optimizer.init(at))
        updates, _ = optimizer.update(jax.grad(loss)(at), memory, at)
        return at + updates

    rod = (2 * weights[1] - weights[0] - weights[2]) / 4
    expected = np.linalg.norm((end(1) - end(-1)) / 2) / np.linalg.norm(rod)
    assert float(run["multiplier"].sel(snapshot=6)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.slow
def test_quotient_is_that_of_the_full_hessian(
    dataset: xr.Dataset, run: xr.Dataset, measured: xr.Dataset
) -> None:
    loss, _ = objective.of_run(dataset, SETTINGS)
    hessian = jax.hessian(loss)
    for at in (6, 14):
        z, x = (run[name].sel(snapshot=at).values for name in ("weights", "half_extent"))
        expected = float(x @ (hessian(z) @ x) / (x @ x))
        found = measured.sel(snapshot=at)
        assert float(found["quotient"]) == pytest.approx(expected, rel=1e-3)
        limit = 2 * (1 + 0.5) / (1 - 0.5) / 3.0
        assert float(found["quotient_over_threshold"]) == pytest.approx(expected / limit, rel=1e-3)
        assert float(found["eigenvalue"][0]) >= expected * (1 - 1e-3)


def test_secant_is_the_mean_of_the_quotient_along_the_rod(
    dataset: xr.Dataset, run: xr.Dataset, measured: xr.Dataset
) -> None:
    """(g(Z + X) - g(Z - X)) / 2 is the mean of H X from one end to the other: Gauss-Legendre with five nodes."""
    loss, _ = objective.of_run(dataset, SETTINGS)
    z, x = (run[name].sel(snapshot=14).values for name in ("weights", "half_extent"))
    nodes, shares = np.polynomial.legendre.leggauss(5)
    product = jax.jit(lambda at: jax.jvp(jax.grad(loss), (at,), (x,))[1] @ x)
    values = [float(product(np.float32(z + node * x))) for node in nodes]
    expected = shares @ values / 2 / (x @ x)
    assert float(measured["secant"].sel(snapshot=14)) == pytest.approx(expected, rel=1e-3)


def test_rod_flow_has_all_three_and_the_stable_flow_none(
    dataset: xr.Dataset, run: xr.Dataset
) -> None:
    rod = flow_run(dataset, run, "rod_unit_step", SETTINGS)
    stable = flow_run(dataset, run, "stable", SETTINGS)
    assert np.isfinite(rod["multiplier"]).all()
    assert "multiplier" not in stable
    loss, _ = objective.of_run(dataset, SETTINGS)
    hyperparameters = {"learning_rate": 3.0, "momentum": 0.5}
    assert not along_rod(loss, TABLE["heavy_ball"], hyperparameters, stable).data_vars
    found = along_rod(loss, TABLE["heavy_ball"], hyperparameters, rod)
    assert np.isfinite(found["secant"]).all() and np.isfinite(found["quotient"]).all()


def test_a_closed_rod_has_no_curvature(dataset: xr.Dataset, run: xr.Dataset) -> None:
    loss, _ = objective.of_run(dataset, SETTINGS)
    size = np.linalg.norm(run["weights"], axis=1) / np.linalg.norm(run["half_extent"], axis=1)
    eps = np.finfo(np.float32).eps
    for rounding, closed in ((9, True), (11, False)):
        scale = xr.DataArray(rounding * eps * size.astype(np.float32), dims="snapshot")
        data = run.assign(half_extent=run["half_extent"] * scale)
        found = along_rod(loss, TABLE["heavy_ball"], {"learning_rate": 3.0, "momentum": 0.5}, data)
        assert (np.isnan(found["quotient"]) == closed).all()


def test_a_run_on_minibatches_has_no_multiplier(dataset: xr.Dataset) -> None:
    found = discrete_run(dataset, SETTINGS | {"batch_size": 4})
    assert "multiplier" not in found


def test_a_rod_lies_in_the_span_of_its_directions_by_the_part_it_has_there() -> None:
    """In the coordinates P^{1/2} w: half of the squared rod in the first two eigenvectors, half in the third."""
    scale = np.asarray([1, 4, 9, 16], np.float32)
    unit = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    extent = (unit @ [1, 1, 2**0.5, 0] / np.sqrt(scale)).astype(np.float32)
    data = xr.Dataset(
        {
            "weights": (("snapshot", "parameter"), np.ones((1, 4), np.float32)),
            "half_extent": (("snapshot", "parameter"), extent[None]),
            "second_moment": (("snapshot", "parameter"), scale[None] ** 2),
        },
        {"snapshot": [7]},
    )
    directions = (np.sqrt(scale)[:, None] * unit[:, :2])[None]
    how = {"learning_rate": 0.5, "b2": 0.9, "eps": 0.0}
    found = in_span(TABLE["rmsprop"], how, data, directions, np.asarray([[4.0, 2.0]]))
    assert found["rod_in_span"].item() == pytest.approx(0.5, rel=1e-6)
    assert found["span_reaches"].item() == pytest.approx(2 / (2 / 0.5), rel=1e-6)


def test_a_rod_is_not_longer_in_the_leading_eigenvector_than_in_what_was_followed(
    run: xr.Dataset, measured: xr.Dataset
) -> None:
    extent = run["half_extent"].astype(np.float64)
    along = (extent * measured["eigenvector"]).sum("parameter") ** 2
    alone = along / (extent**2).sum("parameter")
    assert (alone <= measured["rod_in_span"] * (1 + 1e-5)).all()
    assert (measured["rod_in_span"] <= 1 + 1e-5).all()
    reached = measured["span_reaches"] * measured.attrs["threshold"]
    assert (reached <= measured["eigenvalue"].isel(eigenvalue_rank=-1)).all()
