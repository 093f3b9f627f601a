"""Optax transformations that optax does not have: scalar second moments, no bias correction, k-Adam."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rodflow.optimizers.tuned import Memory, Weights


class ScalarMomentState(NamedTuple):
    """Memory of the scalar variants: step count, first moment, and one second moment for all weights."""

    count: Array  # type: ignore[assignment]  # optax's name; tuples have a method of that name
    mu: Weights
    nu: Float[Array, ""]


def scale_by_scalar_adam(
    b1: float | None, b2: float, eps: float, *, nesterov: bool = False
) -> optax.GradientTransformation:
    """Adam's rescaling with one second moment, nu' = b2 nu + (1 - b2) ||g||^2, for all weights.

    The gradient becomes m_hat / (sqrt(nu_hat) + eps). Bias corrections are those of `optax.scale_by_adam`, its Nesterov
    form included. Without b1 (None) it is the scalar RMSProp. Source: Regis and Chewi 2026 (2605.06821).

    Args:
        b1: decay of the first moment; None: the gradient stands in its place.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        nesterov: whether the first moment looks ahead by one step; of no effect without b1.
    """

    def init(params: Weights) -> ScalarMomentState:
        mu = optax.tree.zeros_like(params) if b1 is not None else None
        nu = jnp.zeros([], jnp.result_type(*jax.tree.leaves(params)))
        return ScalarMomentState(jnp.zeros([], jnp.int32), mu, nu)

    def update(
        grads: Weights, state: ScalarMomentState, params: Weights = None
    ) -> tuple[Weights, ScalarMomentState]:
        del params
        count = optax.safe_increment(state.count)
        nu = b2 * state.nu + (1 - b2) * optax.tree.norm(grads, squared=True)
        scale = 1 / (jnp.sqrt(nu / (1 - b2**count)) + eps)
        if b1 is not None:
            mu = optax.tree.update_moment(grads, state.mu, b1, 1)
            if nesterov:
                ahead = optax.tree.bias_correction(mu, b1, optax.safe_increment(count))
                now = optax.tree.bias_correction(grads, b1, count)
                direction = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, ahead, now)
            else:
                direction = optax.tree.bias_correction(mu, b1, count)
        else:
            mu, direction = None, grads
        return jax.tree.map(lambda d: scale * d, direction), ScalarMomentState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def without_bias_correction(
    scaling: optax.GradientTransformation,
) -> optax.GradientTransformation:
    """One of optax's bias-corrected rescalings as if it had run for ever: its moments as they are.

    Args:
        scaling: keeps its steps in a field `count` of its state.
    """
    for_ever = jnp.iinfo(jnp.int32).max

    def init(params: Weights) -> Memory:
        return scaling.init(params)._replace(count=None)  # type: ignore[attr-defined]

    def update(grads: Weights, state: Memory, params: Weights = None) -> tuple[Weights, Memory]:
        counted = state._replace(count=jnp.asarray(for_ever, jnp.int32))
        updates, following = scaling.update(grads, counted, params)
        return updates, following._replace(count=None)  # type: ignore[attr-defined]

    return optax.GradientTransformation(init, update)


def scale_by_k_adam(b1: float, b2: float, eps: float, k: int) -> optax.GradientTransformation:
    """Adam's rescaling k times over, each on what the one before it gives; k = 1 is Adam.

    u_0 = g, u_i = m_i_hat / (sqrt(v_i_hat) + eps) with the bias-corrected averages m_i of u_(i-1) and v_i of its
    square. Source: Gould and Tanaka 2024 (2411.05746), in our reading.

    Args:
        b1, b2: decays of the m_i and of the v_i, the same in all.
        eps: added to each root.
        k: how many rescalings.
    """
    return optax.chain(*(optax.scale_by_adam(b1, b2, eps) for _ in range(k)))


def shared_decay(decay: float, k: int) -> float:
    """The decay of each of k averages of averages that together weigh the newest number as one of `decay` does.

    (1 - b_i)^k = 1 - b. With b in each of them instead, k averages of averages lag k b / (1 - b) steps behind.

    Args:
        decay: b, of the one average.
        k: how many averages.
    """
    return 1 - (1 - decay) ** (1 / k)


def descend(
    scaling: optax.GradientTransformation, learning_rate: float
) -> optax.GradientTransformation:
    """A rescaling of the gradient, then a step against it of this learning rate.

    Args:
        scaling: from gradients to the rescaled ones.
        learning_rate: eta, by whose negative the rescaled ones are multiplied.
    """
    return optax.chain(scaling, optax.scale_by_learning_rate(learning_rate))
