"""RMSProp without bias correction: it starts with larger steps and ends at the same threshold."""

import optax

from rodflow.config.declarations import RMSPROP, Optimizer

OPTIMIZER = Optimizer(
    title="RMSProp without bias correction.",
    label="RMSProp, no bias correction",
    order=10,
    hyperparameters=RMSPROP,
    adaptive=True,
    shapeless=True,
)


def build(learning_rate: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.rmsprop(learning_rate, decay=b2, eps=eps, eps_in_sqrt=False)


def threshold(**_: float) -> float:
    """The largest stable learning_rate * S."""
    return 2.0
