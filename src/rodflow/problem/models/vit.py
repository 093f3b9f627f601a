"""The vision transformer."""

import flax.linen as nn

from rodflow.config.declarations import Model, divides, whole, width
from rodflow.problem.layers import Attention, Dense, Images, LayerNorm, Logits, ModelError, patches

MODEL = Model(
    title="Vision transformer.",
    label="ViT",
    order=3,
    settings={
        "width": width("Length of a token's vector; a multiple of heads.", 16),
        "depth": whole("How many transformer blocks.", 2, ge=1, le=100),
        "heads": width("Attention heads in a block.", 2),
        "patch": width("Side of a patch in pixels; divides the image's side.", 4),
        "mlp_ratio": width("Width of a block's hidden layer over the width.", 2),
    },
    relations=(divides("heads", "width"), divides("patch", "dataset.size")),
)


class ViT(nn.Module):
    """Vision transformer: linear patch embedding, learned positions, pre-norm blocks of
    self-attention and a GELU network, and a linear layer on the mean of the normed tokens.

    Reference: Dosovitskiy et al. 2021 (arXiv 2010.11929), with the mean in place of a class token
    as in Zhai et al. 2022 (arXiv 2106.04560).
    """  # noqa: D205

    classes: int
    width: int
    depth: int
    heads: int
    patch: int
    mlp_ratio: int

    @nn.compact
    def __call__(self, images: Images) -> Logits:
        tokens = Dense(self.width)(patches(images, self.patch))
        positions = self.param(
            "positions", nn.initializers.truncated_normal(0.02), tokens.shape[:2]
        )
        tokens = tokens + positions[..., None]
        for _ in range(self.depth):
            tokens = tokens + Attention(self.heads)(LayerNorm()(tokens))
            hidden = nn.gelu(Dense(self.mlp_ratio * self.width)(LayerNorm()(tokens)))
            tokens = tokens + Dense(self.width)(hidden)
        return Dense(self.classes)(LayerNorm()(tokens).mean(1)).T


def network(
    classes: int,
    width: int = 16,
    depth: int = 2,
    heads: int = 2,
    patch: int = 4,
    mlp_ratio: int = 2,
) -> ViT:
    """The flax module.

    Raises:
        ModelError: the heads do not divide the width.
    """
    if width % heads:
        raise ModelError(f"heads is {heads}; it must divide width, {width}")
    return ViT(classes, width, depth, heads, patch, mlp_ratio)
