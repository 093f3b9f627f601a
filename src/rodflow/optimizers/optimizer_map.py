"""The optimizer as a map F on its state: z = (weights, memory), z' = F(z).

Any deterministic optax transformation gives one. What the flows need to know of it is found by probing it, so that
no optimizer has to be described twice:

* integer step counts become floating point, so that the state can move in continuous time;
* a leaf of the memory is *oscillating* when it follows the gradient's sign (a first moment) and *auxiliary* when it
  is even in the gradient (a second moment, a count). Consecutive iterates at the edge of stability see gradients
  of alternating sign, so exactly the oscillating leaves jump to and fro.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from rodflow.errors import RodflowError

Loss = Callable[[Float[Array, " parameter"]], Float[Array, ""]]


class OptimizerError(RodflowError, ValueError):
    """A transformation that has no continuous-time limit; the message is one line and says why."""


class State(NamedTuple):
    """The optimizer's phase space: flat weights and the optax memory with its counts as floats."""

    weights: Float[Array, " parameter"]
    memory: PyTree


class Fixed(eqx.Module):
    """An optax transformation as a pytree without leaves: part of a program that is compiled with it.

    Attributes:
        of: the transformation.
    """

    of: optax.GradientTransformation = eqx.field(static=True)

    def init(self, params: Any) -> PyTree:
        """Of the transformation."""
        return self.of.init(params)

    def update(self, updates: Any, state: PyTree, params: Any = None) -> tuple[Any, PyTree]:
        """Of the transformation."""
        return self.of.update(updates, state, params)


def _as_pytree(transformation: Any) -> Any:
    return transformation if isinstance(transformation, eqx.Module) else Fixed(transformation)


class OptimizerMap(eqx.Module):
    """One step of a deterministic optimizer on a full-batch loss, as a function of the state.

    A pytree whose leaves are the loss's data and, of a transformation that is `rodflow.optimizers.table.Tuned`, the
    hyperparameters: a program that takes it as an argument is compiled for neither. Build it with `optimizer_map`.

    Attributes:
        loss: the full-batch loss of the flat weights.
        transformation: the optax transformation, or `Fixed` of it, or `rodflow.optimizers.table.Tuned`.
        oscillating: for each leaf of a State, in order, whether it follows the gradient's sign.
    """

    loss: Loss
    transformation: Any = eqx.field(converter=_as_pytree)
    oscillating: tuple[bool, ...] = eqx.field(static=True)

    def initial(self, weights: Float[Array, " parameter"]) -> State:
        """The state before the first step."""
        return State(weights, _float_counts(self.transformation.init(weights), weights.dtype))

    def update(self, state: State, gradient: Float[Array, " parameter"]) -> State:
        """The state after a step that sees this gradient."""
        updates, memory = self.transformation.update(gradient, state.memory, state.weights)
        return State(state.weights + updates, memory)

    def increment(self, state: State, gradient: Float[Array, " parameter"]) -> State:
        """What such a step adds to the state; of the weights free of the rounding of the sum."""
        updates, memory = self.transformation.update(gradient, state.memory, state.weights)
        return State(updates, jax.tree.map(jnp.subtract, memory, state.memory))

    def evaluate(self, state: State) -> tuple[Float[Array, ""], Float[Array, " parameter"], State]:
        """Loss and gradient at the state and the next state, for the price of one gradient."""
        value, gradient = _value_and_gradient(self.loss, state.weights)
        return value, gradient, self.update(state, gradient)

    def evaluate_increment(self, state: State) -> tuple[Float[Array, ""], State]:
        """Loss at the state and what a step adds to it, for the price of one gradient."""
        value, gradient = _value_and_gradient(self.loss, state.weights)
        return value, self.increment(state, gradient)

    def decay(self, state: State) -> PyTree:
        """What a step without gradient keeps of each leaf of the memory: its derivative by itself, one number each."""
        still = jnp.zeros_like(state.weights)
        _, kept = jax.jvp(
            lambda memory: self.update(state._replace(memory=memory), still).memory,
            (state.memory,),
            (jax.tree.map(jnp.ones_like, state.memory),),
        )
        return kept

    def __call__(self, state: State) -> State:
        """F: the next state."""
        return self.evaluate(state)[2]


@eqx.filter_jit  # so that a program with several gradients traces the network once
def _value_and_gradient(loss: Loss, weights: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(loss)(weights)


def optimizer_map(
    loss: Loss, transformation: optax.GradientTransformation, weights: Float[Array, " parameter"]
) -> OptimizerMap:
    """Probe an optax transformation and make the map F of it.

    Args:
        loss: full-batch loss of the flat weights, a pytree (`equinox.Module`) or a function.
        transformation: any deterministic optax transformation.
        weights: flat weights; only shape and dtype matter.

    Raises:
        OptimizerError: the transformation is random, or keeps integers or booleans that do more than count steps,
            or needs more than gradients and weights.
    """
    try:
        memory = transformation.init(weights)
        _refuse_discrete_memory(transformation, memory, weights)
        oscillating = _follows_gradient_sign(transformation, weights)
    except (TypeError, AttributeError) as error:
        raise OptimizerError(
            f"the transformation needs more than gradients and weights, so it is no map of the state: {error}"
        ) from error
    return OptimizerMap(loss, transformation, (True, *jax.tree.leaves(oscillating)))


def _float_counts(memory: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(leaf, dtype)
            if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.integer)
            else jnp.asarray(leaf)
        ),
        memory,
    )


def _probe_gradient(weights: Array, step: int) -> Array:
    """A gradient without structure, of moderate size, different at every step."""
    values = np.random.default_rng(step + 1).standard_normal(weights.shape)
    return jnp.asarray(values, weights.dtype)


def _refuse_discrete_memory(
    transformation: optax.GradientTransformation, memory: PyTree, weights: Array
) -> None:
    """Integer leaves must be step counts that may be floats: checked by stepping both side by side."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(memory):
        name, array = jax.tree_util.keystr(path).lstrip("."), jnp.asarray(leaf)
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) or array.dtype == jnp.uint32:
            raise OptimizerError(
                f"the transformation keeps a random key ({name}): only deterministic optimizers have a rod flow"
            )
        if array.dtype == bool or (jnp.issubdtype(array.dtype, jnp.integer) and array.ndim):
            raise OptimizerError(
                f"the transformation keeps {array.dtype} values ({name}), which cannot move in continuous time"
            )
    exact, relaxed = memory, _float_counts(memory, weights.dtype)
    update = eqx.filter_jit(transformation.update)
    for step in range(5):
        gradient = _probe_gradient(weights, step)
        before = exact
        expected, exact = update(gradient, exact, weights)
        found, relaxed = update(gradient, relaxed, weights)
        for (path, old), new in zip(
            jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(exact), strict=True
        ):
            if jnp.issubdtype(jnp.asarray(old).dtype, jnp.integer) and int(new) != int(old) + 1:
                raise OptimizerError(
                    f"the transformation keeps an integer that is no step count "
                    f"({jax.tree_util.keystr(path).lstrip('.')}), which cannot move in continuous time"
                )
        if not np.allclose(expected, found, rtol=1e-5, atol=1e-7, equal_nan=True):
            raise OptimizerError(
                "the transformation gives other updates when its step count is a floating-point number, "
                "so it cannot move in continuous time"
            )


def _follows_gradient_sign(transformation: optax.GradientTransformation, weights: Array) -> PyTree:
    """True for the leaves that change when the world is mirrored: weights and every gradient with the other sign.

    A second moment or a count comes out the same, a first moment or a copy of the weights does not.
    """
    update = eqx.filter_jit(transformation.update)

    def after_some_steps(sign: int) -> PyTree:
        params = sign * _probe_gradient(weights, -1)
        state = _float_counts(transformation.init(params), weights.dtype)
        for step in range(6):
            updates, state = update(sign * _probe_gradient(weights, step), state, params)
            params = params + updates
        return state

    return jax.tree.map(
        lambda a, b: not np.allclose(a, b, rtol=1e-5, atol=0, equal_nan=True),
        after_some_steps(+1),
        after_some_steps(-1),
    )
