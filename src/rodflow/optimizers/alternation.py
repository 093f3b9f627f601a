"""Where any optimizer becomes unstable, from its own linearised map: no formula per optimizer.

At the edge of stability weights, gradient and first moments change sign at every step, and what is even in them
(second moments, counts) stands still. Hold the even leaves and linearise a step about zero: with weights w, a vector m
of oscillating memory leaves and the gradient g,

    w' - w = D m + E g + F w,        m' = A m + B g + C w,

where for an optimizer that acts weight by weight the coefficients are small matrices, one for each weight. Let
everything alternate, z' = -z. Then m = -(I + A)^{-1} (B g + C w) and -2 w = -G g - W w, with

    gain   G = -E + D (I + A)^{-1} B,        decay   W = -F + D (I + A)^{-1} C.

W is zero unless the step depends on the weights themselves (eta lambda for decoupled weight decay). Where the gradient
is g = H w, such a motion exists, and the map has the eigenvalue -1, when G H w = (2 - W) w. With the *alternating gain*
G / (1 - W/2) in place of G this is

    largest eigenvalue of G^{1/2} H G^{1/2} = 2,

so the inverse of the alternating gain is a preconditioner whose threshold is 2 for every optimizer:

    optimizer = optimizer_map(loss, optax.adamw(1e-3), weights)
    gain = alternating_gain(optimizer, state)
    pairs = top_eigenpairs(loss, state.weights, 1 / gain, guess, tolerance)
    sharpness_over_threshold = pairs.values[0] / 2

For the nine optimizers of `rodflow.optimizers.table.TABLE` it gives their thresholds back, see `threshold`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, State

_KINK = 0.1  # how far a finite step may depart from the linear one; a sign departs by many orders
_HELD = 0.01  # how well the auxiliary leaves must be kept
_WEIGHTS_CHECKED = 256  # for other instabilities; weights differ in scale only


class Alternation(NamedTuple):
    """What an optimizer makes of motion that changes sign at every step: -2 w = -gain g - decay w."""

    gain: Float[np.ndarray, " parameter"]
    decay: Float[np.ndarray, " parameter"]


class _Response(NamedTuple):
    """How the frozen step answers: rows are the update and the oscillating memory, columns weights, memory, gradient.

    Attributes:
        coefficients: of the linearised step, for each weight.
        probe, answer: a direction without structure and the derivative along it.
        small, jump, bend: a small gradient; what the step without any changes by when it sees the opposite one, at
            the weights; the derivative there, along it.
        rounding: what of the jump may be rounding, at most.
        drift: for each auxiliary leaf, how much a step without gradient departs from it, relative.
    """

    coefficients: Float[Array, "row column parameter"]
    probe: Float[Array, "column parameter"]
    answer: Float[Array, "row parameter"]
    small: Float[Array, "column parameter"]
    jump: Float[Array, "row parameter"]
    bend: Float[Array, "row parameter"]
    rounding: Float[Array, "row parameter"]
    drift: Float[Array, " leaf"]


def alternating_gain(optimizer: OptimizerMap, state: State) -> Float[np.ndarray, " parameter"]:
    """The alternating gain G / (1 - W/2): with it the threshold is the largest eigenvalue of G^{1/2} H G^{1/2} at 2.

    Args:
        optimizer: the map.
        state: its auxiliary leaves (second moment, count) are those that the step uses; the weights only serve to
            look for kinks. For a rod, its centre.

    Returns:
        One number a weight.

    Raises:
        OptimizerError: the optimizer has no such linear map, or ends its stability otherwise; one line says why.
    """
    gain, decay = alternation(optimizer, state)
    return np.asarray(gain / (1 - decay / 2), state.weights.dtype)


def alternating_gains(
    optimizer: OptimizerMap, states: State
) -> Float[np.ndarray, "snapshot parameter"]:
    """The alternating gain of many states, stacked along a leading axis; NaN where a state is not finite.

    Raises:
        OptimizerError: as `alternating_gain`.
    """
    rows = []
    for index in range(len(states.weights)):
        state = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), states)
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state))
        nothing = np.full(state.weights.shape, np.nan, state.weights.dtype)
        rows.append(alternating_gain(optimizer, state) if finite else nothing)
    return np.stack(rows) if rows else np.zeros(states.weights.shape, states.weights.dtype)


def threshold(
    gain: Float[np.ndarray, " parameter"],
    preconditioner: Float[np.ndarray, " parameter"] | float,
    learning_rate: float,
) -> Float[np.ndarray, " parameter"]:
    """The classical number: the largest stable learning_rate * S, S the largest eigenvalue of P^{-1/2} H P^{-1/2}.

    That is 2 learning_rate / (G P). It is the same for all weights exactly where P is the
    optimizer's preconditioner up to a factor; 38 for Adam at b1 = 0.9 once bias correction has worn off.
    """
    return np.asarray(2 * learning_rate / (gain * preconditioner))


def alternation(optimizer: OptimizerMap, state: State) -> Alternation:
    """Gain G and decay W of the linearised step, each one number a weight.

    Args:
        optimizer: the map.
        state: as for `alternating_gain`.

    Raises:
        OptimizerError: as `alternating_gain`.
    """
    _refuse_other_shapes(optimizer, state)
    response: _Response = jax.tree.map(np.float64, jax.device_get(_response(optimizer, state)))
    coefficients = np.asarray(response.coefficients)
    _refuse_what_is_not_linear(optimizer, state, response)
    count = len(coefficients) - 1
    update, memory = coefficients[0], coefficients[1:]
    keep = np.moveaxis(np.eye(count)[..., None] + memory[:, 1 : 1 + count], -1, 0)
    drive = np.moveaxis(memory[:, [-1, 0]], -1, 0)
    try:
        answer = np.moveaxis(np.linalg.solve(keep, drive), 0, -1)
    except np.linalg.LinAlgError as error:
        raise OptimizerError(
            "a memory leaf alternates without being damped, so no threshold is its own"
        ) from error
    through_memory = np.einsum("mp,mcp->cp", update[1 : 1 + count], answer)
    gain, decay = -update[[-1, 0]] + through_memory
    _refuse_other_instabilities(coefficients, gain, decay)
    return Alternation(gain, decay)


def one_step_back(optimizer: OptimizerMap, state: State) -> State:
    """The state at zero from which a step without gradient arrives at the auxiliary leaves of this one.

    So that the step is taken with exactly those: a second moment decays, and a count advances, before it is used.
    Found by Newton's method with each leaf's own derivative, exact in one step for averages, sums and counts; a leaf
    that forgets itself (a learning rate computed from a count) is left to follow from the others.

    Returns:
        Weights and oscillating memory are zero.
    """
    return _one_step_back(optimizer, state)[0]


def _one_step_back(optimizer: OptimizerMap, state: State) -> tuple[State, Float[Array, " leaf"]]:
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
    drift = [
        jnp.linalg.norm(jnp.ravel(found - leaf))
        / jnp.maximum(jnp.linalg.norm(jnp.ravel(leaf)), jnp.finfo(leaf.dtype).tiny)
        for found, leaf in zip(after(held), wanted, strict=True)
    ]
    return at(held), jnp.asarray(drift)


@eqx.filter_jit
def _response(optimizer: OptimizerMap, state: State) -> _Response:
    """Linearise the frozen step: one jvp for weights, gradient and each oscillating leaf, and two to check them."""
    frozen, drift = _one_step_back(optimizer, state)
    leaves, structure = jax.tree.flatten(frozen.memory)
    oscillating = [i for i, follows in enumerate(optimizer.oscillating[1:]) if follows]
    dtype = state.weights.dtype

    def step(inputs: Float[Array, "column parameter"]) -> Float[Array, "row parameter"]:
        memory = list(leaves)
        for row, i in enumerate(oscillating, start=1):
            memory[i] = inputs[row].astype(leaves[i].dtype)
        updates, following = optimizer.transformation.update(
            inputs[-1], jax.tree.unflatten(structure, memory), inputs[0]
        )
        after = jax.tree.leaves(following)
        return jnp.stack([updates, *(after[i].astype(dtype) for i in oscillating)])

    columns = 2 + len(oscillating)
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
    return _Response(
        coefficients=jnp.moveaxis(slopes[:columns], 0, 1),
        probe=probe,
        answer=slopes[columns],
        small=small,
        jump=images[-1] - base,
        bend=slopes[-1],
        rounding=100 * jnp.finfo(dtype).eps * jnp.abs(base),
        drift=drift,
    )


def _refuse_other_shapes(optimizer: OptimizerMap, state: State) -> None:
    paths = jax.tree_util.tree_leaves_with_path(state)
    for (path, leaf), follows in zip(paths, optimizer.oscillating, strict=True):
        if follows and jnp.shape(leaf) != state.weights.shape:
            raise OptimizerError(
                f"the transformation keeps {_name(path)} of shape {jnp.shape(leaf)}, which follows the gradient's "
                f"sign but not weight by weight, so it has no alternating gain"
            )


def _refuse_what_is_not_linear(optimizer: OptimizerMap, state: State, response: _Response) -> None:
    if not all(np.isfinite(part).all() for part in response if part is not response.drift):
        raise OptimizerError(
            "the linearised step is not finite: the state must be, and must have taken a step"
        )
    paths, dtype = jax.tree_util.tree_leaves_with_path(state), state.weights.dtype
    auxiliary = [
        path for (path, _), odd in zip(paths, optimizer.oscillating, strict=True) if not odd
    ]
    for path, drift in zip(auxiliary, response.drift, strict=True):
        if not drift <= _HELD:
            raise OptimizerError(
                f"the transformation cannot hold {_name(path)} without a gradient, so it has no alternating gain"
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
    if np.any(jump > allowed + _norm(response.rounding)) or np.any(bend > allowed):
        raise OptimizerError(
            "the update is not differentiable at zero gradient (a sign, a kink, a division by a norm), "
            "so it has no linear threshold"
        )
    if not np.any(response.coefficients[0, -1]):
        raise OptimizerError("the update does not depend on the gradient, so it has no threshold")


def _refuse_other_instabilities(
    coefficients: np.ndarray, gain: np.ndarray, decay: np.ndarray
) -> None:
    """The period-two mode must be the one that ends stability: checked weight by weight below its threshold."""
    if (gain < 0).any():
        raise OptimizerError(
            "the update climbs a gradient that alternates (its gain is negative), so no curvature starts a period two"
        )
    if (decay >= 2).any():
        raise OptimizerError("the weight decay alone overshoots at every step (it is 2 or more)")
    moving = np.flatnonzero(gain)
    chosen = moving[:: -(-len(moving) // _WEIGHTS_CHECKED)]
    rows = coefficients[..., chosen]
    for fraction in (0.25, 0.5, 0.75, 0.99):
        curvature = fraction * (2 - decay[chosen]) / gain[chosen]
        matrix = rows[:, :-1].copy()
        matrix[:, 0] += rows[:, -1] * curvature
        matrix[0, 0] += 1
        radius = np.abs(np.linalg.eigvals(np.moveaxis(matrix, -1, 0))).max()
        if radius > 1 + 1e-4:
            raise OptimizerError(
                f"another mode grows (by {radius:.4g} a step) at {fraction:g} of the curvature at which the weights "
                f"would alternate, so that is not where stability ends"
            )


def _norm(rows: Float[Array, "row parameter"]) -> Float[np.ndarray, " row"]:
    return np.asarray(np.linalg.norm(rows, axis=1))


def _name(path: tuple[object, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
