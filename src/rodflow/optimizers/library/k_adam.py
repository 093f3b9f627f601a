"""k-Adam: Adam's rescaling k times over (Gould and Tanaka 2024, arXiv 2411.05746, in our reading)."""

import optax

from rodflow.config.declarations import K_ADAM, Optimizer
from rodflow.optimizers.thresholds import k_adam_threshold
from rodflow.optimizers.transformations import descend, scale_by_k_adam

OPTIMIZER = Optimizer(
    title="k-Adam: Adam's rescaling k times over.",
    label="k-Adam",
    order=12,
    hyperparameters=K_ADAM,
    adaptive=True,
    momentum=None,
    shapeless=True,
)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, k: int
) -> optax.GradientTransformation:
    """The optax transformation."""
    return descend(scale_by_k_adam(b1, b2, eps, k), learning_rate)


def threshold(b1: float, k: int, **_: float) -> float:
    """The largest stable learning_rate * S, see `rodflow.optimizers.thresholds.k_adam_threshold`.

    Args:
        b1: decay of the first moment of each rescaling.
        k: how many rescalings.
    """
    return k_adam_threshold(b1, k)
