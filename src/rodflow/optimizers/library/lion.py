"""Lion: the sign of a moving average (Chen et al. 2023, arXiv 2302.06675)."""

import optax

from rodflow.config.declarations import B1, B2, LEARNING_RATE, Optimizer, number

OPTIMIZER = Optimizer(
    title="Lion; a sign has no linear threshold.",
    label="Lion",
    order=19,
    hyperparameters={
        "learning_rate": LEARNING_RATE,
        "b1": B1,
        "b2": B2,
        "weight_decay": number("Decoupled weight decay.", 1e-3, ge=0),
    },
    momentum=None,
    shapeless=True,
    linear=False,
)


def build(
    learning_rate: float, b1: float, b2: float, weight_decay: float
) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.lion(learning_rate, b1, b2, weight_decay=weight_decay)
