"""Steps of dz/dt = F(z) - z for the stable flow, made of one evaluation of the field after the other.

A long step is a Chebyshev polynomial (`rodflow.dynamics.chebyshev`) of so many stages as the fastest rate asks for. A
short one has the three stages of Bogacki and Shampine. Both are one recurrence with different numbers,

    change' = up * change + down * change before + pull * f(start + change) + back * f(start),

so that a program holds one gradient for all of them, and for the power iteration by which the rate is followed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from rodflow.dynamics.chebyshev import Scheme, choose, combine, scheme, scheme_around_disc
from rodflow.dynamics.lifted import Rod, merge_auxiliary, oscillating
from rodflow.optimizers.optimizer_map import OptimizerMap, State

MARGIN = 0.1
"""How much further than the fastest rate that is known a step is stable, relative."""
FORGETTING = 0.9
"""What is kept of the fastest rate when an iteration finds less: where modes turn, one sees less than is there."""
DISC = 2.0
"""The largest rate of momentum's turning modes, |x| for |1 + x| <= 1."""
SHORT = 2.3
"""Rate times length up to which a short step is stable: down to -2.51, and in a disc of radius 1.25."""


class Span(NamedTuple):
    """A step that was made, from which the state within it is interpolated.

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


class Step(NamedTuple):
    """A step in the making.

    Attributes:
        plan: its stages and their numbers, if it is a long one.
        short: whether it is a short one.
        length: of time.
        forcing: a constant that is added to the field.
        kept: what a step without gradient keeps of each leaf of the memory.
        number: of the stage that comes next.
        change, lower: since the start up to there, and up to the stage before.
        t, t_lower: the Chebyshev polynomials of both at the damping.
    """

    plan: Scheme
    short: Bool[Array, ""]
    length: Float[Array, ""]
    forcing: State
    kept: PyTree
    number: Int[Array, ""]
    change: State
    lower: State
    t: Float[Array, ""]
    t_lower: Float[Array, ""]


def velocity_of(optimizer: OptimizerMap, state: State) -> State:
    """F(z) - z, from the optimizer's updates and not from a difference of weights."""
    return optimizer.evaluate_increment(state)[1]


def has_momentum(optimizer: OptimizerMap) -> bool:
    """Whether more than the weights oscillate: then modes turn, and the spectrum is not real."""
    return sum(optimizer.oscillating) > 1


def reach_of(optimizer: OptimizerMap, rate: Array) -> Float[Array, ""]:
    """How far the spectrum may reach if this is the fastest rate that is known."""
    return jnp.maximum(rate * (1 + MARGIN), DISC if has_momentum(optimizer) else 0)


def planned(optimizer: OptimizerMap, length: Array, rate: Array) -> Scheme:
    """The long step of this length that is stable for a spectrum with this fastest rate."""
    reach = reach_of(optimizer, rate)
    if has_momentum(optimizer):
        return scheme_around_disc(length, reach)
    return scheme(length, length, reach)


def standing(optimizer: OptimizerMap, state: State) -> Step:
    """A step of no length: its only evaluation of the field is the velocity there."""
    nothing = jax.tree.map(jnp.zeros_like, state)
    zero, none = jnp.zeros([], state.weights.dtype), jnp.asarray(0)
    plan = Scheme(none, zero + 1, zero, zero, zero)
    kept = optimizer.decay(state)
    short = jnp.asarray(True)
    return Step(plan, short, zero, nothing, kept, none, nothing, nothing, zero + 1, zero + 1)


def begun(
    optimizer: OptimizerMap,
    before: Span,
    length: Array,
    *,
    short: Array,
    rate: Array,
    back: State,
) -> Step:
    """The step that comes after `before`, with its first stage made of the velocity that is known there.

    Args:
        optimizer: the map F.
        before: the step before.
        length: of time.
        short: whether it is a short one.
        rate: the fastest, for which a long one is stable.
        back: the error of the step before. Where no mode turns it is taken back as a constant force, which leaves an
            error of fourth order. With turning modes this recurrence has roots outside the unit disc.
    """
    start, around = before.end, has_momentum(optimizer)
    plan = planned(optimizer, length, rate)
    short = short | (length * reach_of(optimizer, rate) <= SHORT)
    plan = plan._replace(stages=jnp.where(short, 3, plan.stages))
    forcing = jax.tree.map(lambda error: (0 if around else -1 / length) * error, back)
    first = jnp.where(short, length / 2, plan.b * plan.w1)
    change = combine((first, before.velocity_end), (first, forcing))
    nothing = jax.tree.map(jnp.zeros_like, start)
    one, kept = jnp.ones_like(plan.w0), optimizer.decay(start)
    step = Step(plan, short, length, forcing, kept, jnp.asarray(1), change, nothing, plan.w0, one)
    return step._replace(change=_positive(optimizer, start, step, change))


def raised(optimizer: OptimizerMap, before: Span, step: Step, here: State) -> Step:
    """The step one stage further, from the velocity at its stage."""
    plan, length, is_second = step.plan, step.length, step.number == 1
    pull = 2 * plan.w1
    # of Bogacki and Shampine: Y2 = 3/4 h f1, and Y3 = 4/9 Y2 + 4/9 h f2 + 2/9 h f0
    up = jnp.where(step.short, jnp.where(is_second, 0, 4 / 9), 2 * plan.w0)
    down = jnp.where(step.short, 0, -1)
    back = jnp.where(
        step.short,
        jnp.where(is_second, 0, 2 / 9) * length,
        -(1 - plan.b * step.t) * pull,
    )
    pull = jnp.where(step.short, jnp.where(is_second, 3 / 4, 4 / 9) * length, pull)
    change = combine(
        (up, step.change),
        (down, step.lower),
        (pull, here),
        (back, before.velocity_end),
        (pull + back, step.forcing),
    )
    return step._replace(
        number=step.number + 1,
        change=_positive(optimizer, before.end, step, change),
        lower=step.change,
        t=2 * plan.w0 * step.t - step.t_lower,
        t_lower=step.t,
    )


def ended(before: Span, step: Step, velocity_end: State) -> tuple[Span, State]:
    """The step as it was made, and by how much it errs.

    Both methods leave e x^3 of the trapezoidal sum on a slow mode. A long step errs by q x^3, with q and e known. Of a
    short one the error of the embedded second-order step is given, which is a quarter of what is left.
    """
    half, length = step.length / 2, step.length
    velocity = before.velocity_end
    left = combine(
        (1, step.change), (-half, velocity), (-half, velocity_end), (-length, step.forcing)
    )
    cubic = step.plan.cubic
    ratio = jnp.where(step.short, 1 / 4, (cubic - length**3 / 6) / (cubic - length**3 / 4))
    error = jax.tree.map(lambda leaf: jnp.where(length > 0, ratio * leaf, 0), left)
    passed = before.passed - before.length
    return Span(before.end, step.change, velocity, velocity_end, length, passed), error


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
    """A direction that has something of every mode, of which no rate is known."""
    noise = jnp.cos(jnp.arange(state.weights.size, dtype=state.weights.dtype) ** 2)
    nothing = jax.tree.map(jnp.zeros_like, state)
    direction = oscillating(optimizer, nothing._replace(weights=noise))
    return Fastest(direction, jnp.zeros([], state.weights.dtype))


def beside(state: State, known: Fastest) -> State:
    """Where a power iteration evaluates the field: a little further along the fastest direction."""
    size = _norm(known.direction)
    extent = jax.tree.map(lambda v: v / size, known.direction)
    return Rod(state, extent).end(_near(state))


def sharpened(
    optimizer: OptimizerMap, state: State, velocity: State, there: State, known: Fastest
) -> Fastest:
    """One power iteration on the oscillating leaves, from the velocities at a state and `there`, beside it."""
    near = _near(state)
    answer = jax.tree.map(lambda a, b: (a - b) / near, there, velocity)
    answer = oscillating(optimizer, answer)
    rate = _norm(answer)
    good = jnp.isfinite(rate) & (rate > 0)
    return Fastest(
        choose(good, answer, known.direction),
        jnp.where(good, jnp.maximum(rate, FORGETTING * known.rate), known.rate),
    )


def _near(state: State) -> Float[Array, ""]:
    eps = jnp.finfo(state.weights.dtype).eps
    return 0.03 * jnp.sqrt(eps) * jnp.linalg.norm(state.weights)


def _norm(direction: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(direction)))


def _positive(optimizer: OptimizerMap, start: State, step: Step, change: State) -> State:
    """What a positive auxiliary leaf loses in a time is at most what it forgets, for its source is not negative."""

    def held(kept: Array, before: Array, moved: Array) -> Array:
        least = before * jnp.expm1((jnp.clip(kept, 0, 1) - 1) * step.length)
        return jnp.where(before > 0, jnp.maximum(moved, least), moved)

    bounded = change._replace(memory=jax.tree.map(held, step.kept, start.memory, change.memory))
    return merge_auxiliary(optimizer, change, bounded)
