"""NovoGrad: Adam with one second moment for each layer (Ginsburg et al. 2019, arXiv 1905.11286)."""

import optax

from rodflow.config.declarations import ADAM, Optimizer, number

OPTIMIZER = Optimizer(
    title="NovoGrad; its threshold is that of its linearised map.",
    label="NovoGrad",
    order=23,
    hyperparameters=ADAM | {"weight_decay": number("Weight decay.", 0.0, ge=0)},
    momentum="b1",
)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, weight_decay: float
) -> optax.GradientTransformation:
    """The optax transformation, of a tree of parameters."""
    return optax.novograd(learning_rate, b1, b2, eps, weight_decay=weight_decay)
