"""Nesterov momentum in its averaging form, m' = b m + (1 - b) g, looking ahead by one step."""

import optax

from rodflow.config.declarations import LEARNING_RATE, MOMENTUM, Optimizer
from rodflow.optimizers.thresholds import nesterov_threshold

OPTIMIZER = Optimizer(
    title="Nesterov momentum, the moment an exponential moving average.",
    label="Nesterov",
    order=3,
    hyperparameters={"learning_rate": LEARNING_RATE, "momentum": MOMENTUM},
    momentum=None,
    normalises=False,
    shapeless=True,
)


def build(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.sgd(learning_rate * (1 - momentum), momentum, nesterov=True)


def threshold(momentum: float, **_: float) -> float:
    """The largest stable learning_rate * S."""
    return nesterov_threshold(momentum)
