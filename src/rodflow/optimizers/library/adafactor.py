"""Adafactor: a second moment of rank one for each matrix (Shazeer and Stern 2018, arXiv 1804.04235)."""

import optax

from rodflow.config.declarations import LEARNING_RATE, Optimizer, number, whole

OPTIMIZER = Optimizer(
    title="Adafactor; a clipped step scaled by the weights.",
    label="Adafactor",
    order=24,
    hyperparameters={
        "learning_rate": LEARNING_RATE,
        "decay_rate": number("Exponent of the decay of the second moment.", 0.8, gt=0, le=1),
        "factored_from": whole("Least dimension of a matrix that is factored.", 32, ge=1, le=65536),
    },
    linear=False,
)


def build(
    learning_rate: float, decay_rate: float, factored_from: int
) -> optax.GradientTransformation:
    """The optax transformation, of a tree of parameters."""
    return optax.adafactor(
        learning_rate, min_dim_size_to_factor=factored_from, decay_rate=decay_rate
    )
