"""LAMB: Adam with a step scaled to the weights of each layer (You et al. 2020, arXiv 1904.00962)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer, number

OPTIMIZER = Optimizer(
    title="LAMB; a step scaled by its own norm has no linear threshold.",
    label="LAMB",
    order=22,
    hyperparameters=ADAM | {"weight_decay": number("Decoupled weight decay.", 0.0, ge=0)},
    momentum="b1",
    linear=False,
)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
    """The optax transformation, of a tree of parameters."""
    return optax.lamb(learning_rate, b1, b2, eps, weight_decay=weight_decay)
