"""The optimizers that a config may name: how each steps (optax), preconditions and where it becomes unstable.

Every optimizer is an `optax.GradientTransformation`, and optax's own wherever optax has it;
`rodflow.optimizers.library` has a module for each. Momentum is in its averaging form, m' = b m + (1 - b) g, so that
learning rates of different decays compare. The scalar variants keep one number nu for all weights, an average of
||g||^2.

    >>> adam = TABLE["adam"].build(learning_rate=1e-3, b1=0.9, b2=0.99, eps=1e-8)
    >>> TABLE["adam"].threshold(learning_rate=1e-3, b1=0.9, b2=0.99, eps=1e-8)
    38.0

The threshold is the largest stable value of learning_rate * S, S the sharpness of the preconditioned Hessian
P^{-1/2} H P^{-1/2}. Sources: Cohen et al. 2021 (arXiv 2103.00065), Cohen et al. 2022 (2207.14484), Regis and
Chewi 2026 (2605.06821).

A module needs no formula: without a threshold of its own the optimizer is preconditioned by the inverse of
its critical gain (`rodflow.optimizers.instability`), for which the largest stable eigenvalue is 2.

    >>> TABLE["adamw"].limit(learning_rate=1e-3, b1=0.9, b2=0.99, eps=1e-8, weight_decay=1e-2)
    2.0
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import jax.numpy as jnp
import optax
from jaxtyping import Array, DTypeLike

from rodflow.config.catalogue import OPTIMIZERS
from rodflow.optimizers.tuned import Memory, Tuned


@dataclass(frozen=True)
class Entry:
    """An optimizer that a config may name.

    Attributes:
        build: keyword hyperparameters -> optax transformation.
        threshold: the same hyperparameters -> the largest stable value of learning_rate * S (dimensionless). None
            where no formula is known or wanted: then P is the inverse of the critical gain.
        adaptive: whether P = sqrt(nu_hat) + eps with the second moment `nu` that it keeps. Otherwise P = 1, or the
            inverse of the critical gain where there is no threshold.
        decay: the same hyperparameters -> the decay of each second moment that it keeps.
        shapeless: whether it steps the same numbers alike in any shape, so that it acts on the flat weights.
        linear: whether its step is linear in a small gradient. Otherwise it has no threshold, and P = 1.
    """

    build: Callable[..., optax.GradientTransformation]
    threshold: Callable[..., float] | None
    adaptive: bool = True
    decay: Callable[..., float] = lambda b2, **_: b2
    shapeless: bool = False
    linear: bool = True

    def tuned(self, dtype: DTypeLike, **hyperparameters: float) -> Tuned:
        """The transformation with its hyperparameters as scalars of this dtype, that of the weights."""
        counts = {k: v for k, v in hyperparameters.items() if isinstance(v, int)}
        numbers = {k: v for k, v in hyperparameters.items() if k not in counts}
        arrays = {name: jnp.asarray(value, dtype) for name, value in numbers.items()}
        return Tuned(self.build, arrays, tuple(sorted(counts.items())), self.shapeless)

    @property
    def by_gain(self) -> bool:
        """Whether its preconditioner is the inverse of the critical gain."""
        return self.linear and self.threshold is None

    def limit(self, **hyperparameters: float) -> float:
        """The largest stable eigenvalue of P^{-1/2} H P^{-1/2}.

        It is threshold / learning_rate, 2 where no formula is known, and NaN of a step that is not linear.
        """
        if not self.linear:
            return math.nan
        if self.threshold is None:
            return 2.0
        return self.threshold(**hyperparameters) / hyperparameters["learning_rate"]

    def second_moment(self, memory: Memory, **hyperparameters: float) -> Array | None:
        """The second moment, bias-corrected where the optimizer does that: one number, or one a weight, or None.

        None of an optimizer that is not adaptive. Of several rescalings (k-Adam) it is the product of theirs. Before
        the first step a corrected one is NaN.

        Args:
            memory: of the optax transformation.
            **hyperparameters: of the optimizer.
        """
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
        """P = sqrt(nu_hat) + eps of the adaptive methods; 1 for others with a threshold, or whose step is not linear.

        Args:
            second_moment: nu_hat, see `second_moment`; None of a method that is not adaptive.
            **hyperparameters: of the optimizer.

        Raises:
            ValueError: it has no formula, so that its P is the inverse of the critical gain.
        """
        if not self.linear:
            return 1.0
        if self.threshold is None:
            raise ValueError("the preconditioner is the inverse of the critical gain")
        if second_moment is None:
            return 1.0
        return second_moment**0.5 + hyperparameters["eps"]


class _Table(Mapping[str, Entry]):
    """The optimizers by name; the module of one is imported when it is asked for."""

    def __getitem__(self, name: str) -> Entry:
        return _optimizer(name)

    def __iter__(self) -> Iterator[str]:
        return iter(OPTIMIZERS)

    def __len__(self) -> int:
        return len([*OPTIMIZERS])


@cache
def _optimizer(name: str) -> Entry:
    module = OPTIMIZERS.load(name)
    own = {"decay": module.decay} if hasattr(module, "decay") else {}
    threshold = getattr(module, "threshold", None)
    declared = OPTIMIZERS[name]
    own |= {"shapeless": declared.shapeless, "linear": declared.linear}
    return Entry(module.build, threshold, declared.adaptive, **own)


TABLE: Mapping[str, Entry] = _Table()
"""The nine optimizers of theory by name, and the others."""

NINE: tuple[str, ...] = tuple(OPTIMIZERS)[:9]
"""The names of the nine."""
