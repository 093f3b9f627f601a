"""Learning rates in time: what a config names is optax's schedule, for every optimizer that has a learning rate."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from representatives import now
from rodflow.config.catalogue import OPTIMIZERS
from rodflow.config.schedules import SCHEDULES as DECLARED
from rodflow.config.settings import ConfigError, resolve
from rodflow.optimizers.schedules import SCHEDULES, Rate, scheduled_entry
from rodflow.optimizers.table import TABLE
from rodflow.stages.run import optimizer_of


def settings(optimizer: str, rate: Any, **others: Any) -> dict[str, Any]:
    config = {
        "name": "x",
        "models": {"mlp": {"kind": "mlp"}},
        "optimizers": {optimizer: {"learning_rate": rate, "steps": 100, **others}},
    }
    return resolve(config).runs[0].settings


def test_what_is_declared_is_what_there_is() -> None:
    assert DECLARED.keys() == SCHEDULES.keys()


def test_a_schedule_ends_with_the_run_where_nothing_is_said() -> None:
    found = settings("adam", {"schedule": "cosine", "peak": 0.1})
    assert found["optimizer"]["learning_rate"] == {
        "schedule": "cosine",
        "peak": 0.1,
        "end": 0.0,
        "steps": 100,
    }


EXPECTED = {
    "warmup_cosine": (
        {"warmup": 4, "start": 0.01, "end": 0.001},
        optax.warmup_cosine_decay_schedule(0.01, 0.1, 4, 100, 0.001),
    ),
    "cosine": ({"end": 0.01}, optax.cosine_decay_schedule(0.1, 100, 0.1)),
    "linear": ({"end": 0.02}, optax.linear_schedule(0.1, 0.02, 100)),
    "exponential": ({"factor": 0.5}, optax.exponential_decay(0.1, 100, 0.5)),
    "drop": ({"factor": 0.5, "at": 30}, optax.piecewise_constant_schedule(0.1, {30: 0.5})),
    "warmup_constant": ({"warmup": 7}, optax.warmup_constant_schedule(0.0, 0.1, 7)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_name_is_the_schedule_of_optax(name: str) -> None:
    own, expected = EXPECTED[name]
    found = settings("gd", {"schedule": name, "peak": 0.1, **own})
    known, _ = optimizer_of(found)
    step, one = known.build(), jnp.ones(1)
    memory = step.init(one)
    for count in range(100):
        updates, memory = step.update(one, memory, one)
        np.testing.assert_allclose(-updates[0], expected(count), rtol=1e-6)


def rates() -> list[str]:
    return [name for name in OPTIMIZERS if "learning_rate" in OPTIMIZERS[name].hyperparameters]


@pytest.mark.parametrize("name", now(rates(), "gd", "adam"))
def test_a_schedule_that_is_constant_is_the_optimizer_with_that_number(name: str) -> None:
    others = {
        key: setting[1].get_default()
        for key, setting in OPTIMIZERS[name].hyperparameters.items()
        if key != "learning_rate"
    }
    constant = {"schedule": "linear", "peak": 0.05, "end": 0.05, "steps": 10}
    known = scheduled_entry(TABLE[name], constant)
    weights = {"a": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.1])}
    walks = []
    for step in (known.build(**others), TABLE[name].build(learning_rate=0.05, **others)):
        here, memory = weights, step.init(weights)
        for _ in range(4):
            gradient = {key: jnp.sin(3 * leaf) for key, leaf in here.items()}
            updates, memory = step.update(gradient, memory, here)
            here = optax.apply_updates(here, updates)
        walks.append(here)
    for one, other in zip(walks[0].values(), walks[1].values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_a_rate_may_be_multiplied_from_both_sides() -> None:
    rate = 2.0 * Rate(lambda count: count + 1.0) * 3.0
    assert rate(1.0) == 12.0


BAD = {
    'optimizers.adam.learning_rate.schedule is "cosin"; it must be one of warmup_cosine, cosine': {
        "schedule": "cosin"
    },
    "optimizers.adam.learning_rate.schedule is missing": {"peak": 0.1},
    "optimizers.adam.learning_rate.peak is missing": {"schedule": "linear"},
    "optimizers.adam.learning_rate.peak is -1; it must be greater than 0": {
        "schedule": "linear",
        "peak": -1,
    },
    "optimizers.adam.learning_rate.warm is 3, but learning_rate has no warm; it takes": {
        "schedule": "linear",
        "peak": 0.1,
        "warm": 3,
    },
    "optimizers.adam.learning_rate.warmup is 100; it must be below the schedule's steps (100)": {
        "schedule": "warmup_cosine",
        "peak": 0.1,
        "warmup": 100,
    },
}


@pytest.mark.parametrize("message", BAD)
def test_a_schedule_that_is_none_is_refused_in_one_line(message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings("adam", BAD[message])
    assert str(refused.value).startswith(message)


def test_a_flow_with_a_rate_of_its_own_is_refused_under_a_schedule() -> None:
    with pytest.raises(ConfigError, match="the central flow has no learning rate that changes"):
        settings("gd", {"schedule": "cosine", "peak": 0.1}, flows=["central"])
