"""NAdam (Dozat 2016): Adam with Nesterov momentum."""

import optax

from rodflow.config.declarations import ADAM, Optimizer
from rodflow.optimizers.thresholds import nesterov_threshold

OPTIMIZER = Optimizer(
    title="Adam with Nesterov momentum.",
    label="NAdam",
    order=9,
    hyperparameters=ADAM,
    adaptive=True,
    momentum=None,
    shapeless=True,
)


def build(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.nadam(learning_rate, b1, b2, eps)


def threshold(b1: float, **_: float) -> float:
    """The largest stable learning_rate * S."""
    return nesterov_threshold(b1)
