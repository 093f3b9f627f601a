"""The optimizer on the quadratic Taylor model: exact where the loss is quadratic, and divergent above the threshold."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.dynamics.flows.taylor import Quadratic, TaylorModel, expanded
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.training import discrete
from rodflow.optimizers.optimizer_map import optimizer_map
from small import TARGETS, WEIGHTS, double_precision, network_loss


@pytest.fixture(autouse=True)
def _float64():
    with_double = double_precision()
    with with_double:
        yield


def followed(loss, weights, rate: float, steps: int):
    optimizer = optimizer_map(loss, optax.sgd(rate), weights)
    run = discrete(optimizer, weights, steps=steps, snapshot_steps=[steps], hold=[2])
    model = integrate(
        TaylorModel(), optimizer, run.held[2][:3], start=2, stop=steps, every=steps - 2
    )
    return run, model


@pytest.mark.slow
def test_value_gradient_and_hessian_at_the_origin_are_those_of_the_loss() -> None:
    model = Quadratic(network_loss, expanded(network_loss, jnp.asarray(WEIGHTS)))
    for of in (lambda f: f, jax.grad, jax.hessian):
        np.testing.assert_allclose(of(model)(WEIGHTS), of(network_loss)(WEIGHTS), rtol=1e-10)


@pytest.mark.slow
def test_its_error_is_of_third_order() -> None:
    model, along = (
        Quadratic(network_loss, expanded(network_loss, jnp.asarray(WEIGHTS))),
        np.resize(TARGETS, WEIGHTS.size),
    )
    errors = [
        abs(model(WEIGHTS + h * along) - network_loss(WEIGHTS + h * along)) for h in (2e-2, 1e-2)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.2)


def test_on_a_parabola_it_is_the_run() -> None:
    weights = jnp.array([1.0, -2.0])
    run, model = followed(lambda w: jnp.sum(jnp.array([1.0, 3.0]) * w**2) / 2, weights, 0.5, 20)
    np.testing.assert_allclose(model.series["loss"], run.series["loss"][2:], rtol=1e-10)
    np.testing.assert_allclose(model.snapshots["weights"][-1], run.snapshots["weights"][-1])


def test_above_the_threshold_it_diverges_where_the_run_does_not() -> None:
    def quartic(w):
        return jnp.sum(w**2 / 2 - w**4 / 4)

    run, model = followed(quartic, jnp.array([0.05]), 2.2, 60)
    assert run.series["loss"][-1] < 0.1
    growth = model.series["loss"][-1] / model.series["loss"][-2]
    origin = run.held[2][1].weights[0]
    assert growth == pytest.approx((1 - 2.2 * (1 - 3 * origin**2)) ** 2, rel=1e-2)
