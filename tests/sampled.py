"""Losses that are means over samples, for tests of minibatches."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

RANDOM = np.random.default_rng(5)


class Slopes(eqx.Module):
    """L_i(w) = w . (h w) / 2 - b_i . w: samples of one curvature, so that their noise is the same at all weights."""

    slopes: Array
    curvature: Array

    def __call__(self, weights: Array) -> Array:
        return jnp.sum(self.curvature * weights**2) / 2 - jnp.mean(self.slopes, axis=0) @ weights

    @property
    def samples(self) -> int:
        return self.slopes.shape[0]

    def of(self, chosen: Array) -> "Slopes":
        return Slopes(self.slopes[chosen], self.curvature)


class Tanh(eqx.Module):
    """Squared error of a tanh network, 3-4-1, whose samples differ from their mean `noise` times as much as they do.

    With `noise` s the loss of some samples is L + s (L_B - L), the full loss being what it is.
    """

    inputs: Array
    targets: Array
    noise: float = eqx.field(static=True, default=1.0)
    chosen: Array | None = None

    def _mean(self, weights: Array, inputs: Array, targets: Array) -> Array:
        hidden = jnp.tanh(inputs @ weights[:12].reshape(3, 4))
        return jnp.mean((hidden @ weights[12:] - targets) ** 2) / 2

    def __call__(self, weights: Array) -> Array:
        whole = self._mean(weights, self.inputs, self.targets)
        if self.chosen is None:
            return whole
        part = self._mean(weights, self.inputs[self.chosen], self.targets[self.chosen])
        return whole + self.noise * (part - whole)

    @property
    def samples(self) -> int:
        return self.inputs.shape[0]

    def of(self, chosen: Array) -> "Tanh":
        return Tanh(self.inputs, self.targets, self.noise, chosen)


def slopes(samples: int, curvature: np.ndarray) -> Slopes:
    """Of a covariance that is not diagonal."""
    mixed = RANDOM.standard_normal((samples, curvature.size)) @ RANDOM.standard_normal(
        (curvature.size, curvature.size)
    )
    return Slopes(jnp.asarray(mixed), jnp.asarray(curvature))


def tanh(noise: float = 1.0) -> Tanh:
    """Ten samples, always the same."""
    random = np.random.default_rng(0)
    inputs, targets = random.standard_normal((10, 3)), random.standard_normal(10)
    return Tanh(jnp.asarray(inputs), jnp.asarray(targets), noise)


def covariance_of_batches(values: np.ndarray, size: int) -> np.ndarray:
    """Of the mean of so many rows drawn without replacement."""
    total = len(values)
    return np.cov(values, rowvar=False) * (1 / size - 1 / total)


def started(optimizer, weights):
    """The first three states of full-batch training."""
    step = jax.jit(optimizer.__call__)
    states = [optimizer.initial(jnp.asarray(weights))]
    for _ in range(2):
        states.append(step(states[-1]))
    return states
