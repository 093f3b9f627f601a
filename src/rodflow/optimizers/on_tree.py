"""A transformation of a tree of weights, seen from one flat vector.

Muon, LARS and LAMB, masks and partitions act on matrices and layers, so a transformation has to see the tree that the
model has. The flows move flat vectors. Between them stands `OnTree`: it unravels weights and gradients before a step
and ravels the updates after it.

The memory is ravelled too, moment by moment. A moment is a part of the memory that has the structure and the shapes
of the weights, or of some of them where a mask has taken the others out; it becomes one flat vector, in the order of
the weights. So a moment of Adam is the vector that it is for flat weights, and what is kept of a run does not depend
on where the transformation acts. Whatever else a transformation keeps stays as it is.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import PyTreeDef
from jaxtyping import Array, Float, Int

from rodflow.optimizers.tuned import Memory, Transformation, Weights

Flat: TypeAlias = Float[Array, " parameter"]


def _masked(node: object) -> bool:
    return isinstance(node, optax.MaskedNode)


@dataclass(frozen=True)
class Layout:
    """How a tree of weights lies in a flat vector: leaf after leaf, each in the order of its memory.

    Attributes:
        structure: of the tree.
        shapes: of its leaves.
    """

    structure: PyTreeDef
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, weights: Weights) -> "Layout":
        """The layout of a tree; its leaves need a shape only."""
        leaves, structure = jax.tree.flatten(weights)
        return cls(structure, tuple(tuple(leaf.shape) for leaf in leaves))

    @property
    def places(self) -> list[slice]:
        """Where each leaf is in the flat vector."""
        ends = list(itertools.accumulate(map(math.prod, self.shapes)))
        return [slice(a, b) for a, b in itertools.pairwise([0, *ends])]

    def unravel(self, flat: Flat) -> Weights:
        """The tree of a flat vector."""
        pieces = [flat[at].reshape(s) for at, s in zip(self.places, self.shapes, strict=True)]
        return jax.tree.unflatten(self.structure, pieces)

    def ravel(self, weights: Weights) -> Flat:
        """The flat vector of a tree, the inverse of `unravel`."""
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(weights)])

    def is_moment(self, node: Memory) -> bool:
        """Whether a part of a memory has the structure and the shapes of the weights, some of them masked perhaps."""
        leaves, structure = jax.tree.flatten(node, is_leaf=_masked)
        if structure != self.structure or all(map(_masked, leaves)):
            return False
        return all(
            _masked(leaf) or jnp.shape(leaf) == shape
            for leaf, shape in zip(leaves, self.shapes, strict=True)
        )


class OnTree(eqx.Module):
    """A transformation of a tree as one of the flat vector of its weights.

    Attributes:
        of: the transformation of the tree.
        layout: of the tree.
    """

    of: Transformation
    layout: Layout = eqx.field(static=True)

    @property
    def hyperparameters(self) -> dict[str, Array]:
        """Of a transformation that has them as arrays: those of `rodflow.optimizers.tuned.Tuned`."""
        return self.of.hyperparameters  # type: ignore[attr-defined, no-any-return]

    def init(self, params: Flat) -> Memory:
        """The memory before the first step, its moments flat."""
        return self._packed(self.of.init(self.layout.unravel(params)))

    def update(self, updates: Flat, state: Memory, params: Weights = None) -> tuple[Flat, Memory]:
        """The flat updates that a flat gradient causes, and the memory after them, its moments flat.

        Args:
            updates: the gradient.
            state: the memory before the step, its moments flat as `init` gives them.
            params: the flat weights, which must be given.
        """
        kept = jax.eval_shape(lambda w: self.of.init(self.layout.unravel(w)), params)
        nodes, outer = jax.tree.flatten(kept, is_leaf=self.layout.is_moment)
        given = [
            self._spread(like, node)
            for like, node in zip(nodes, jax.tree.leaves(state), strict=True)
        ]
        memory = jax.tree.unflatten(outer, given)
        unravel = self.layout.unravel
        moved, memory = self.of.update(unravel(updates), memory, unravel(params))
        return self.layout.ravel(moved), self._packed(memory)

    def covered(self, params: Flat) -> list[Int[np.ndarray, " entry"] | None]:
        """For each leaf of the memory which entries of the flat weights it has; None where it is no moment."""
        kept = jax.eval_shape(lambda w: self.of.init(self.layout.unravel(w)), params)
        order = np.arange(params.size)
        found: list[np.ndarray | None] = []
        for node in jax.tree.leaves(kept, is_leaf=self.layout.is_moment):
            if not self.layout.is_moment(node):
                found.append(None)
                continue
            leaves = jax.tree.leaves(node, is_leaf=_masked)
            pairs = zip(leaves, self.layout.places, strict=True)
            found.append(np.concatenate([order[at] for leaf, at in pairs if not _masked(leaf)]))
        return found

    def _packed(self, memory: Memory) -> Memory:
        def pack(node: Memory) -> Array:
            if not self.layout.is_moment(node):
                return node
            return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(node)])

        return jax.tree.map(pack, memory, is_leaf=self.layout.is_moment)

    def _spread(self, like: Memory, flat: Array) -> Memory:
        """The part of a memory that was packed into a flat vector."""
        if not self.layout.is_moment(like):
            return flat
        leaves, structure = jax.tree.flatten(like)
        ends = list(itertools.accumulate(leaf.size for leaf in leaves))
        pieces = [
            flat[a:b].reshape(leaf.shape)
            for leaf, (a, b) in zip(leaves, itertools.pairwise([0, *ends]), strict=True)
        ]
        return jax.tree.unflatten(structure, pieces)


class OfTree(eqx.Module):
    """A loss of a tree as one of the flat vector of its weights.

    Attributes:
        loss: the loss of the tree, a pytree or a function.
        layout: of the tree.
    """

    loss: Callable[[Weights], Float[Array, ""]]
    layout: Layout = eqx.field(static=True)

    def __call__(self, weights: Flat) -> Float[Array, ""]:
        return self.loss(self.layout.unravel(weights))
