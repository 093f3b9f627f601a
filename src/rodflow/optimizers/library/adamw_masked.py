"""AdamW whose weight decay spares all that is no matrix, as in practice (biases, gains of a normalisation)."""

import jax
import optax

from rodflow.config.declarations import ADAM, Optimizer, number
from rodflow.optimizers.tuned import Weights

OPTIMIZER = Optimizer(
    title="AdamW with decay of matrices only; its threshold is that of its linearised map.",
    label="AdamW, masked decay",
    order=25,
    hyperparameters=ADAM
    | {
        "weight_decay": number(
            "Decay of the matrices, times the learning rate at every step.", 0.01, ge=0
        )
    },
    momentum=None,
)


def matrices(parameters: Weights) -> Weights:
    """Which parameters have two axes or more."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
    """The optax transformation, of a tree of parameters."""
    return optax.adamw(learning_rate, b1, b2, eps, weight_decay=weight_decay, mask=matrices)
