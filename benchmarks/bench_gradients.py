"""What one gradient costs: the unit of everything else, against the machine's peak."""

import jax
import jax.numpy as jnp
import pytest
from measuring import derivatives, flops, problem, side_by_side

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
