"""What is no map of a state of flat weights: found before anything is computed with it, and said in one line."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.on_tree import Flat, Layout, OnTree
from rodflow.optimizers.probes import compiled, float_counts, noise
from rodflow.optimizers.tuned import Memory, Transformation, Weights

_TREE = (
    "give the tree of parameters as weights (a model whose only parameters are one vector is [vector]), or with a "
    "flat vector its unravel"
)


def name(path: tuple[object, ...]) -> str:
    """The name of a leaf in a tree, as in `0.mu`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def names(memory: Memory) -> list[str]:
    """The names of all leaves."""
    return [name(path) for path, _ in jax.tree_util.tree_leaves_with_path(memory)]


def refuse_weights(weights: Weights) -> None:
    """Weights are arrays of one floating-point precision, at least single.

    Raises:
        OptimizerError: they are not.
    """
    found = jax.tree_util.tree_leaves_with_path(weights)
    if not found:
        raise OptimizerError("the weights have no arrays; give a pytree of floating-point arrays")
    kinds = {}
    for path, leaf in found:
        dtype = getattr(leaf, "dtype", None)
        where = f" {name(path)}" if path else ""
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            what = dtype or type(leaf).__name__
            raise OptimizerError(
                f"weight{where} is {what}; all weights must be floating-point arrays (of an equinox "
                f"model take those of equinox.partition)"
            )
        kinds[dtype] = where
    if len(kinds) > 1 or jnp.finfo(next(iter(kinds))).bits < 32:
        listed = ", ".join(
            f"{dtype}{where and ' (as' + where + ')'}" for dtype, where in kinds.items()
        )
        raise OptimizerError(
            f"the weights are {listed}; all must have one precision, float32 or float64"
        )


def memory_of(transformation: Transformation, weights: Flat) -> Memory:
    """The memory before the first step, of a transformation that then takes one.

    Args:
        transformation: of flat weights.
        weights: before that step; they stand for the gradient too, of which only the shape matters.

    Raises:
        OptimizerError: it does not, for want of something, or because it was made for other weights.
    """
    try:
        memory = transformation.init(weights)
        jax.eval_shape(transformation.update, weights, memory, weights)
    except Exception as error:  # of a transformation that somebody else wrote
        why = str(error).strip().split("\n")[0]
        if isinstance(error, TypeError) and "argument" in why:
            raise OptimizerError(
                f"the transformation needs more than gradients and weights, so it is no map of the state: {why}"
            ) from error
        remedy = "" if isinstance(transformation, OnTree) else f"; {_TREE}"
        raise OptimizerError(
            f"the transformation cannot step these weights ({type(error).__name__}: {why}){remedy}"
        ) from error
    return memory


def refuse_discrete_memory(memory: Memory, weights: Flat) -> None:
    """A memory has floating-point numbers of the weights' precision, and integers that may be counts.

    Args:
        memory: as a transformation gives it.
        weights: only the dtype matters.

    Raises:
        OptimizerError: a leaf is a random key, a boolean, an array of integers, complex or of lower precision.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(memory):
        array = jnp.asarray(leaf)
        raw_key = array.dtype == jnp.uint32 and array.ndim > 0  # a counter is a single number
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key) or raw_key:
            raise OptimizerError(
                f"the transformation keeps a random key ({name(path)}): only deterministic optimizers have a rod flow"
            )
        if array.dtype == bool or (jnp.issubdtype(array.dtype, jnp.integer) and array.ndim):
            raise OptimizerError(
                f"the transformation keeps {array.dtype} values ({name(path)}), which cannot move in continuous time"
            )
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise OptimizerError(
                f"the transformation keeps complex numbers ({name(path)}), of which no flow is written"
            )
        coarse = jnp.issubdtype(array.dtype, jnp.floating) and jnp.finfo(array.dtype).bits < 32
        if coarse or (array.ndim and array.dtype.itemsize < weights.dtype.itemsize):
            raise OptimizerError(
                f"the transformation keeps {array.dtype} numbers ({name(path)}) for {weights.dtype} weights, whose "
                f"rounding no flow can follow; build it without a dtype such as mu_dtype of its own"
            )


def refuse_what_needs_integers(
    transformation: Transformation, weights: Flat, counts: tuple[bool, ...]
) -> None:
    """A step has to be possible with counts that are no integers.

    Args:
        transformation: of flat weights.
        weights: before the first step; they stand for the gradient too, of which only the shape matters.
        counts: which leaves of the memory are integers.

    Raises:
        OptimizerError: it is not.
    """
    if not any(counts):
        return
    relaxed = float_counts(transformation.init(weights), weights.dtype)
    try:
        jax.eval_shape(transformation.update, weights, relaxed, weights)
    except Exception as error:  # of a transformation that somebody else wrote
        why = str(error).strip().split("\n")[0]
        raise OptimizerError(
            f"the transformation needs a whole number as its step count (as an index, perhaps), which cannot move in "
            f"continuous time: {why}"
        ) from error


def refuse_what_depends_on_shape(transformation: Transformation, weights: Flat) -> None:
    """A flat vector will do only where the same numbers in other shapes would step alike.

    A vector is compared with a matrix and a shorter vector of the same numbers, large enough for an optimizer that
    takes small matrices for vectors, at several counts and sizes of gradients. One that takes vectors of this
    length only, such as one with a rate for each weight, is compared on these as a matrix and in two parts.

    Args:
        transformation: of a tree of weights, here given one flat vector.
        weights: that vector; only length and dtype matter.

    Raises:
        OptimizerError: they do not step alike.
    """
    size = weights.size
    own = {"a": (size - size // 2, 1), "b": (size // 2,)}
    for many, shapes in ((128 * 130, {"a": (128, 128), "b": (256,)}), (size, own)):
        flat = jnp.zeros(many, weights.dtype)
        like = {key: jax.ShapeDtypeStruct(s, weights.dtype) for key, s in shapes.items()}
        try:
            expected = _walk(transformation, flat)
            found = _walk(OnTree(transformation, Layout.of(like)), flat)
        except Exception:  # of a transformation that takes no other weights than its own
            continue
        off = np.linalg.norm(np.nan_to_num(found - expected), axis=-1)
        if (off > 1e-3 * np.linalg.norm(np.nan_to_num(expected), axis=-1)).any():
            raise OptimizerError(
                f"the transformation gives other updates where the same numbers have another shape, so on a flat "
                f"vector it would be another optimizer: {_TREE}"
            )
        return


@compiled
def _walk(transformation: Transformation, weights: Flat) -> Array:
    """How far a few steps go from each of some counts, for small, moderate and large gradients.

    Both gradients and weights differ in size from one end of the vector to the other, so that its parts do.
    """
    ramp = jnp.exp(jnp.linspace(-2, 2, weights.size, dtype=weights.dtype))

    def moved(start: Array) -> Flat:
        count, size = start
        params = noise(weights, -1) / ramp
        fresh = transformation.init(params)
        memory = jax.tree.map(
            lambda leaf, old: (
                leaf + count if jnp.issubdtype(jnp.asarray(old).dtype, jnp.integer) else leaf
            ),
            float_counts(fresh, weights.dtype),
            fresh,
        )
        far = params
        for step in range(3):
            updates, memory = transformation.update(size * ramp * noise(weights, step), memory, far)
            memory = float_counts(memory, weights.dtype)
            far = far + updates
        return far - params

    starts = [(c, s) for c in (0, 100, 10_000) for s in (1.0, 1e-3, 30.0)]
    return jax.lax.map(moved, jnp.asarray(starts, weights.dtype))
