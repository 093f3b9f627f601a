"""The fully connected network."""

import flax.linen as nn

from rodflow.config.declarations import Model, choice, widths
from rodflow.problem.layers import ACTIVATIONS, Images, Logits, Normalised, product

MODEL = Model(
    title="Fully connected network.",
    label="MLP",
    order=1,
    settings={
        "hidden": widths("Width of each hidden layer.", [32, 32]),
        "activation": choice("Nonlinearity between layers.", "tanh", "tanh", "relu", "gelu"),
        "normalisation": choice(
            "Layer norm after each hidden layer, whose kernels are then scale invariant.",
            "none",
            "none",
            "layer",
        ),
    },
    takes=("images", "arrays"),
    cost=1,
)


class MLP(nn.Module):
    """Fully connected network on the flattened image; with `normalisation` "layer" its hidden
    layers are `Normalised`.
    """  # noqa: D205

    classes: int
    hidden: tuple[int, ...] = (32, 32)
    activation: str = "tanh"
    normalisation: str = "none"

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        normalised = self.normalisation == "layer"
        features = images.reshape(images.shape[0], -1)
        for width in self.hidden:
            layer = Normalised(width) if normalised else nn.Dense(width, dot_general=product)
            features = ACTIVATIONS[self.activation](layer(features))
        return nn.Dense(self.classes, dot_general=product)(features)

    def scale_invariant(self) -> tuple[tuple[str, ...], ...]:
        """See `rodflow.problem.networks.scale_invariant`."""
        layers = len(self.hidden) if self.normalisation == "layer" else 0
        return tuple((f"{Normalised.__name__}_{k}", "kernel") for k in range(layers))


network = MLP
"""From settings and the number of classes to the flax module."""
