"""RMSProp with one second moment for all weights (Regis and Chewi 2026, arXiv 2605.06821)."""

import optax

from rodflow.config.declarations import RMSPROP, Optimizer
from rodflow.optimizers.transformations import descend, scale_by_scalar_adam

OPTIMIZER = Optimizer(
    title="RMSProp with one second moment for all weights.",
    label="scalar RMSProp",
    order=4,
    hyperparameters=RMSPROP,
    adaptive=True,
    shapeless=True,
)


def build(learning_rate: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return descend(scale_by_scalar_adam(None, b2, eps), learning_rate)


def threshold(**_: float) -> float:
    """The largest stable learning_rate * S."""
    return 2.0
