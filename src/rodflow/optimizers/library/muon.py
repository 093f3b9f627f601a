"""Muon: momentum of each matrix, orthogonalised; vectors by Adam (Jordan et al. 2024)."""

import optax

from rodflow.config.declarations import LEARNING_RATE, Optimizer, number

OPTIMIZER = Optimizer(
    title="Muon, with Adam for what is no matrix; it has no linear threshold.",
    label="Muon",
    order=20,
    hyperparameters={
        "learning_rate": LEARNING_RATE,
        "beta": number("Decay of the moving average of the gradient.", 0.95, ge=0, lt=1),
        "weight_decay": number("Decoupled weight decay of the matrices.", 0.0, ge=0),
    },
    momentum=None,
    linear=False,
)


def build(learning_rate: float, beta: float, weight_decay: float) -> optax.GradientTransformation:
    """The optax transformation, of a tree of parameters."""
    return optax.contrib.muon(learning_rate, beta=beta, weight_decay=weight_decay)
