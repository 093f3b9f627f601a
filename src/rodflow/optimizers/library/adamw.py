"""AdamW: Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer, number

OPTIMIZER = Optimizer(
    title="Adam with decoupled weight decay; its threshold is that of its linearised map.",
    label="AdamW",
    order=14,
    hyperparameters=ADAM
    | {
        "weight_decay": number(
            "Decay of the weights, times the learning rate at every step.", 0.01, ge=0
        )
    },
    momentum=None,
    shapeless=True,
)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay)
