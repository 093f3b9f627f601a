"""Gradient descent: w' = w - eta g."""

import optax

from rodflow.config.declarations import LEARNING_RATE, Optimizer

OPTIMIZER = Optimizer(
    title="Gradient descent.",
    label="gradient descent",
    order=1,
    hyperparameters={"learning_rate": LEARNING_RATE},
    normalises=False,
    shapeless=True,
)


def build(learning_rate: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.sgd(learning_rate)


def threshold(**_: float) -> float:
    """The largest stable learning_rate * S."""
    return 2.0
