"""Optax transformations as parts of a program: with hyperparameters that are its arguments, or fixed."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import equinox as eqx
import optax
from jaxtyping import Array, PyTree

Memory: TypeAlias = PyTree
"""What an optax transformation keeps between steps, a pytree."""
Weights: TypeAlias = PyTree
"""What it steps: a pytree of arrays, or one array."""


class Transformation(Protocol):
    """What an optimizer needs of an optax transformation."""

    def init(self, params: Weights, /) -> Memory:
        """The memory before the first step."""

    def update(
        self, updates: Weights, state: Memory, params: Weights = None, /
    ) -> tuple[Weights, Memory]:
        """The updates that these gradients cause, and the memory after them.

        Args:
            updates: the gradients, a tree as that of the weights.
            state: the memory before the step.
            params: the weights; None will do for a transformation that does not read them.
        """


class Fixed(eqx.Module):
    """An optax transformation as a pytree without leaves: part of a program that is compiled with it.

    Attributes:
        of: the transformation.
    """

    of: optax.GradientTransformation = eqx.field(static=True)

    def init(self, params: Weights) -> Memory:
        """The memory before the first step."""
        return self.of.init(params)

    def update(
        self, updates: Weights, state: Memory, params: Weights = None
    ) -> tuple[Weights, Memory]:
        """The updates that these gradients cause, and the memory after them.

        Args:
            updates: the gradients, a tree as that of the weights.
            state: the memory before the step.
            params: the weights; None will do for a transformation that does not read them.
        """
        return self.of.update(updates, state, params)


class Tuned(eqx.Module):
    """An optax transformation whose hyperparameters are arrays, not constants of a compiled program.

    Runs that differ in them only share one program, and can be the rows of one batch.

    Attributes:
        build: hyperparameters -> optax transformation.
        hyperparameters: by name, scalars.
        counts: those that are whole numbers, which shape the program.
        shapeless: whether it is known that it steps the same numbers alike in any shape, so that it may act on one
            flat vector.
    """

    build: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    hyperparameters: dict[str, Array]
    counts: tuple[tuple[str, int], ...] = eqx.field(static=True, default=())
    shapeless: bool = eqx.field(static=True, default=False)

    def init(self, params: Weights) -> Memory:
        """The memory before the first step."""
        return self._built().init(params)

    def update(
        self, updates: Weights, state: Memory, params: Weights = None
    ) -> tuple[Weights, Memory]:
        """The updates that these gradients cause, and the memory after them.

        Args:
            updates: the gradients, a tree as that of the weights.
            state: the memory before the step.
            params: the weights; None will do for a transformation that does not read them.
        """
        return self._built().update(updates, state, params)

    def _built(self) -> optax.GradientTransformation:
        return self.build(**self.hyperparameters, **dict(self.counts))


def as_pytree(transformation: Transformation) -> "Transformation":
    """The transformation as a part of a program: itself where it is a pytree already, `Fixed` of it otherwise."""
    return transformation if isinstance(transformation, eqx.Module) else Fixed(transformation)  # type: ignore[return-value, arg-type]
