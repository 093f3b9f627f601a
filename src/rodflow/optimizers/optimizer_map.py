"""The optimizer as a map F on its state: z = (weights, memory), z' = F(z).

Any deterministic optax transformation gives one, of flat weights or of a tree of them. What the flows need to know of
it is found by probing it (`rodflow.optimizers.probes`), so that no optimizer has to be described twice:

* integer step counts become floating point, so that the state can move in continuous time;
* a leaf of the memory is *oscillating* when it follows the gradient's sign (a first moment) and *auxiliary* when it
  is even in the gradient (a second moment, a count). Consecutive iterates at the edge of stability see gradients
  of alternating sign, so exactly the oscillating leaves jump to and fro.

The transformation always acts on the tree that it was made for; a flat vector is the tree with one leaf. States are
flat (`rodflow.optimizers.on_tree`), so nothing else has to know of trees.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rodflow.optimizers import refusals
from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.on_tree import Flat, Layout, OfTree, OnTree
from rodflow.optimizers.probes import (
    FEW,
    counters,
    float_counts,
    oscillating_leaves,
    refuse_what_is_no_count,
)
from rodflow.optimizers.tuned import Memory, Transformation, Weights, as_pytree

__all__ = ["Loss", "OptimizerError", "OptimizerMap", "State", "optimizer_map"]

Loss = Callable[[Weights], Float[Array, ""]]


class State(NamedTuple):
    """The optimizer's phase space: flat weights and the optax memory with its counts as floats."""

    weights: Flat
    memory: Memory


class OptimizerMap(eqx.Module):
    """One step of a deterministic optimizer on a full-batch loss, as a function of the state.

    A pytree whose leaves are the loss's data and, of a transformation that is `rodflow.optimizers.tuned.Tuned`, the
    hyperparameters: a program that takes it as an argument is compiled for neither. Build it with `optimizer_map`.

    Attributes:
        loss: the full-batch loss of the flat weights.
        transformation: of the flat weights: the optax transformation, `rodflow.optimizers.tuned.Fixed` of it or
            `Tuned`, or any of them within a `rodflow.optimizers.on_tree.OnTree`.
        oscillating: for each leaf of a State, in order, whether it follows the gradient's sign.
    """

    loss: Loss
    transformation: Transformation = eqx.field(converter=as_pytree)
    oscillating: tuple[bool, ...] = eqx.field(static=True)

    def initial(self, weights: Weights) -> State:
        """The state before the first step, from flat weights or the tree that the map was made for."""
        if isinstance(self.transformation, OnTree) and not _is_flat(weights):
            weights = self.transformation.layout.ravel(weights)
        return State(weights, float_counts(self.transformation.init(weights), weights.dtype))

    def update(self, state: State, gradient: Flat) -> State:
        """The state after a step that sees this gradient.

        Args:
            state: before the step.
            gradient: of the flat weights; it need not be that of the loss there.
        """
        updates, memory = self.transformation.update(gradient, state.memory, state.weights)
        return State(state.weights + updates, float_counts(memory, state.weights.dtype))

    def increment(self, state: State, gradient: Flat) -> State:
        """What such a step adds to the state; of the weights free of the rounding of the sum.

        Args:
            state, gradient: as for `update`.
        """
        updates, memory = self.transformation.update(gradient, state.memory, state.weights)
        memory = float_counts(memory, state.weights.dtype)
        return State(updates, jax.tree.map(jnp.subtract, memory, state.memory))

    def evaluate(self, state: State) -> tuple[Float[Array, ""], Flat, State]:
        """Loss and gradient at the state and the next state, for the price of one gradient."""
        value, gradient = _value_and_gradient(self.loss, state.weights)
        return value, gradient, self.update(state, gradient)

    def evaluate_increment(self, state: State) -> tuple[Float[Array, ""], State]:
        """Loss at the state and what a step adds to it, for the price of one gradient."""
        value, gradient = _value_and_gradient(self.loss, state.weights)
        return value, self.increment(state, gradient)

    def decay(self, state: State) -> Memory:
        """What a step without gradient keeps of each leaf of the memory: its derivative by itself, one number each."""
        still = jnp.zeros_like(state.weights)
        _, kept = jax.jvp(
            lambda memory: self.update(state._replace(memory=memory), still).memory,
            (state.memory,),
            (jax.tree.map(jnp.ones_like, state.memory),),
        )
        return kept

    def tree(self, flat: Flat) -> Weights:
        """Flat weights as the tree that the transformation acts on."""
        on_tree = isinstance(self.transformation, OnTree)
        return self.transformation.layout.unravel(flat) if on_tree else flat  # type: ignore[attr-defined]

    def __call__(self, state: State) -> State:
        """F: the next state."""
        return self.evaluate(state)[2]


@eqx.filter_jit  # so that a program with several gradients traces the network once
def _value_and_gradient(loss: Loss, weights: Flat) -> tuple[Array, Flat]:
    return jax.value_and_grad(loss)(weights)


def optimizer_map(
    loss: Loss,
    transformation: Transformation,
    weights: Weights,
    *,
    unravel: Callable[[Flat], Weights] | None = None,
) -> OptimizerMap:
    """Probe an optax transformation and make the map F of it.

    Args:
        loss: full-batch loss of the weights, a pytree (`equinox.Module`) or a function.
        transformation: any deterministic optax transformation.
        weights: any pytree of floating-point arrays of one precision; only shapes and dtype matter.
        unravel: for a loss of flat weights, given a flat vector: from that to the tree on which the transformation
            acts, as `jax.flatten_util.ravel_pytree` gives it. None: the transformation acts on the weights as
            they are.

    Raises:
        OptimizerError: the weights are not such a tree, or unravel orders them otherwise; the transformation is random,
            or keeps integers or booleans that do more than count steps, or complex numbers, or numbers of reduced
            precision; or it acts at single steps only, or needs more than gradients and weights; or it depends on how
            the weights are shaped where only a flat vector is given.
    """
    refusals.refuse_weights(weights)
    tree = weights
    if unravel is not None:
        tree = jax.eval_shape(unravel, weights)
        _refuse_other_order(unravel, weights)
    if unravel is None and _is_flat(weights):
        acting: Transformation = as_pytree(transformation)
        flat = jnp.asarray(weights)
    else:
        layout = Layout.of(tree)
        acting = OnTree(as_pytree(transformation), layout)
        flat = weights if unravel is not None else layout.ravel(weights)
        loss = loss if unravel is not None else OfTree(loss, layout)
    shapeless = not isinstance(acting, OnTree) and getattr(acting, "shapeless", False)
    probed = flat[:FEW] if shapeless else flat
    memory = refusals.memory_of(acting, probed)
    counts = counters(memory)
    refusals.refuse_discrete_memory(memory, probed)
    refusals.refuse_what_needs_integers(acting, probed, counts)
    refuse_what_is_no_count(acting, probed, counts, refusals.names(memory))
    if not isinstance(acting, OnTree) and not shapeless:
        refusals.refuse_what_depends_on_shape(acting, probed)
    return OptimizerMap(loss, acting, (True, *oscillating_leaves(acting, probed, counts)))


def _is_flat(weights: Weights) -> bool:
    return hasattr(weights, "shape") and len(weights.shape) == 1


def _refuse_other_order(unravel: Callable[[Flat], Weights], weights: Flat) -> None:
    with jax.ensure_compile_time_eval():
        order = np.arange(weights.size, dtype=np.float32)
        leaves = jax.tree.leaves(unravel(jnp.asarray(order)))
        back = np.concatenate([np.ravel(leaf) for leaf in leaves])
    if back.shape != order.shape or (back != order).any():
        raise OptimizerError(
            "unravel does not put the flat weights into its tree leaf by leaf; take that of "
            "jax.flatten_util.ravel_pytree"
        )
