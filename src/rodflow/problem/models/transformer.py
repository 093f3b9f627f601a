"""The causal transformer, a small language model."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rodflow.config.declarations import Model, divides, whole, width
from rodflow.problem.layers import Attention, Dense, LayerNorm, ModelError

MODEL = Model(
    title="Causal transformer on sequences of tokens, a small language model.",
    label="transformer",
    order=4,
    settings={
        "width": width("Length of a token's vector; a multiple of heads.", 16),
        "depth": whole("How many transformer blocks.", 2, ge=1, le=100),
        "heads": width("Attention heads in a block.", 2),
        "mlp_ratio": width("Width of a block's hidden layer over the width.", 2),
    },
    relations=(divides("heads", "width"),),
    takes=("text",),
)


class Transformer(nn.Module):
    """Causal transformer: learned embedding and positions, pre-norm blocks of masked self-attention and a GELU network,
    and a linear layer on each normed token.

    Reference: Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
    """  # noqa: D205

    classes: int
    width: int
    depth: int
    heads: int
    mlp_ratio: int

    @nn.compact
    def __call__(self, tokens: Int[Array, "sample token"]) -> Float[Array, "sample token class"]:
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise ModelError(
                f"inputs have shape {tokens.shape} and dtype {tokens.dtype}; a transformer takes sequences of whole "
                f"numbers, as the data sets text and prose have"
            )
        shape = (self.classes, self.width)
        embedding = self.param("embedding", nn.initializers.normal(0.02), shape)
        where = (self.width, tokens.shape[1])
        positions = self.param("positions", nn.initializers.truncated_normal(0.02), where)
        x = embedding[tokens].transpose(2, 1, 0) + positions[..., None]
        for _ in range(self.depth):
            x = x + Attention(self.heads, causal=True)(LayerNorm()(x))
            x = x + Dense(self.width)(nn.gelu(Dense(self.mlp_ratio * self.width)(LayerNorm()(x))))
        return Dense(self.classes)(LayerNorm()(x)).transpose(2, 1, 0)


def network(
    classes: int, width: int = 16, depth: int = 2, heads: int = 2, mlp_ratio: int = 2
) -> Transformer:
    """The flax module.

    Raises:
        ModelError: the heads do not divide the width.
    """
    if width % heads:
        raise ModelError(f"heads is {heads}; it must divide width, {width}")
    return Transformer(classes, width, depth, heads, mlp_ratio)
