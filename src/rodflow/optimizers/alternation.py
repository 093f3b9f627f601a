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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rodflow.optimizers.errors import OptimizerError, OtherModeError, StateError
from rodflow.optimizers.linear_response import (
    BELOW,
    GROWS,
    Coefficients,
    coefficients,
    largest_multiplier,
    some_of,
)
from rodflow.optimizers.optimizer_map import OptimizerMap, State


class Alternation(NamedTuple):
    """What an optimizer makes of motion that changes sign at every step: -2 w = -gain g - decay w."""

    gain: Float[np.ndarray, " parameter"]
    decay: Float[np.ndarray, " parameter"]


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
        StateError: it has none at this state.
    """
    gain, decay = alternation(optimizer, state)
    return np.asarray(gain / (1 - decay / 2), state.weights.dtype)


def alternating_gains(
    optimizer: OptimizerMap, states: State
) -> Float[np.ndarray, "snapshot parameter"]:
    """The alternating gain of many states, one at a time, stacked along a leading axis.

    Args:
        optimizer: the map.
        states: each as for `alternating_gain`; every leaf has a leading axis over them.

    Returns:
        NaN for a state that is not finite, or at which alone there is none, such as one before the first step.

    Raises:
        OptimizerError: as `alternating_gain`, of an optimizer that has none.
        StateError: all states are finite, and none has a gain.
    """
    rows, refusals = [], []
    for index in range(len(states.weights)):
        state = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), states)
        finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state))
        row = np.full(state.weights.shape, np.nan, state.weights.dtype)
        if finite:
            try:
                row = alternating_gain(optimizer, state)
            except StateError as refusal:
                refusals.append(refusal)
        rows.append(row)
    if refusals and len(refusals) == len(rows):
        raise refusals[0]
    return np.stack(rows) if rows else np.zeros(states.weights.shape, states.weights.dtype)


def threshold(
    gain: Float[np.ndarray, " parameter"],
    preconditioner: Float[np.ndarray, " parameter"] | float,
    learning_rate: float,
) -> Float[np.ndarray, " parameter"]:
    """The classical number: the largest stable learning_rate * S, S the largest eigenvalue of P^{-1/2} H P^{-1/2}.

    That is 2 learning_rate / (G P), G the alternating gain. It is the same for all weights exactly where P is the
    optimizer's preconditioner up to a factor; 38 for Adam at b1 = 0.9 once bias correction has worn off.

    Args:
        gain: the alternating gain of each weight.
        preconditioner: the diagonal of P.
        learning_rate: eta, by which S is multiplied.
    """
    return np.asarray(2 * learning_rate / (gain * preconditioner))


def alternation(optimizer: OptimizerMap, state: State) -> Alternation:
    """Gain G and decay W of the linearised step, each one number a weight.

    Args:
        optimizer: the map.
        state: as for `alternating_gain`.

    Raises:
        OptimizerError, StateError: as `alternating_gain`.
    """
    found = coefficients(optimizer, state)
    count = len(found) - 1
    update, memory = found[0], found[1:]
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
    _refuse_other_instabilities(found, gain, decay)
    return Alternation(gain, decay)


def _refuse_other_instabilities(found: Coefficients, gain: np.ndarray, decay: np.ndarray) -> None:
    """The period-two mode must be the one that ends stability: checked weight by weight below its threshold."""
    if (gain < 0).any():
        raise OptimizerError(
            "the update climbs a gradient that alternates (its gain is negative), so no curvature starts a period two"
        )
    if (decay >= 2).any():
        raise OptimizerError("the weight decay alone overshoots at every step (it is 2 or more)")
    moving = some_of(gain != 0)
    for fraction in BELOW:
        curvature = fraction * (2 - decay[moving]) / gain[moving]
        radius = largest_multiplier(found[..., moving], curvature)
        if radius > 1 + GROWS:
            raise OtherModeError(
                f"another mode grows (by {radius:.4g} a step) at {fraction:g} of the curvature at which the weights "
                f"would alternate, so that is not where stability ends; "
                f"rodflow.optimizers.instability.first_instability says where"
            )
