"""RMSProp (Hinton 2012), bias-corrected."""

import optax

from rodflow.config.declarations import RMSPROP, Optimizer

OPTIMIZER = Optimizer(
    title="RMSProp.",
    label="RMSProp",
    order=5,
    hyperparameters=RMSPROP,
    adaptive=True,
    shapeless=True,
)


def build(learning_rate: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.rmsprop(learning_rate, decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True)


def threshold(**_: float) -> float:
    """The largest stable learning_rate * S."""
    return 2.0
