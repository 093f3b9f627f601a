"""AdaGrad: rescaling by the sum of squared gradients (Duchi, Hazan and Singer 2011)."""

import optax

from rodflow.config.declarations import EPS, LEARNING_RATE, Optimizer, number

OPTIMIZER = Optimizer(
    title="AdaGrad; its threshold is that of its linearised map.",
    label="AdaGrad",
    order=16,
    hyperparameters={
        "learning_rate": LEARNING_RATE,
        "initial_accumulator_value": number("Sum of squared gradients at the start.", 0.1, ge=0),
        "eps": EPS,
    },
    shapeless=True,
)


def build(
    learning_rate: float, initial_accumulator_value: float, eps: float
) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.adagrad(learning_rate, initial_accumulator_value, eps)
