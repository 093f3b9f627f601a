"""A problem of one's own: data, a loss, a model and an optimizer. Every argument is a key of config.yaml."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax


def data(files):
    """Inputs and targets of equal length; `files` are the paths that config.yaml names."""
    stored = np.load(files[0])
    return stored["inputs"], stored["targets"]


def huber(outputs, targets, delta: float = 1.0):
    """A number: the mean over samples."""
    return jnp.mean(optax.huber_loss(outputs[:, 0], targets, delta=delta))


class ResMLP(nn.Module):
    """A network with skip connections; a flax (linen or nnx) or equinox module, without randomness."""

    width: int
    depth: int = 2

    @nn.compact
    def __call__(self, inputs):
        hidden = nn.Dense(self.width)(inputs)
        for _ in range(self.depth):
            hidden = hidden + nn.tanh(nn.Dense(self.width)(hidden))
        return nn.Dense(1)(hidden)


def muon(learning_rate: float, beta: float = 0.95):
    """Any deterministic optax transformation; it acts on the model's tree of parameters."""
    return optax.contrib.muon(learning_rate, beta=beta)
