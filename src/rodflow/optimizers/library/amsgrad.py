"""AMSGrad: Adam with the largest second moment so far (Reddi, Kale and Kumar 2018)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer

OPTIMIZER = Optimizer(
    title="AMSGrad; its threshold is that of its linearised map.",
    label="AMSGrad",
    order=15,
    hyperparameters=ADAM,
    momentum="b1",
    shapeless=True,
)


def build(learning_rate: float, b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.amsgrad(learning_rate, b1, b2, eps)
