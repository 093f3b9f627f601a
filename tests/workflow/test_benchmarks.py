"""The benchmark suite: its tables say what was measured, and `make bench` finds it. The measurements have no tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rodflow.problem import labelled, objective

ROOT = Path(__file__).parents[2]
MACHINE = {
    "cpu": {"brand_raw": "A processor"},
    "cores": 2,
    "memory": 8 * 2**30,
    "system": "Linux",
    "machine": "x86_64",
    "python_version": "3.11.7",
    "packages": {"jax": "0.10.2"},
}


@pytest.fixture
def benchmarks(monkeypatch):
    """Makes the suite's modules importable."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def tables(*measured):
    """The report of some measurements (group, seconds, what else), as section -> lines."""
    from report import report

    rows = [
        {"group": group, "stats": {"min": seconds}, "extra_info": extra}
        for group, seconds, extra in measured
    ]
    text = report({"machine_info": MACHINE, "benchmarks": json.loads(json.dumps(rows))})
    return dict(part.split("\n", 1) for part in text.removeprefix("# ").split("\n## "))


def derivative(kind, seconds, flops=None):
    beside = {"gradient": 0.02, "matrix product": 0.01}
    sizes = {"parameters": 7, "samples": 5, "count": 10, "flops": flops}
    peak = {"matrix_product_flops": 1e9, "matrix_product_side": 8}
    return "gradients", seconds, {"model": "mlp", "kind": kind, "beside": beside, **sizes, **peak}


def step(process, seconds, gradients, products=0.0):
    counts = {"gradients": gradients, "hessian_products": products, "third_derivatives": 0.0}
    beside = {"discrete": 0.04, "gradient": 0.02}
    names = {"model": "mlp", "optimizer": "gd", "process": process, "steps": 10}
    return "steps", seconds, {**names, **counts, "beside": beside}


def test_work_of_a_gradient_stands_against_the_peak_of_the_same_rounds(benchmarks):
    said = tables(derivative("gradient", 0.02, flops=1e8), derivative("Hessian product", 0.03))
    # 1e8 operations in 2 ms are half of 1e9 in 10 ms.
    assert "| mlp | 7 | 5 | gradient | 2000 | 1.00 | 100.0 | 50.0 | 50% |" in said["A gradient"]
    assert "| mlp | 7 | 5 | Hessian product | 3000 | 1.50 |  |  |  |" in said["A gradient"]
    assert "100 GFLOP/s" in said["A gradient"]


def test_a_step_stands_over_the_discrete_one_of_the_same_rounds(benchmarks):
    said = tables(
        derivative("Hessian product", 0.03),
        step("rod_unit_step", 0.16, 6.0),
        step("rod", 0.48, 10.0),
        step("edge", 0.4, 4.0, products=2.0),
    )["A step"]
    assert "| rod_unit_step | 16.000 | 4.0 | met: 5 | 6.0 |  |  | 2667 | 75% |  |" in said
    assert "| rod | 48.000 | 12.0 | **missed**: 10 | 10.0 |  |  | 4800 | 42% |  |" in said
    # Two products of 1.5 gradients.
    assert "| edge | 40.000 | 10.0 |  | 4.0 | 2.0 |  | 10000 | 20% | 15% |" in said
    assert "`rod_unit_step`, at most 5 times the discrete run's: 1 of 1 rows" in said
    assert "`rod`, at most 10 times the discrete run's: 0 of 1 rows" in said


def test_accuracy_stands_beside_cost_and_memory(benchmarks):
    def stage(process, step, memory, *errors):
        named = dict(zip(("error_mean", "error_last"), errors, strict=False))
        names = {"optimizer": "gd", "process": process, "gradients": 6.0, "seconds": 3.0}
        return "stages", 3.0, {**names, "step_time": step, "memory": memory, **named}

    found = tables(
        stage("discrete", 0.001, 200.0),
        stage("stable", 0.004, 210.0, 1e-2, 3e-2),
        stage("rod", 0.01, 220.0, 8e-5, 1e-3),
        stage("rod_unit_step", 0.005, 300.0, 7e-5, 1e-4),
    )
    said = found["Accuracy, cost and memory of whole runs"]
    rod = "| 8.0e-5 | 1.0e-3 | 30 | **missed**: >= 100, met: mean <= 5.0e-4 | 10.000 | 10.0 |"
    assert rod in said
    unit = "| 300 | met: >= 100, met: mean <= 2.0e-4, met: mean <= ODE's | 5.000 | 5.0 |"
    assert f"| 7.0e-5 | 1.0e-4 {unit} 6.0 | 3.0 | 300 | 1.50 |" in said


def test_what_was_not_measured_is_left_out(benchmarks):
    said = tables(("workflow", 12.0, {"files": 3, "seconds": 11.0, "processor": 3.0}))
    assert [*said] == ["Benchmarks", "Nothing to do", "Growth"]
    assert "11.0 s, 3.0 s of processor time; at most 10 s: **missed**" in said["Nothing to do"]
    assert "A processor, 2 cores, 8 GiB" in said["Benchmarks"]


def test_operations_of_a_gradient_are_those_of_its_matrix_products(benchmarks):
    from measuring import flops

    samples, hidden = 50, [6, 5]
    data = labelled.load({"name": "digits", "samples": samples, "size": 8, "scaling": "unit"})
    model = {"kind": "mlp", "hidden": hidden, "activation": "tanh"}
    loss, weights = objective.build(data, model, "mse", 0)
    widths = np.array([64, *hidden, 10])
    layers = widths[:-1] * widths[1:]
    # Forward, gradient of the weights, and of the inputs of all layers but the first.
    products = 2 * samples * (2 * layers.sum() + layers[1:].sum())
    assert products < flops(loss, weights) < 1.1 * products


@pytest.mark.slow
def test_make_bench_collects_every_measurement():
    target = (ROOT / "Makefile").read_text().split("\nbench:")[1].split("\n\n")[0]
    (arguments,) = re.findall(r"pytest (benchmarks -q)", target)
    command = [sys.executable, "-m", "pytest", *arguments.split(), "--collect-only", "-n0"]
    # Within a worker of xdist pytest-benchmark would take itself for one.
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=alone)
    assert found.returncode == 0, found.stdout + found.stderr
    for module in (ROOT / "benchmarks").glob("bench_*.py"):
        assert f"{module.name}::test_" in found.stdout


def test_every_public_transformation_of_optax_has_its_row_on_the_page(benchmarks):
    import optax_transformations

    page = (ROOT / "docs" / "optax.md").read_text(encoding="utf-8")
    assert len(optax_transformations.makers()) > 90
    missing = [name for name in optax_transformations.makers() if f"`{name}`" not in page]
    assert not missing


@pytest.mark.slow
@pytest.mark.parametrize("name", ["contrib.muon", "sgd", "adamw"])
def test_a_transformation_that_runs_is_plain_optax_to_rounding(benchmarks, name):
    import optax_transformations

    found = optax_transformations.row(name, optax_transformations.builds()[name])
    assert found.runs
    assert found.difference < 1e-10
    assert found.threshold == ("none" if "muon" in name else "alternates")


@pytest.mark.parametrize(
    ("name", "why"), [("add_noise", "random key"), ("optimistic_gradient_descent", "bool values")]
)
def test_a_transformation_that_is_no_map_says_why(benchmarks, name, why):
    import optax_transformations

    found = optax_transformations.row(name, optax_transformations.builds()[name])
    assert not found.runs
    assert why in found.reason
