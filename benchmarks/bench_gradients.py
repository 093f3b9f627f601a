"""What one gradient costs: the unit of everything else, against the machine's peak."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from measuring import derivatives, flops, gradients, problem, side_by_side

from rodflow.problem.objective import build

SIDE = 1024
PRODUCT = jax.jit(lambda a, b: a @ b)
MODELS = {"mlp": 50, "cnn": 10, "vit": 10}  # and gradients a round
KINDS = {1: "gradient", 2: "Hessian product", 3: "third derivative"}

pytestmark = pytest.mark.usefixtures("one_core")


def matrix_product():
    square = jnp.ones((SIDE, SIDE), jnp.float32)
    return lambda: PRODUCT(square, square).block_until_ready()


@pytest.mark.parametrize("order", KINDS, ids=KINDS.values())
@pytest.mark.parametrize("model", MODELS)
def test_derivative(benchmark, model, order):
    benchmark.group = "gradients"
    count, at = MODELS[model], problem(model, "gd")
    beside = {"matrix product": matrix_product(), "gradient": derivatives(model, "gd", 1, count)}
    side_by_side(benchmark, derivatives(model, "gd", order, count), beside)
    benchmark.extra_info.update(
        model=model,
        kind=KINDS[order],
        count=count,
        parameters=at.states[1].weights.size,
        samples=at.optimizer.loss.samples,
        matrix_product_flops=2 * SIDE**3,
        matrix_product_side=SIDE,
        flops=flops(at.optimizer.loss, at.states[1].weights) if order == 1 else None,
    )


LARGE = {
    "mlp": {"kind": "mlp", "hidden": [64, 64]},
    "cnn": {"kind": "cnn", "channels": [16, 32]},
    "vit": {"kind": "vit", "width": 32, "depth": 2, "patch": 8},
}
AT_ONCE = (None, 100, 20)


@functools.cache
def noise() -> xr.Dataset:
    """As many numbers as 1,000 images of 32 x 32 x 3 have: what they show does not matter to arithmetic."""
    random = np.random.default_rng(0)
    target = np.eye(10, dtype=np.float32)[random.integers(10, size=1000)]
    image = random.standard_normal((1000, 32, 32, 3), dtype=np.float32)
    return xr.Dataset(
        {
            "image": (("sample", "row", "column", "channel"), image),
            "target": (("sample", "class"), target),
        }
    )


@functools.cache
def large_flops(model: str) -> float:
    """Those of a gradient of all samples at once."""
    return flops(*build(noise(), LARGE[model], "mse", seed=0))


@pytest.mark.parametrize("at_once", AT_ONCE, ids=["all at once", "100 at once", "20 at once"])
@pytest.mark.parametrize("model", LARGE)
def test_large_gradient(benchmark, model, at_once):
    benchmark.group = "large gradients"
    count = 10 if model == "mlp" else 4
    loss, weights = build(noise(), LARGE[model], "mse", seed=0, samples_at_once=at_once)
    call = gradients(loss, weights, count)
    side_by_side(benchmark, call, {"matrix product": matrix_product()}, rounds=3)
    benchmark.extra_info.update(
        model=model,
        at_once=at_once,
        count=count,
        parameters=weights.size,
        matrix_product_flops=2 * SIDE**3,
        flops=large_flops(model),
    )
