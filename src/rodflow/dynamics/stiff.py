"""Steps of dz/dt = F(z) - z that are stable at any length, for the stable flow.

A Chebyshev polynomial (`rodflow.dynamics.chebyshev`) of so many stages as the fastest rate asks for. The rate is
followed by a power iteration, one gradient a step. Steps may be longer than a unit of time, and the state within one
is interpolated.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.dynamics.chebyshev import Scheme, advance, choose, combine, scheme, scheme_around_disc
from rodflow.dynamics.lifted import Rod, merge_auxiliary, oscillating
from rodflow.optimizers.optimizer_map import OptimizerMap, State

MARGIN = 0.1
"""How much further than the fastest rate that is known a step is stable, relative."""
FORGETTING = 0.9
"""What is kept of the fastest rate when an iteration finds less: where modes turn, one sees less than is there."""
DISC = 2.0
"""The largest rate of momentum's turning modes, |x| for |1 + x| <= 1."""


class Span(NamedTuple):
    """A step of the integrator, from which the state within it is interpolated.

    Attributes:
        start, change: the state at its start, and what it changes by.
        velocity, velocity_end: dz/dt at its ends.
        length, passed: of time, of the step and since its start.
    """

    start: State
    change: State
    velocity: State
    velocity_end: State
    length: Float[Array, ""]
    passed: Float[Array, ""]

    @property
    def end(self) -> State:
        """The state at its end."""
        return combine((1, self.start), (1, self.change))


class Fastest(NamedTuple):
    """The fastest mode: a direction of the oscillating leaves and its rate."""

    direction: PyTree
    rate: Float[Array, ""]


def velocity_of(optimizer: OptimizerMap, state: State) -> State:
    """F(z) - z, from the optimizer's updates and not from a difference of weights."""
    return optimizer.evaluate_increment(state)[1]


def has_momentum(optimizer: OptimizerMap) -> bool:
    """Whether more than the weights oscillate: then modes turn, and the spectrum is not real."""
    return sum(optimizer.oscillating) > 1


def planned(optimizer: OptimizerMap, length: Array, rate: Array) -> Scheme:
    """The step of this length that is stable for a spectrum with this fastest rate."""
    reach = rate * (1 + MARGIN)
    if has_momentum(optimizer):
        return scheme_around_disc(length, jnp.maximum(reach, DISC))
    return scheme(length, length, reach)


def stepped(
    optimizer: OptimizerMap,
    before: Span,
    known: Array,
    plan: Scheme,
    length: Array,
    back: State,
) -> tuple[Span, State]:
    """The step after `before`, and by how much it errs.

    Args:
        optimizer: the map F.
        before: the step before.
        known: whether the velocity at its end is known.
        plan: the polynomial.
        length: of time.
        back: the error of the step before. Where no mode turns it is taken back as a constant force, which leaves an
            error of fourth order. With turning modes this recurrence has roots outside the unit disc.
    """
    start = before.end
    share = 0 if has_momentum(optimizer) else -1 / length
    forcing = jax.tree.map(lambda error: share * error, back)
    kept = optimizer.decay(start)
    done = advance(
        lambda z, _: (velocity_of(optimizer, z), ()),
        start,
        plan,
        known=known,
        f=before.velocity_end,
        seen=(),
        forcing=forcing,
        mend=lambda change: _positive(optimizer, start, change, kept, length),
    )
    left = combine(
        (1, done.change), (-length / 2, done.f), (-length / 2, done.f_end), (-length, forcing)
    )
    ratio = (plan.cubic - length**3 / 6) / (plan.cubic - length**3 / 4)
    error = jax.tree.map(lambda leaf: ratio * leaf, left)
    passed = before.passed - before.length
    return Span(start, done.change, done.f, done.f_end, length, passed), error


def within(optimizer: OptimizerMap, span: Span) -> State:
    """The state where the time that has passed leads to: a cubic through both ends with their velocities."""
    share = jnp.where(span.length > 0, span.passed / span.length, 1)
    half = span.length / 2
    left = combine((1, span.change), (-half, span.velocity), (-half, span.velocity_end))
    late = span.passed * share / 2
    change = combine(
        (span.passed - late, span.velocity),
        (late, span.velocity_end),
        (share**2 * (3 - 2 * share), left),
    )
    # No average of positive numbers is left negative by the cubic.
    safe = jax.tree.map(
        lambda z, d, whole: jnp.where((z > 0) & (z + d <= 0), share * whole, d),
        span.start,
        change,
        span.change,
    )
    return combine((1, span.start), (1, merge_auxiliary(optimizer, change, safe)))


def anywhere(optimizer: OptimizerMap, state: State) -> Fastest:
    """A random direction, of which no rate is known."""
    noise = jax.random.normal(jax.random.key(0), state.weights.shape, state.weights.dtype)
    nothing = jax.tree.map(jnp.zeros_like, state)
    direction = oscillating(optimizer, nothing._replace(weights=noise))
    return Fastest(direction, jnp.zeros([], state.weights.dtype))


def sharpened(optimizer: OptimizerMap, state: State, velocity: State, known: Fastest) -> Fastest:
    """One power iteration on the oscillating leaves at a state of known velocity: one gradient."""
    size = _norm(known.direction)
    eps = jnp.finfo(state.weights.dtype).eps
    near = 0.03 * jnp.sqrt(eps) * jnp.linalg.norm(state.weights)
    shifted = Rod(state, jax.tree.map(lambda v: v / size, known.direction)).end(near)
    answer = jax.tree.map(lambda a, b: (a - b) / near, velocity_of(optimizer, shifted), velocity)
    answer = oscillating(optimizer, answer)
    rate = _norm(answer)
    good = jnp.isfinite(rate) & (rate > 0)
    return Fastest(
        choose(good, answer, known.direction),
        jnp.where(good, jnp.maximum(rate, FORGETTING * known.rate), known.rate),
    )


def _norm(direction: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(direction)))


def _positive(
    optimizer: OptimizerMap, start: State, change: State, kept: PyTree, length: Array
) -> State:
    """What a positive auxiliary leaf loses in a time is at most what it forgets, for its source is not negative."""

    def held(kept: Array, before: Array, moved: Array) -> Array:
        least = before * jnp.expm1((jnp.clip(kept, 0, 1) - 1) * length)
        return jnp.where(before > 0, jnp.maximum(moved, least), moved)

    bounded = change._replace(memory=jax.tree.map(held, kept, start.memory, change.memory))
    return merge_auxiliary(optimizer, change, bounded)
