"""k-Adam whose k rescalings share the decays of one Adam."""

import optax

from rodflow.config.declarations import K_ADAM, Optimizer
from rodflow.optimizers.thresholds import k_adam_threshold
from rodflow.optimizers.transformations import descend, scale_by_k_adam, shared_decay

OPTIMIZER = Optimizer(
    title="k-Adam whose rescalings share the decays: each has 1 - (1 - b)^(1/k).",
    label="k-Adam, shared decays",
    order=13,
    hyperparameters=K_ADAM,
    adaptive=True,
    momentum=None,
    shapeless=True,
)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, k: int
) -> optax.GradientTransformation:
    """The optax transformation."""
    return descend(scale_by_k_adam(shared_decay(b1, k), shared_decay(b2, k), eps, k), learning_rate)


def threshold(b1: float, k: int, **_: float) -> float:
    """The largest stable learning_rate * S, see `rodflow.optimizers.thresholds.k_adam_threshold`.

    Args:
        b1: decay of the first moment that the rescalings share.
        k: how many rescalings.
    """
    return k_adam_threshold(shared_decay(b1, k), k)


def decay(b2: float, k: int, **_: float) -> float:
    """The decay of each of its second moments, 1 - (1 - b2)^(1/k).

    Args:
        b2: decay of the second moment that the rescalings share.
        k: how many rescalings.
    """
    return shared_decay(b2, k)
