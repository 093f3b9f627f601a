"""Yogi: Adam with an additive second moment (Zaheer et al. 2018)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer

OPTIMIZER = Optimizer(
    title="Yogi; its threshold is that of its linearised map.",
    label="Yogi",
    order=17,
    hyperparameters=ADAM,
    momentum="b1",
    shapeless=True,
)


def build(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.yogi(learning_rate, b1, b2, eps)
