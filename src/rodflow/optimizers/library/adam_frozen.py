"""Adam whose second moment no longer changes from a step on (Cohen et al. 2022, arXiv 2207.14484)."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from rodflow.config.declarations import ADAM, Optimizer, whole
from rodflow.optimizers.tuned import Memory, Weights

OPTIMIZER = Optimizer(
    title="Adam whose preconditioner is frozen after a step; its threshold is that of its linearised map.",
    label="frozen Adam",
    order=26,
    hyperparameters=ADAM
    | {"freeze": whole("Gradients after which its second moment stays as it is.", 100, ge=1)},
    momentum="b1",
    shapeless=True,
    symbols={"freeze": r"$t_{\mathrm{frozen}}$"},
)


def build(
    learning_rate: float, b1: float, b2: float, eps: float, freeze: int
) -> optax.GradientTransformation:
    """The optax transformation: Adam for `freeze` steps, then momentum with the preconditioner of the last of them."""
    scaling = scale_by_frozen_adam(b1, b2, eps, freeze)
    return optax.chain(scaling, optax.scale_by_learning_rate(learning_rate))


def _root(moment: Array) -> Array:
    """The square root, whose derivative at 0 is 0: a frozen moment of 0, of a weight without gradient, stays 0."""
    return jnp.where(moment > 0, jnp.sqrt(jnp.where(moment > 0, moment, 1)), 0)


def scale_by_frozen_adam(
    b1: float, b2: float, eps: float, freeze: int
) -> optax.GradientTransformation:
    """Adam's rescaling whose second moment, its bias correction included, is that after `freeze` gradients for good.

    The gradient becomes m_hat / (sqrt(v_hat) + eps), with v_hat of step min(t, freeze). Source: Cohen et al. 2022
    (arXiv 2207.14484).

    Args:
        b1, b2: decays of the first and of the second moment.
        eps: added to the root of the second moment.
        freeze: gradients after which the second moment stays as it is.
    """

    def init(params: Weights) -> Memory:
        return optax.scale_by_adam(b1, b2, eps).init(params)

    def update(
        grads: Weights, state: optax.ScaleByAdamState, params: Weights = None
    ) -> tuple[Weights, Memory]:
        del params
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        moved = optax.tree.update_moment_per_elem_norm(grads, state.nu, b2, 2)
        nu = jax.tree.map(lambda new, old: jnp.where(count <= freeze, new, old), moved, state.nu)
        ahead = optax.tree.bias_correction(mu, b1, count)
        held = optax.tree.bias_correction(nu, b2, jnp.minimum(count, freeze))
        updates = jax.tree.map(lambda m, v: m / (_root(v) + eps), ahead, held)
        return updates, optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)
