"""The first instability of any optimizer: the least curvature at which a mode grows, at whatever angle it turns.

A step that is linear in a small gradient is a filter. Hold the auxiliary leaves and let everything go as z^t. From

    (z - 1 - F) w = D m + E g,        (z - A) m = B g + C w

(`rodflow.optimizers.linear_response`) the weights answer an alternating gradient g as w = R(z) g, with

    R(z) = (E + D (z - A)^{-1} B) / (z - 1 - F - D (z - A)^{-1} C).

Where g = h w such a motion exists when h R(z) = 1. With K C(z) = -h R(z) that is the root locus 1 + K C(z) = 0 of
control theory. At rest every root lies in the unit disc; the first that leaves it does so on the unit circle, at

    1 / h = the largest positive R(e^{i theta}) among those that are real,

and theta is the angle by which the mode turns in a step: pi where it alternates, which is what a rod describes. At any
other angle there is an instability but no rod. With the *critical gain* 2 / h, one number a weight, stability ends
where

    largest eigenvalue of G^{1/2} H G^{1/2} = 2,

exactly at the angle pi; at any other one if the filters of all weights are multiples of one another. At pi the critical
gain is the alternating gain (`rodflow.optimizers.alternation`).

    found = first_instability(optimizer_map(loss, transformation, weights), state)
    pairs = top_eigenpairs(loss, state.weights, 1 / found.gain, guess, tolerance)
    sharpness_over_threshold, alternates = pairs.values[0] / 2, found.angle == np.pi
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Complex, Float

from rodflow.optimizers.alternation import alternating_gain
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

_ANGLES = 2881  # of the unit circle's upper half that are looked at, a sixteenth of a degree apart
_OUTSIDE = (
    2 + 1j
)  # of the unit circle, where a filter is 0 only if the weights never move; a memory still may
_MULTIPLES = 1e-3  # how well the filters of two weights must be multiples of one another


class Instability(NamedTuple):
    """Where stability ends.

    Attributes:
        gain: the critical gain, one number a weight; 0 for a weight that does not move, such as all of them where a
            warm-up begins at a rate of 0.
        angle: by which the mode turns in a step, in radians; pi where it alternates, NaN where nothing moves.
    """

    gain: Float[np.ndarray, " parameter"]
    angle: float


def first_instability(optimizer: OptimizerMap, state: State) -> Instability:
    """The first instability at the auxiliary leaves of a state.

    Args:
        optimizer: the map.
        state: its auxiliary leaves (second moment, count) are those that the step uses; the weights only serve to
            look for kinks. For a rod, its centre.

    Raises:
        OptimizerError: the step is not linear in a small gradient or not weight by weight, no curvature ends its
            stability, or the first instability is not at the angle pi and another one for other weights.
        StateError: it is not so at this state.
    """
    found = coefficients(optimizer, state)
    moves = np.abs(filter_of(found, _OUTSIDE)) > 0
    nothing = np.zeros(state.weights.shape, state.weights.dtype)
    if not moves.any():
        return Instability(nothing, np.nan)
    chosen = found[..., some_of(moves)]
    angle = _first_angle(chosen[..., :1])
    answer = filter_of(found[..., moves], np.exp(1j * angle)).real
    few = filter_of(chosen, np.exp(1j * angle)).real
    _refuse_other_filters(chosen, angle)
    for fraction in BELOW:
        radius = largest_multiplier(chosen, fraction / few)
        if radius > 1 + GROWS:
            raise OptimizerError(
                f"a mode grows (by {radius:.4g} a step) at {fraction:g} of the least curvature at which one could "
                f"begin to, so the optimizer is unstable without any: it climbs, or its memory grows by itself"
            )
    nothing[moves] = 2 * answer
    return Instability(nothing, angle)


def critical_gain(optimizer: OptimizerMap, state: State) -> Instability:
    """The critical gain and angle of a state: those of the alternating motion where that comes first.

    Args:
        optimizer: the map.
        state: as for `first_instability`; it need not be finite.

    Returns:
        NaN where the state is not finite, or has no gain though others may, such as one before the first step.

    Raises:
        OptimizerError: as `first_instability`, of an optimizer that has none.
    """
    nothing = Instability(np.full(state.weights.shape, np.nan, state.weights.dtype), np.nan)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state)):
        return nothing
    try:
        return threshold_of(optimizer, state)
    except StateError:
        return nothing


def threshold_of(optimizer: OptimizerMap, state: State) -> Instability:
    """The alternating gain and the angle pi where that motion comes first, else the first instability.

    A step along the mean of two gradients does not see one that alternates: no gain at all is no threshold.

    Args:
        optimizer: the map.
        state: as for `first_instability`.

    Raises:
        OptimizerError: as `first_instability`, of an optimizer that has none.
        StateError: it has none at this state.
    """
    try:
        gain = alternating_gain(optimizer, state)
    except OtherModeError:
        return first_instability(optimizer, state)
    return Instability(gain, np.pi) if gain.any() else first_instability(optimizer, state)


def filter_of(found: Coefficients, z: complex) -> Complex[np.ndarray, " parameter"]:
    """R(z), from gradient to weights, of each weight.

    Args:
        found: the coefficients of the linearised step.
        z: the factor by which everything moves in a step.

    Raises:
        numpy.linalg.LinAlgError: z is exactly a factor by which the memory of a weight moves by itself.
    """
    count = found.shape[0] - 1
    update, memory = found[0], found[1:]
    keep = z * np.eye(count) - np.moveaxis(memory[:, 1 : 1 + count], -1, 0)
    driven = np.moveaxis(memory[:, [-1, 0]], -1, 0)
    answer = np.moveaxis(np.linalg.solve(keep, driven), 0, -1)
    by_gradient, by_weight = np.einsum("mp,mcp->cp", update[1 : 1 + count], answer)
    return np.asarray((update[-1] + by_gradient) / (z - 1 - update[0] - by_weight))


def largest_real(answer: Callable[[complex], complex]) -> tuple[float, float]:
    """The largest positive value on the unit circle among the real ones of a filter, and its angle; 0 and NaN if none.

    Args:
        answer: the filter R(z), real on the real axis, without a pole on the circle but at z = 1.
    """
    angles = np.pi * np.arange(1, _ANGLES) / (_ANGLES - 1)
    values = np.array([answer(np.exp(1j * angle)) for angle in angles[:-1]])
    best, at = max((answer(-1.0 + 0j).real, np.pi), (0.0, np.nan))
    for k in np.flatnonzero(np.diff(np.sign(values.imag)) != 0):
        low, high = angles[k], angles[k + 1]
        sign = np.sign(values[k].imag)
        for _ in range(60):
            middle = (low + high) / 2
            if np.sign(answer(np.exp(1j * middle)).imag) == sign:
                low = middle
            else:
                high = middle
        crossing = answer(np.exp(1j * high))
        if abs(crossing.imag) < 1e-6 * abs(crossing) and crossing.real > best * (1 + 1e-9):
            best, at = crossing.real, float(high)
    return float(best), float(at)


def _first_angle(one: Coefficients) -> float:
    """The angle of the first instability of a single weight."""
    try:
        best, angle = largest_real(lambda z: complex(filter_of(one, z)[0]))
    except np.linalg.LinAlgError as error:
        raise OptimizerError(
            "a memory leaf turns without being damped, so no threshold is its own"
        ) from error
    if not best > 0:
        raise OptimizerError("no curvature ends the stability of this optimizer: it climbs")
    return angle


def _refuse_other_filters(chosen: Coefficients, angle: float) -> None:
    """Away from z = -1 the filters of all weights must be multiples of one another."""
    here = filter_of(chosen, np.exp(1j * angle))
    points = () if angle == np.pi else (-1.0 + 0j, 1j, np.exp(0.7j))
    for z in points:
        ratio = filter_of(chosen, z) / here
        if (np.abs(ratio - ratio[0]) > _MULTIPLES * np.abs(ratio[0])).any():
            raise OptimizerError(
                f"the first mode that grows turns by {np.degrees(angle):.0f} degrees a step, and the filters of the "
                f"weights are no multiples of one another, so no single gain says where"
            )
