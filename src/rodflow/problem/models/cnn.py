"""The convolutional network."""

import flax.linen as nn

from rodflow.config.declarations import Model, choice, each_halves, widths
from rodflow.problem.layers import (
    ACTIVATIONS,
    Convolution,
    Dense,
    Images,
    Logits,
    ModelError,
    NormalisedConvolution,
    average_pool,
)

MODEL = Model(
    title="Convolutional network.",
    label="CNN",
    order=2,
    settings={
        "channels": widths("Channels of each convolution.", [8, 16]),
        "activation": choice("Nonlinearity between layers.", "tanh", "tanh", "relu", "gelu"),
        "normalisation": choice(
            "Layer norm after each convolution, whose kernels are then scale invariant.",
            "none",
            "none",
            "layer",
        ),
    },
    relations=(each_halves("channels", "dataset.size"),),
)


class CNN(nn.Module):
    """Convolutions, 3 x 3 and of stride 1 with zeros around the image, each followed by the
    activation and 2 x 2 average pooling, then a linear layer; with `normalisation` "layer" the
    convolutions are `NormalisedConvolution`.

    Pooling leaves out the last row or column of an odd number.
    """  # noqa: D205

    classes: int
    channels: tuple[int, ...] = (8, 16)
    activation: str = "tanh"
    normalisation: str = "none"

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        side = min(images.shape[1:3])
        if side < 2 ** len(self.channels):
            why = f"channels has {len(self.channels)} entries, each of which halves the image"
            raise ModelError(f"{why}; its {side} pixels must be at least {2 ** len(self.channels)}")
        layer = NormalisedConvolution if self.normalisation == "layer" else Convolution
        features = images.transpose(3, 1, 2, 0)
        for channels in self.channels:
            features = ACTIVATIONS[self.activation](layer(channels)(features))
            features = average_pool(features)
        return Dense(self.classes)(features.reshape(-1, features.shape[-1])).T

    def scale_invariant(self) -> tuple[tuple[str, ...], ...]:
        """See `rodflow.problem.networks.scale_invariant`."""
        layers = len(self.channels) if self.normalisation == "layer" else 0
        return tuple((f"{NormalisedConvolution.__name__}_{k}", "kernel") for k in range(layers))


network = CNN
"""From settings and the number of classes to the flax module."""
