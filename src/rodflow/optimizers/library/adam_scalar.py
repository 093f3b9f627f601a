"""Adam with one second moment for all weights (Regis and Chewi 2026, arXiv 2605.06821)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer
from rodflow.optimizers.thresholds import averaging_threshold
from rodflow.optimizers.transformations import descend, scale_by_scalar_adam

OPTIMIZER = Optimizer(
    title="Adam with one second moment for all weights.",
    label="scalar Adam",
    order=6,
    hyperparameters=ADAM,
    adaptive=True,
    momentum="b1",
    shapeless=True,
)


def build(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return descend(scale_by_scalar_adam(b1, b2, eps), learning_rate)


def threshold(b1: float, **_: float) -> float:
    """The largest stable learning_rate * S."""
    return averaging_threshold(b1)
