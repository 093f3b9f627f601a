"""The toys of config/toys.py: their form, where they start, and that every model runs on so few weights."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rodflow

FILE = Path(__file__).parents[2] / "config" / "toys.py"
SPEC = importlib.util.spec_from_file_location("toys", FILE)
assert SPEC is not None and SPEC.loader is not None
toys = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(toys)

ETA, EPS = 0.3, 0.01
SAMPLE = jnp.zeros((1, 1))
KINDS = ("one", "two_of_one_curvature", "two")


def made(kind: str, **settings: float):
    """The loss as a function of weights, and where it starts."""
    function, start = getattr(toys, kind)(eps=EPS, learning_rate=ETA, **settings)
    return (lambda weights: toys.value(function(weights, SAMPLE), SAMPLE)), start


def test_the_toy_of_two_weights_is_berthiers() -> None:
    loss, _ = made("one", zeta=0.7)
    x, y = 0.2, 5.0
    assert loss({"x": x, "y": y}) == pytest.approx(
        (y + 0.7 * x) * x**2 / 2 - EPS * (x + y), rel=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_curvature_comes_to_the_threshold_after_so_many_steps(kind: str) -> None:
    loss, start = made(kind, ahead=40)
    still = start | {"x": jnp.zeros_like(start["x"])}
    rise = -ETA * jax.grad(loss)(still)["y"]
    first = jnp.atleast_1d(start["y"] + 40 * rise)[0]
    assert first == pytest.approx(2 / ETA, rel=1e-5)


def test_five_weights_know_no_axes_but_those_of_zeta() -> None:
    loss, _ = made("two", zeta=0.0)
    turn = jnp.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])

    def without_the_pull(x: jax.Array, y: jax.Array) -> jax.Array:
        return loss({"x": x, "y": y}) + EPS * jnp.sum(x)

    x, y = jnp.array([0.3, -0.2]), jnp.array([5.0, 4.0, 0.6])
    beside = y[2] / np.sqrt(2)
    turned = turn @ jnp.array([[y[0], beside], [beside, y[1]]]) @ turn.T
    entries = jnp.array([turned[0, 0], turned[1, 1], np.sqrt(2) * turned[0, 1]])
    assert without_the_pull(turn @ x, entries) == pytest.approx(
        float(without_the_pull(x, y)), rel=1e-5
    )
    assert jnp.linalg.norm(entries) == pytest.approx(float(jnp.linalg.norm(y)), rel=1e-5)


@pytest.mark.slow
def test_the_central_flow_of_two_weights_stays_at_its_threshold(tmp_path) -> None:
    loss, start = made("one", ahead=20)
    study = rodflow.study(
        loss,
        start,
        optax.sgd(ETA),
        steps=120,
        start=10,
        every=10,
        flows=["stable", "central"],
        folder=tmp_path,
        progress=False,
    )
    last = study.sharpness.isel(snapshot=-1)
    assert last.sel(process="stable") > 1.02
    assert last.sel(process="central") == pytest.approx(1, abs=2e-3)
    spread = study.trajectory("central")["oscillation"].values[-1]
    assert spread**2 == pytest.approx(2 * EPS, rel=0.05)
