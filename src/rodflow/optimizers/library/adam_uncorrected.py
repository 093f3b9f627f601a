"""Adam without bias correction: it starts with other steps and ends at the same threshold."""

import optax

from rodflow.config.declarations import ADAM, Optimizer
from rodflow.optimizers.thresholds import averaging_threshold
from rodflow.optimizers.transformations import descend, without_bias_correction

OPTIMIZER = Optimizer(
    title="Adam without bias correction.",
    label="Adam, no bias correction",
    order=11,
    hyperparameters=ADAM,
    adaptive=True,
    momentum="b1",
    shapeless=True,
)


def build(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return descend(without_bias_correction(optax.scale_by_adam(b1, b2, eps)), learning_rate)


def threshold(b1: float, **_: float) -> float:
    """The largest stable learning_rate * S."""
    return averaging_threshold(b1)
