"""The table of optimizers: how each steps (optax), preconditions and where it becomes unstable.

Every optimizer is an `optax.GradientTransformation` over one flat weight vector, and optax's own wherever optax
has it. Momentum is in its averaging form, m' = b m + (1 - b) g, so that learning rates of different
decays compare. The scalar variants keep one number nu for all weights, an average of ||g||^2.

    >>> adam = TABLE["adam"].build(learning_rate=1e-3, b1=0.9, b2=0.99, eps=1e-8)
    >>> TABLE["adam"].threshold(learning_rate=1e-3, b1=0.9, b2=0.99, eps=1e-8)
    38.0

The threshold is the largest stable value of learning_rate * S, S the sharpness of the preconditioned Hessian
P^{-1/2} H P^{-1/2}. Sources: Cohen et al. 2021 (arXiv 2103.00065), Cohen et al. 2022 (2207.14484), Regis and
Chewi 2026 (2605.06821).

A row needs no formula: without a threshold of its own it is preconditioned by the inverse of
its alternating gain (`rodflow.stability`), for which the largest stable eigenvalue is 2.

    >>> TABLE["adamw"].limit(learning_rate=1e-3, b1=0.9, b2=0.99, eps=1e-8, weight_decay=1e-2)
    2.0
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, DTypeLike, Float

Memory = Any
"""Whatever pytree the optax transformation keeps between steps."""


class ScalarMomentState(NamedTuple):
    """Memory of the scalar variants: step count, first moment, and one second moment for all weights."""

    count: Array  # type: ignore[assignment]  # optax's name; tuples have a method of that name
    mu: Any
    nu: Float[Array, ""]


def scale_by_scalar_adam(
    b1: float | None, b2: float, eps: float, *, nesterov: bool = False
) -> optax.GradientTransformation:
    """Adam's rescaling with one second moment, nu' = b2 nu + (1 - b2) ||g||^2, for all weights.

    Bias corrections are those of `optax.scale_by_adam`, its Nesterov form included. Without b1 (None) it is the
    scalar RMSProp. Source: Regis and Chewi 2026 (2605.06821).
    """

    def init(params: Any) -> ScalarMomentState:
        mu = optax.tree.zeros_like(params) if b1 is not None else None
        nu = jnp.zeros([], jnp.result_type(*jax.tree.leaves(params)))
        return ScalarMomentState(jnp.zeros([], jnp.int32), mu, nu)

    def update(
        grads: Any, state: ScalarMomentState, params: Any = None
    ) -> tuple[Any, ScalarMomentState]:
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

    def init(params: Any) -> Any:
        return scaling.init(params)._replace(count=None)  # type: ignore[attr-defined]

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        counted = state._replace(count=jnp.asarray(for_ever, jnp.int32))
        updates, following = scaling.update(grads, counted, params)
        return updates, following._replace(count=None)  # type: ignore[attr-defined]

    return optax.GradientTransformation(init, update)


def scale_by_k_adam(b1: float, b2: float, eps: float, k: int) -> optax.GradientTransformation:
    """Adam's rescaling k times over, each on what the one before it gives; k = 1 is Adam.

    u_0 = g, u_i = m_i_hat / (sqrt(v_i_hat) + eps) with the bias-corrected averages m_i of u_(i-1) and v_i of its
    square. Source: Gould and Tanaka 2024 (2411.05746), in our reading.
    """
    return optax.chain(*(optax.scale_by_adam(b1, b2, eps) for _ in range(k)))


def shared_decay(decay: Float[Array, ""] | float, k: int) -> Any:
    """The decay of each of k averages of averages that together weigh the newest number as one of `decay` does.

    (1 - b_i)^k = 1 - b. With b in each of them instead, k averages of averages lag k b / (1 - b) steps behind.
    """
    return 1 - (1 - decay) ** (1 / k)


class Tuned(eqx.Module):
    """An optax transformation whose hyperparameters are arrays, not constants of a compiled program.

    Runs that differ in them only share one program, and can be the rows of one batch.

    Attributes:
        build: hyperparameters -> optax transformation.
        hyperparameters: by name, scalars.
        counts: those that are whole numbers, which shape the program.
    """

    build: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    hyperparameters: dict[str, Array]
    counts: tuple[tuple[str, int], ...] = eqx.field(static=True, default=())

    def init(self, params: Any) -> Memory:
        """As of an `optax.GradientTransformation`."""
        return self._built().init(params)

    def update(self, updates: Any, state: Memory, params: Any = None) -> tuple[Any, Memory]:
        """As of an `optax.GradientTransformation`."""
        return self._built().update(updates, state, params)

    def _built(self) -> optax.GradientTransformation:
        return self.build(**self.hyperparameters, **dict(self.counts))


def _descend(
    scaling: optax.GradientTransformation, learning_rate: float
) -> optax.GradientTransformation:
    return optax.chain(scaling, optax.scale_by_learning_rate(learning_rate))


def _momentum_threshold(b: float) -> float:
    return 2 * (1 + b) / (1 - b)


def _nesterov_threshold(b: float) -> float:
    return 2 * (1 + b) / ((1 - b) * (1 + 2 * b))


def _k_adam_threshold(b: float, k: int) -> float:
    """The least gain K at which (z - 1) (z - b)^k + K (1 - b)^k z^k has a root on the unit circle.

    That of the alternating motion z = -1 is 2 ((1 + b) / (1 - b))^k. From k = 2 on a slower oscillation becomes
    unstable before where b is large, for k = 2 at K = (1 - b^2) / b^2.
    """
    free, fed = np.poly([1.0] + [b] * k), (1 - b) ** k * np.eye(k + 2)[1]

    def stable(gain: float) -> bool:
        return bool(np.abs(np.roots(free + gain * fed)).max() < 1)

    low, high = 0.0, 2 * ((1 + b) / (1 - b)) ** k
    for place in (
        np.geomspace(1e-6, 1, 200) * high
    ):  # the first crossing; a later one may be stable again
        if not stable(place):
            high = float(place)
            break
        low = float(place)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return high


@dataclass(frozen=True)
class Optimizer:
    """One row of the table.

    Attributes:
        build: keyword hyperparameters -> optax transformation.
        threshold: the same hyperparameters -> the largest stable value of learning_rate * S (dimensionless). None
            where no formula is known or wanted: then P is the inverse of the alternating gain.
        adaptive: whether P = sqrt(nu_hat) + eps with the second moment `nu` that it keeps. Otherwise P = 1, or the
            inverse of the alternating gain where there is no threshold.
        decay: the same hyperparameters -> the decay of each second moment that it keeps.
    """

    build: Callable[..., optax.GradientTransformation]
    threshold: Callable[..., float] | None
    adaptive: bool = True
    decay: Callable[..., Any] = lambda b2, **_: b2

    def tuned(self, dtype: DTypeLike, **hyperparameters: float) -> "Tuned":
        """The transformation with its hyperparameters as scalars of this dtype, that of the weights."""
        counts = {k: v for k, v in hyperparameters.items() if isinstance(v, int)}
        numbers = {k: v for k, v in hyperparameters.items() if k not in counts}
        arrays = {name: jnp.asarray(value, dtype) for name, value in numbers.items()}
        return Tuned(self.build, arrays, tuple(sorted(counts.items())))

    def limit(self, **hyperparameters: float) -> float:
        """The largest stable eigenvalue of P^{-1/2} H P^{-1/2}: threshold / learning_rate, 2 without a threshold."""
        if self.threshold is None:
            return 2.0
        return self.threshold(**hyperparameters) / hyperparameters["learning_rate"]

    def second_moment(self, memory: Memory, **hyperparameters: float) -> Array | None:
        """The second moment, bias-corrected where the optimizer does that: one number, or one a weight, or None."""
        if not self.adaptive:
            return None
        moments = [nu for _, nu in optax.tree_utils.tree_get_all_with_path(memory, "nu")]
        counts = [n for _, n in optax.tree_utils.tree_get_all_with_path(memory, "count")]
        counts = [n for n in counts if n is not None]
        # Of k-Adam the product over its k rescalings.
        product = math.prod(moments[1:], start=moments[0])
        decay = self.decay(**hyperparameters)
        return math.prod((1 / (1 - decay**n) for n in counts), start=product)

    def preconditioner(
        self, second_moment: Array | None, **hyperparameters: float
    ) -> Array | float:
        """P = sqrt(nu_hat) + eps of the adaptive methods, 1 for the others that have a threshold.

        Raises:
            ValueError: it has no threshold, so that its P is the inverse of `stability.alternating_gain`.
        """
        if self.threshold is None:
            raise ValueError("the preconditioner is the inverse of the alternating gain")
        if second_moment is None:
            return 1.0
        return second_moment**0.5 + hyperparameters["eps"]


TABLE: dict[str, Optimizer] = {
    "gd": Optimizer(
        build=lambda learning_rate: optax.sgd(learning_rate),
        threshold=lambda **_: 2.0,
        adaptive=False,
    ),
    "heavy_ball": Optimizer(
        build=lambda learning_rate, momentum: optax.sgd(learning_rate * (1 - momentum), momentum),
        threshold=lambda momentum, **_: _momentum_threshold(momentum),
        adaptive=False,
    ),
    "nesterov": Optimizer(
        build=lambda learning_rate, momentum: optax.sgd(
            learning_rate * (1 - momentum), momentum, nesterov=True
        ),
        threshold=lambda momentum, **_: _nesterov_threshold(momentum),
        adaptive=False,
    ),
    "rmsprop_scalar": Optimizer(
        build=lambda learning_rate, b2, eps: _descend(
            scale_by_scalar_adam(None, b2, eps), learning_rate
        ),
        threshold=lambda **_: 2.0,
    ),
    "rmsprop": Optimizer(
        build=lambda learning_rate, b2, eps: optax.rmsprop(
            learning_rate, decay=b2, eps=eps, eps_in_sqrt=False, bias_correction=True
        ),
        threshold=lambda **_: 2.0,
    ),
    "adam_scalar": Optimizer(
        build=lambda learning_rate, b1, b2, eps: _descend(
            scale_by_scalar_adam(b1, b2, eps), learning_rate
        ),
        threshold=lambda b1, **_: _momentum_threshold(b1),
    ),
    "adam": Optimizer(
        build=lambda learning_rate, b1, b2, eps: optax.adam(learning_rate, b1, b2, eps),
        threshold=lambda b1, **_: _momentum_threshold(b1),
    ),
    "nadam_scalar": Optimizer(
        build=lambda learning_rate, b1, b2, eps: _descend(
            scale_by_scalar_adam(b1, b2, eps, nesterov=True), learning_rate
        ),
        threshold=lambda b1, **_: _nesterov_threshold(b1),
    ),
    "nadam": Optimizer(
        build=lambda learning_rate, b1, b2, eps: optax.nadam(learning_rate, b1, b2, eps),
        threshold=lambda b1, **_: _nesterov_threshold(b1),
    ),
    # Beyond the nine. Without bias correction they start with larger steps and end at the same thresholds.
    "rmsprop_uncorrected": Optimizer(
        build=lambda learning_rate, b2, eps: optax.rmsprop(
            learning_rate, decay=b2, eps=eps, eps_in_sqrt=False
        ),
        threshold=lambda **_: 2.0,
    ),
    "adam_uncorrected": Optimizer(
        build=lambda learning_rate, b1, b2, eps: _descend(
            without_bias_correction(optax.scale_by_adam(b1, b2, eps)), learning_rate
        ),
        threshold=lambda b1, **_: _momentum_threshold(b1),
    ),
    "k_adam": Optimizer(
        build=lambda learning_rate, b1, b2, eps, k: _descend(
            scale_by_k_adam(b1, b2, eps, k), learning_rate
        ),
        threshold=lambda b1, k, **_: _k_adam_threshold(b1, k),
    ),
    "k_adam_shared": Optimizer(
        build=lambda learning_rate, b1, b2, eps, k: _descend(
            scale_by_k_adam(shared_decay(b1, k), shared_decay(b2, k), eps, k), learning_rate
        ),
        threshold=lambda b1, k, **_: _k_adam_threshold(shared_decay(b1, k), k),
        decay=lambda b2, k, **_: shared_decay(b2, k),
    ),
    # Of these the linearised map says where they become unstable.
    "adamw": Optimizer(
        build=lambda learning_rate, b1, b2, eps, weight_decay: optax.adamw(
            learning_rate, b1, b2, eps, weight_decay=weight_decay
        ),
        threshold=None,
        adaptive=False,
    ),
    "amsgrad": Optimizer(
        build=lambda learning_rate, b1, b2, eps: optax.amsgrad(learning_rate, b1, b2, eps),
        threshold=None,
        adaptive=False,
    ),
    "adagrad": Optimizer(
        build=lambda learning_rate, initial_accumulator_value, eps: optax.adagrad(
            learning_rate, initial_accumulator_value, eps
        ),
        threshold=None,
        adaptive=False,
    ),
    "yogi": Optimizer(
        build=lambda learning_rate, b1, b2, eps: optax.yogi(learning_rate, b1, b2, eps),
        threshold=None,
        adaptive=False,
    ),
}
"""The nine optimizers of theory by name, and some more."""

NINE: tuple[str, ...] = tuple(TABLE)[:9]
"""The names of the nine."""
