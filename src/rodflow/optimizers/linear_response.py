"""How the step of an optimizer answers small motions of what oscillates, at the auxiliary leaves that it uses.

With weights w, a vector m of oscillating memory leaves and the gradient g,

    w' - w = D m + E g + F w,        m' = A m + B g + C w,

where for an optimizer that acts weight by weight the coefficients are small matrices, one for each weight. They are the
derivatives of the step about zero, taken with exactly the auxiliary leaves (second moment, count) of a state.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rodflow.optimizers.errors import OptimizerError, StateError
from rodflow.optimizers.on_tree import Flat, OnTree
from rodflow.optimizers.optimizer_map import OptimizerMap, State
from rodflow.optimizers.refusals import name
from rodflow.optimizers.tuned import Memory

BELOW = (0.25, 0.5, 0.75, 0.99)
"""Fractions of a threshold at which nothing may grow."""
GROWS = 1e-4
_WEIGHTS_CHECKED = 256  # for what grows; weights differ in scale only
_KINK = 0.1  # how far a finite step may depart from the linear one; a sign departs by many orders
_HELD = 0.01  # how well the auxiliary leaves must be kept

Coefficients = Float[np.ndarray, "row column parameter"]
"""Rows are the update and the oscillating memory, columns weights, memory and gradient, for each weight."""


Part = tuple[int, Int[np.ndarray, " entry"] | None]
"""Index of a leaf of the memory, and which of the weights have an entry in it; None: all, in order."""


class Response(NamedTuple):
    """How the frozen step answers: rows are the update and the oscillating memory, columns weights, memory, gradient.

    Attributes:
        coefficients: of the linearised step, for each weight.
        probe, answer: a direction without structure and the derivative along it.
        small, jump, bend: a small gradient; what the step without any changes by when it sees the opposite one, at
            the weights; the derivative there, along it.
        rounding: what of the jump may be rounding, at most.
        ordinary, reached: a gradient a thousandth of the moments of the state; what the step makes of it. A division by
            a norm plus a small number is linear below that number only, which no gradient ever is.
        drift: for each auxiliary leaf, how much a step without gradient departs from it, relative.
    """

    coefficients: Float[Array, "row column parameter"]
    probe: Float[Array, "column parameter"]
    answer: Float[Array, "row parameter"]
    small: Float[Array, "column parameter"]
    jump: Float[Array, "row parameter"]
    bend: Float[Array, "row parameter"]
    rounding: Float[Array, "row parameter"]
    ordinary: Float[Array, " parameter"]
    reached: Float[Array, "row parameter"]
    drift: Float[Array, " leaf"]


def coefficients(optimizer: OptimizerMap, state: State) -> Coefficients:
    """The coefficients of the linearised step, in double precision.

    Args:
        optimizer: the map.
        state: its auxiliary leaves are those that the step uses; the weights only serve to look for kinks.

    Raises:
        OptimizerError: the step is not linear in a small gradient, or not weight by weight.
        StateError: it is not so at this state.
    """
    _moments(optimizer, state)
    found: Response = jax.tree.map(np.float64, jax.device_get(_response(optimizer, state)))
    _refuse_what_is_not_linear(optimizer, state, found)
    return np.asarray(found.coefficients)


def some_of(moving: Bool[np.ndarray, " parameter"]) -> Int[np.ndarray, " chosen"]:
    """The indices of some of these weights, evenly spread; of all where they are few."""
    found = np.flatnonzero(moving)
    return found[:: max(1, -(-len(found) // _WEIGHTS_CHECKED))]


def largest_multiplier(found: Coefficients, curvature: Float[np.ndarray, " parameter"]) -> float:
    """By how much the fastest mode of any weight grows in a step, each alone with its curvature; 0 of no weights.

    Args:
        found: the coefficients of the linearised step.
        curvature: h of each weight, whose gradient is g = h w.
    """
    matrix = found[:, :-1].copy()
    matrix[:, 0] += found[:, -1] * curvature
    matrix[0, 0] += 1
    return float(np.abs(np.linalg.eigvals(np.moveaxis(matrix, -1, 0))).max(initial=0))


def one_step_back(optimizer: OptimizerMap, state: State) -> State:
    """The state at zero from which a step without gradient arrives at the auxiliary leaves of this one.

    So that the step is taken with exactly those: a second moment decays, and a count advances, before it is used.
    Found by Newton's method with each leaf's own derivative, exact in one step for averages, sums and counts; a leaf
    that forgets itself (a learning rate computed from a count) is left to follow from the others.

    Args:
        optimizer: the map.
        state: whose auxiliary leaves a step shall use.

    Returns:
        Weights and oscillating memory are zero.
    """
    leaves, structure = jax.tree.flatten(state)
    auxiliary = [i for i, follows in enumerate(optimizer.oscillating) if not follows]
    wanted = [leaves[i] for i in auxiliary]

    def at(held: list[Array]) -> State:
        zero = [jnp.zeros_like(leaf) for leaf in leaves]
        for i, leaf in zip(auxiliary, held, strict=True):
            zero[i] = leaf
        return State(*jax.tree.unflatten(structure, zero))

    def after(held: list[Array]) -> list[Array]:
        following = jax.tree.leaves(optimizer.update(at(held), jnp.zeros_like(state.weights)))
        return [following[i] for i in auxiliary]

    def newton(_: int, held: list[Array]) -> list[Array]:
        found, derivative = jax.linearize(after, held)
        moved = []
        for k, leaf in enumerate(held):
            alone = [jnp.ones_like(x) if x is leaf else jnp.zeros_like(x) for x in held]
            slope = derivative(alone)[k]
            moved.append(
                leaf + (wanted[k] - found[k]) / jnp.where(jnp.abs(slope) > 0.01, slope, jnp.inf)
            )
        return moved

    held = jax.lax.fori_loop(0, 3, newton, wanted)
    return at(held)


def _drift(optimizer: OptimizerMap, state: State, frozen: State) -> Float[Array, " leaf"]:
    """How far each auxiliary leaf is from that of the state after a step without gradient, relative to it.

    Two kinds of leaves need not be held: one that the step does not read, such as a learning rate that is written
    there to be seen, and an entry that follows from other leaves and not from itself, such as a largest second moment
    below the present one.
    """
    leaves, structure = jax.tree.flatten(frozen)
    auxiliary = [i for i, follows in enumerate(optimizer.oscillating) if not follows]

    def after(held: list[Array], gradient: Flat) -> list[Array]:
        moved = list(leaves)
        for i, leaf in zip(auxiliary, held, strict=True):
            moved[i] = leaf
        return jax.tree.leaves(optimizer.update(jax.tree.unflatten(structure, moved), gradient))

    held = [leaves[i] for i in auxiliary]
    still = jnp.zeros_like(state.weights)
    found, derivative = jax.linearize(lambda h: after(h, still), held)
    # Two steps on as well: some begin otherwise than they go on.
    later = optimizer.update(optimizer.update(frozen, still + 1), still + 1)
    further = [jax.tree.leaves(later)[i] for i in auxiliary]
    reads = [jax.linearize(lambda h: after(h, still + 1), h)[1] for h in (held, further)]
    drift = []
    for k, (i, leaf) in enumerate(zip(auxiliary, held, strict=True)):
        alone = [jnp.ones_like(x) if n == k else jnp.zeros_like(x) for n, x in enumerate(held)]
        others = [jnp.zeros_like(x) if n == k else jnp.ones_like(x) for n, x in enumerate(held)]
        follows = (derivative(alone)[i] == 0) & (derivative(others)[i] != 0)
        wanted = jax.tree.leaves(state)[i]
        off = jnp.linalg.norm(jnp.ravel(jnp.where(follows, 0, found[i] - wanted)))
        unread = jnp.stack([jnp.all(x == 0) for read in reads for x in read(alone)]).all()
        size = jnp.maximum(jnp.linalg.norm(jnp.ravel(wanted)), jnp.finfo(leaf.dtype).tiny)
        drift.append(jnp.where(unread, 0, off / size))
    return jnp.asarray(drift)


@eqx.filter_jit
def _response(optimizer: OptimizerMap, state: State) -> Response:
    """Linearise the frozen step: one jvp for weights, gradient and each oscillating leaf, and two to check them."""
    frozen = one_step_back(optimizer, state)
    leaves, structure = jax.tree.flatten(frozen.memory)
    moments = _moments(optimizer, state)
    dtype = state.weights.dtype

    def step(inputs: Float[Array, "column parameter"]) -> Float[Array, "row parameter"]:
        memory = list(leaves)
        for row, moment in enumerate(moments, start=1):
            for i, entries in moment:
                values = inputs[row] if entries is None else inputs[row][entries]
                memory[i] = values.reshape(leaves[i].shape)
        updates, following = optimizer.transformation.update(
            inputs[-1], jax.tree.unflatten(structure, memory), inputs[0]
        )
        after = jax.tree.leaves(following)
        rows = [_put_together(moment, after, updates) for moment in moments]
        return jnp.stack([updates, *(row.astype(dtype) for row in rows)])

    columns = 2 + len(moments)
    shape = (columns, state.weights.size)
    rng = np.random.default_rng(0)
    probe = jnp.asarray(rng.choice([-1, 1], shape) * rng.uniform(0.5, 1.5, shape), dtype)

    # Not at zero itself, where the root of an empty second moment has no derivative, but so near that it makes no
    # difference to one that is not empty.
    small = jnp.finfo(dtype).eps ** 1.5 * probe.at[:-1].set(0)

    # And a step the other way, with its derivative, at the weights, whose length may matter.
    still = jnp.zeros(shape, dtype).at[0].set(state.weights)
    ones = jnp.eye(columns, dtype=dtype)[:, :, None] * jnp.ones(shape, dtype)
    places = jnp.concatenate(
        [jnp.broadcast_to(small, (1 + columns, *shape)), (still - small)[None]]
    )
    directions = jnp.concatenate([ones, jnp.stack([probe, small])])
    images, slopes = jax.vmap(lambda x, v: jax.jvp(step, (x,), (v,)))(places, directions)

    base = step(still)
    given = jax.tree.leaves(state.memory)
    kept = [jnp.abs(_put_together(m, given, state.weights)) for m in moments]
    ordinary = 1e-3 * probe[-1] * sum(kept, start=jnp.zeros_like(state.weights))
    nothing = jnp.zeros(shape, dtype)
    return Response(
        coefficients=jnp.moveaxis(slopes[:columns], 0, 1),
        probe=probe,
        answer=slopes[columns],
        small=small,
        jump=images[-1] - base,
        bend=slopes[-1],
        rounding=100 * jnp.finfo(dtype).eps * jnp.abs(base),
        ordinary=ordinary,
        reached=step(nothing.at[-1].set(ordinary)) - step(nothing),
        drift=_drift(optimizer, state, frozen),
    )


def _put_together(moment: list[Part], leaves: list[Array], weights: Flat) -> Flat:
    """A moment as a flat vector, zero where it has no entry."""
    flat = jnp.zeros_like(weights)
    for i, entries in moment:
        flat = leaves[i] if entries is None else flat.at[entries].set(jnp.ravel(leaves[i]))
    return flat


def _moments(optimizer: OptimizerMap, state: State) -> list[list[Part]]:
    """The oscillating moments of the memory, each of one leaf or of several that cover the weights one after the other.

    Raises:
        OptimizerError: an oscillating leaf belongs to no moment.
    """
    leaves, odd = jax.tree.leaves(state.memory), optimizer.oscillating[1:]
    on_tree = isinstance(optimizer.transformation, OnTree)
    found = (
        [[part] for part in enumerate(optimizer.transformation.covered(state.weights))]  # type: ignore[attr-defined]
        if on_tree
        else _in_order(state)
    )
    moments = [moment for moment in found if odd[moment[0][0]]]
    belonging = {
        i
        for moment in moments
        for i, entries in moment
        if entries is not None or jnp.shape(leaves[i]) == state.weights.shape
    }
    for i, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(state.memory)):
        if odd[i] and i not in belonging:
            raise OptimizerError(
                f"the transformation keeps memory.{name(path)} of shape {jnp.shape(leaf)}, which follows the "
                f"gradient's sign but not weight by weight, so it has no alternating gain"
            )
    whole = state.weights.size
    return [
        [
            (i, None if entries is None or entries.size == whole == leaves[i].size else entries)
            for i, entries in moment
        ]
        for moment in moments
    ]


def _in_order(state: State) -> list[list[Part]]:
    """The leaves of a memory of flat weights, those together that a transformation of a tree may have made of them.

    Whether they are a moment of the weights in this order shows when the step is taken apart weight by weight.
    """

    def covers(node: Memory) -> bool:
        leaves = jax.tree.leaves(node)
        return len(leaves) > 1 and sum(map(jnp.size, leaves)) == state.weights.size

    order, found, first = np.arange(state.weights.size), list[list[Part]](), 0
    for node in jax.tree.leaves(state.memory, is_leaf=covers):
        sizes = [jnp.size(leaf) for leaf in jax.tree.leaves(node)]
        parts = np.split(order, np.cumsum(sizes)[:-1]) if covers(node) else [None]
        found.append([(first + k, part) for k, part in enumerate(parts)])
        first += len(sizes)
    return found


def _refuse_what_is_not_linear(optimizer: OptimizerMap, state: State, response: Response) -> None:
    parts = (part for part in response if part is not response.drift)
    # The state too: a step that does not read the weights is finite where they are not.
    if not all(np.isfinite(part).all() for part in (*parts, *jax.tree.leaves(state))):
        raise StateError(f"the linearised step is not finite: {_why_not_finite(optimizer, state)}")
    paths, dtype = jax.tree_util.tree_leaves_with_path(state), state.weights.dtype
    auxiliary = [
        path for (path, _), odd in zip(paths, optimizer.oscillating, strict=True) if not odd
    ]
    for path, drift in zip(auxiliary, response.drift, strict=True):
        if not drift <= _HELD:
            raise StateError(
                f"the transformation cannot hold {name(path)} without a gradient, so it has no alternating gain"
            )
    expected, size = (
        np.einsum("rcp,cp->rp", f(response.coefficients), f(response.probe))
        for f in (np.asarray, np.abs)
    )
    if np.any(np.abs(response.answer - expected) > np.sqrt(np.finfo(dtype).eps) * size):
        raise OptimizerError(
            "the transformation does not act weight by weight, so it has no alternating gain"
        )
    linear = np.einsum("rcp,cp->rp", response.coefficients, response.small)
    allowed = _KINK * _norm(linear)
    jump, bend = _norm(response.jump + linear), _norm(response.bend - linear)
    far = response.coefficients[0, -1] * response.ordinary
    curved = np.linalg.norm(response.reached[0] - far) > _KINK * np.linalg.norm(far)
    if np.any(jump > allowed + _norm(response.rounding)) or np.any(bend > allowed) or curved:
        raise OptimizerError(
            "the update is not differentiable at zero gradient (a sign, a kink, a division by a norm), so it has no "
            "linear threshold; what can be measured is the multiplier and the secant of its rod "
            "(rodflow.dynamics.amplitude)"
        )


def _why_not_finite(optimizer: OptimizerMap, state: State) -> str:
    if not all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state)):
        return "the state is not"
    fresh = optimizer.initial(state.weights).memory
    pairs = zip(jax.tree.leaves(fresh), jax.tree.leaves(state.memory), strict=True)
    if all(bool(jnp.array_equal(a, b)) for a, b in pairs):
        return "the state must have taken a step"
    return (
        "without a gradient the transformation divides by what is zero there (a norm or a distance), so it has no "
        "linear threshold"
    )


def _norm(rows: Float[Array, "row parameter"]) -> Float[np.ndarray, " row"]:
    return np.asarray(np.linalg.norm(rows, axis=1))
