"""LARS: momentum along a gradient scaled to the weights of each layer (You et al. 2017, arXiv 1708.03888)."""

import optax

from rodflow.config.declarations import LEARNING_RATE, MOMENTUM, Optimizer, number

OPTIMIZER = Optimizer(
    title="LARS; a step scaled by the norm of a layer's gradient has no linear threshold.",
    label="LARS",
    order=21,
    hyperparameters={
        "learning_rate": LEARNING_RATE,
        "momentum": MOMENTUM,
        "weight_decay": number("Added to the gradient, as a multiple of the weights.", 0.0, ge=0),
        "trust_coefficient": number(
            "Length of a layer's step over that of its weights.", 1e-3, gt=0
        ),
    },
    momentum=None,
    linear=False,
)


def build(
    learning_rate: float, momentum: float, weight_decay: float, trust_coefficient: float
) -> optax.GradientTransformation:
    """The optax transformation, of a tree of parameters."""
    return optax.lars(
        learning_rate, weight_decay, trust_coefficient=trust_coefficient, momentum=momentum
    )
