"""Optax transformations whose hyperparameters are arguments of a program."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import optax
from jaxtyping import Array

Memory = Any
"""Whatever pytree the optax transformation keeps between steps."""


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
