"""Heavy-ball momentum (Polyak 1964) in its averaging form, m' = b m + (1 - b) g."""

import optax

from rodflow.config.declarations import LEARNING_RATE, MOMENTUM, Optimizer
from rodflow.optimizers.thresholds import averaging_threshold

OPTIMIZER = Optimizer(
    title="Heavy-ball momentum, the moment an exponential moving average.",
    label="heavy ball",
    order=2,
    hyperparameters={"learning_rate": LEARNING_RATE, "momentum": MOMENTUM},
    momentum="momentum",
    normalises=False,
    shapeless=True,
)


def build(learning_rate: float, momentum: float) -> optax.GradientTransformation:
    """The optax transformation."""
    return optax.sgd(learning_rate * (1 - momentum), momentum)


def threshold(momentum: float, **_: float) -> float:
    """The largest stable learning_rate * S."""
    return averaging_threshold(momentum)
