"""A problem of one's own: a loss of a tree of parameters, or a model with arrays and a criterion.

    problem = own(loss, params)                             # loss(params)
    problem = own(loss, params, data)                       # loss(params, data)
    problem = of_model(model, (inputs, targets), "mse")     # a flax (linen or nnx) or equinox model

Inputs keep their dtype (tokens are integers), and targets any shape that the criterion takes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias, cast

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.errors import InvalidRngError
from jaxtyping import Array, Float, PyTree

from rodflow.config.blame import line, said
from rodflow.errors import RodflowError

Parameters: TypeAlias = PyTree[Float[Array, "..."]]
Data: TypeAlias = PyTree[Array]
Criterion = Callable[[Array, Array], Float[Array, ""]]
Model = linen.Module | nnx.Module | eqx.Module


class ProblemError(RodflowError, ValueError):
    """A problem that cannot be studied: one line with what was given, what is wrong and the remedy."""


class Problem(eqx.Module):
    """A full-batch loss of a tree of parameters; a pytree whose leaves are the data.

    Attributes:
        function: from parameters, and the data if there are any, to the loss.
        data: what it is handed beside the parameters; None: nothing.
    """

    function: Callable[..., Float[Array, ""]] = eqx.field(static=True)
    data: Data = None

    def __call__(self, parameters: Parameters) -> Float[Array, ""]:
        """The loss, a scalar."""
        return (
            self.function(parameters) if self.data is None else self.function(parameters, self.data)
        )


def own(
    loss: Callable[..., Float[Array, ""]], parameters: Parameters, data: Data = None
) -> tuple[Problem, Parameters]:
    """The problem of a loss, checked at the parameters.

    Args:
        loss: `loss(parameters)`, or `loss(parameters, data)` where data are given; a scalar.
        parameters: where training starts: any pytree of floating-point arrays.
        data: any pytree of arrays.

    Returns:
        The problem and its parameters, as JAX arrays.

    Raises:
        ProblemError: the loss is no function, takes something else, is no scalar or not finite at the start, or the
            parameters hold something else than floating-point arrays.
    """
    if not callable(loss):
        raise ProblemError(
            f"loss is {type(loss).__name__}; give a function of the parameters, or a model with data and a criterion"
        )
    parameters = _checked(parameters)
    problem = Problem(loss, None if data is None else jax.tree.map(jnp.asarray, data))
    call = "loss(params)" if data is None else "loss(params, data)"
    with _explained(f"{call} fails"):
        shape = jax.eval_shape(problem, parameters)
    leaves = jax.tree.leaves(shape)
    if len(leaves) != 1 or leaves[0].shape != ():
        found = ", ".join(str(leaf.shape) for leaf in leaves) or "nothing"
        raise ProblemError(
            f"{call} gives an array of shape {found}; it must be a scalar: take its mean"
        )
    with _explained(f"{call} fails"):
        start = float(problem(parameters))
    with _explained(f"the gradient of {call} fails"):  # as that of a while loop does
        jax.eval_shape(jax.grad(problem), parameters)
    if not jnp.isfinite(start):
        raise ProblemError(f"{call} is {start} at the start; begin where it is finite")
    return problem, parameters


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Errors of a function that somebody else wrote are one line that says what fails, where in it and why.

    Raises:
        ProblemError: one arose within.
    """
    try:
        yield
    except ProblemError:
        raise
    except Exception as error:
        raise ProblemError(f"{what}: {said(error, line(error, anywhere=True))}") from error


def of_model(
    model: Model,
    data: tuple[Array, Array],
    criterion: Literal["mse", "cross_entropy"] | Criterion = "mse",
    *,
    seed: int = 0,
) -> tuple[Problem, Parameters]:
    """The problem of a model: its criterion on all inputs and targets at once.

    Args:
        model: a flax module, linen or nnx, of a batch of inputs; or an equinox module of one input.
        data: inputs and targets, each with a leading axis of samples.
        criterion: half the squared error summed over outputs; the cross-entropy with whole-number or one-hot targets;
            or a function of outputs and targets. The first is a mean over samples, the second one over all axes but
            that of classes.
        seed: of the initial parameters of a linen module; the others bring theirs.

    Returns:
        The problem and its parameters.

    Raises:
        ProblemError: the model keeps state beside its parameters or is random, or see `own`.
    """
    measure = criterion_of(criterion)
    inputs, targets = (jnp.asarray(part) for part in data)
    apply, parameters = function_of(model, inputs, seed)

    def loss(parameters: Parameters, data: tuple[Array, Array]) -> Float[Array, ""]:
        return measure(apply(parameters, data[0]), data[1])

    return own(loss, parameters, (inputs, targets))


Apply = Callable[[Parameters, Array], Array]


def function_of(model: object, inputs: Array, seed: int) -> tuple[Apply, Parameters]:
    """A model as a function of parameters and a batch of inputs, and its initial parameters.

    Args:
        model: a flax or equinox module; or the function and the parameters themselves, as a pair.
        inputs: of the shape that it is for.
        seed: of the initial parameters of a linen module; the others bring theirs.

    Raises:
        ProblemError: it is no model, keeps state beside its parameters or is random.
    """
    if isinstance(model, linen.Module):
        return _linen(model, inputs, seed)
    if isinstance(model, nnx.Module):
        return _nnx(model)
    if isinstance(model, tuple) and len(model) == 2 and callable(model[0]):
        return model[0], _checked(model[1])
    if isinstance(model, eqx.Module):
        return _equinox(model)
    raise ProblemError(
        f"model is {type(model).__name__}; give a flax or equinox module, or a loss with its parameters"
    )


def _linen(model: linen.Module, inputs: Array, seed: int) -> tuple[Apply, Parameters]:
    with _explained("the model cannot be initialised with the inputs"):
        variables = dict(model.init(jax.random.key(seed), inputs))
    parameters = variables.pop("params", {})
    if variables:
        raise ProblemError(
            f"the model keeps {', '.join(sorted(variables))} beside its parameters; a full-batch step is a map of "
            f"parameters only: take layers without state, such as layer norm for batch norm"
        )

    def apply(parameters: Parameters, inputs: Array) -> Array:
        return cast(Array, model.apply({"params": parameters}, inputs))

    try:
        jax.eval_shape(apply, parameters, inputs)
    except InvalidRngError as error:
        why = str(error).split(" (")[0]
        raise ProblemError(
            f"the model is random: {why}; a step is a map of parameters only: take layers without it, no dropout"
        ) from error
    return apply, parameters


def _nnx(model: nnx.Module) -> tuple[Apply, Parameters]:
    graph, state, rest = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
    kept = sorted({type(leaf).__name__ for _, leaf in nnx.to_flat_state(rest)})
    if kept:
        raise ProblemError(
            f"the model keeps {', '.join(kept)} beside its parameters; a full-batch step is a map of parameters "
            f"only: take layers without state or randomness (no dropout, layer norm for batch norm)"
        )

    def apply(parameters: Parameters, inputs: Array) -> Array:
        own = jax.tree.map(lambda leaf: leaf, state)
        nnx.replace_by_pure_dict(own, parameters)
        return cast(Array, nnx.merge(graph, own)(inputs))

    return apply, nnx.to_pure_dict(state)


def _equinox(model: eqx.Module) -> tuple[Apply, Parameters]:
    parameters, rest = eqx.partition(model, eqx.is_inexact_array)
    return lambda p, x: jax.vmap(eqx.combine(p, rest))(x), parameters


def criterion_of(criterion: str | Criterion) -> Criterion:
    """A criterion by its name; a function is one already.

    Raises:
        ProblemError: there is none of this name.
    """
    if callable(criterion):
        return criterion
    known: dict[str, Criterion] = {"mse": _squared_error, "cross_entropy": _cross_entropy}
    if criterion not in known:
        raise ProblemError(
            f"criterion is {criterion!r}; it must be one of {', '.join(known)}, or a function of outputs and targets"
        )
    return known[criterion]


def _squared_error(outputs: Array, targets: Array) -> Float[Array, ""]:
    if outputs.shape != targets.shape:
        raise ProblemError(
            f"the model gives outputs of shape {outputs.shape} for targets of shape {targets.shape}; mse takes "
            f"targets of the outputs' shape"
        )
    return 0.5 * jnp.sum((outputs - targets) ** 2) / outputs.shape[0]


def _cross_entropy(outputs: Array, targets: Array) -> Float[Array, ""]:
    if jnp.issubdtype(targets.dtype, jnp.integer):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(outputs, targets))
    return jnp.mean(optax.softmax_cross_entropy(outputs, targets))


def _checked(parameters: Parameters) -> Parameters:
    """The parameters as JAX arrays.

    Raises:
        ProblemError: there are none, or one is no floating-point array.
    """
    found = jax.tree_util.tree_leaves_with_path(parameters)
    if not found:
        raise ProblemError("params has no arrays; give a pytree of floating-point arrays")
    for path, leaf in found:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "params"
        if not hasattr(leaf, "dtype") and not isinstance(leaf, float):
            raise ProblemError(
                f"params: {name} is {type(leaf).__name__}; every leaf must be a floating-point array: keep "
                f"everything else in the loss, or filter it out (equinox.partition)"
            )
        dtype = jnp.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            raise ProblemError(
                f"params: {name} has dtype {dtype}; every leaf must be a floating-point array: hand whole numbers "
                f"over as data"
            )
        if not bool(jnp.isfinite(jnp.asarray(leaf)).all()):
            raise ProblemError(f"params: {name} is not finite at the start; begin where it is")
    return jax.tree.map(jnp.asarray, parameters)
