"""Samples over devices and in chunks: the same results in less memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from problem.test_objective import MLP, dataset
from rodflow.linalg.curvature import hessian_products
from rodflow.problem import objective
from rodflow.problem.objective import ObjectiveError

CNN = {"kind": "cnn", "channels": [4]}


def on_four_devices(*arguments):
    """What spread.py finds on four devices that are threads of this machine."""
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    program = Path(__file__).parents[1] / "spread.py"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-W", "error", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def found():
    return on_four_devices()


@pytest.mark.slow
def test_every_device_has_an_equal_share_of_the_samples(found):
    assert found["samples of each device"] == [7, 7, 7, 7]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["mlp devices", "mlp chunks", "mlp both", "cnn both", "vit both"])
def test_loss_gradient_and_hessian_product_are_the_same_to_double_precision(found, case):
    assert found[case] < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("part", ["run", "flow", "batches"])
def test_runs_and_flows_are_the_same_to_double_precision(found, part):
    assert found[f"{part} both"] < 1e-12


@pytest.mark.slow
def test_run_and_flow_of_the_stages_are_the_same_to_single_precision():
    assert 0 < on_four_devices("stages") < 1e-4


def test_a_run_computes_as_its_settings_say():
    settings = {"dataset": {}, "model": MLP, "criterion": "mse", "seed": 0}
    way = {"compute": {"devices": 1, "samples_at_once": 3}}
    assert objective.of_run(dataset(), settings)[0].at_once is None
    assert objective.of_run(dataset(), settings | way)[0].at_once == 3


def temporary(**way) -> list[int]:
    """Bytes that a gradient and a Hessian product need besides arguments and results."""
    loss, weights = objective.build(dataset(samples=240), CNN, "mse", 0, **way)
    products = lambda loss, w: hessian_products(loss, w)(w[:, None])  # noqa: E731
    programs = (lambda loss, w: jax.grad(loss)(w), products)
    compiled = [jax.jit(program).lower(loss, weights).compile() for program in programs]
    return [one.memory_analysis().temp_size_in_bytes for one in compiled]


@pytest.mark.slow
def test_memory_of_derivatives_is_that_of_a_chunk():
    for whole, chunk in zip(temporary(), temporary(samples_at_once=24), strict=True):
        assert chunk < whole / 6


def test_all_samples_at_once_are_no_chunks():
    loss, weights = objective.build(dataset(), MLP, "mse", 0, samples_at_once=7)
    assert "scan" not in str(jax.make_jaxpr(lambda loss, w: loss(w))(loss, weights))


def test_a_chunk_has_no_more_samples_than_asked_for():
    loss, weights = objective.build(dataset(samples=7), MLP, "mse", 0, samples_at_once=3)
    text = str(jax.make_jaxpr(lambda loss, w: loss(w))(loss, weights))
    assert "length=3" in text and "slice_sizes=(3, 8, 8, 1)" in text


def test_more_devices_than_there_are_is_said_in_one_line():
    with pytest.raises(ObjectiveError, match=r"^compute.devices is 7; JAX finds \d of the kind"):
        objective.build(dataset(samples=7), MLP, "mse", 0, devices=7)


def test_unequal_shares_are_refused():
    with pytest.raises(ObjectiveError, match=r"^compute.devices is 2; it must divide the 7 sampl"):
        objective.build(dataset(samples=7), MLP, "mse", 0, devices=2)
