"""Gradient descent with momentum and weight decay, in the averaging form m' = b m + (1 - b) (g + lambda w)."""

import optax

from rodflow.config.declarations import LEARNING_RATE, MOMENTUM, Optimizer, number

OPTIMIZER = Optimizer(
    title="Gradient descent with momentum and weight decay; its threshold is that of its linearised map.",
    label="momentum, weight decay",
    order=18,
    hyperparameters={
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "weight_decay": number("Added to the gradient, as a multiple of the weights.", 1e-3, ge=0),
    },
    momentum=None,
    normalises=False,
    shapeless=True,
)


def build(
    learning_rate: float, momentum: float, weight_decay: float
) -> optax.GradientTransformation:
    """The optax transformation."""
    rate = learning_rate * (1 - momentum)
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum))
