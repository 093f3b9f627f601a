"""Adam (Kingma and Ba 2015)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer
from rodflow.optimizers.thresholds import averaging_threshold

OPTIMIZER = Optimizer(
    title="Adam.",
    label="Adam",
    order=7,
    hyperparameters=ADAM,
    adaptive=True,
    momentum="b1",
    shapeless=True,
)


def build(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.adam(learning_rate, b1, b2, eps)


def threshold(b1: float, **_: float) -> float:
    """The largest stable learning_rate * S."""
    return averaging_threshold(b1)
