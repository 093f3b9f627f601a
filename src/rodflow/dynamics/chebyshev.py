"""Chebyshev-stabilised steps of second order: any number of stages for the memory of a few states.

A mode of eigenvalue x of the velocity f is multiplied by

    p(x) = a + b T_s(w0 + w1 x),      p(0) = 1,   p'(0) = A,   p''(0) = A B,

with the Chebyshev polynomial T_s. For the ODE dy/dt = f over a time h, A = B = h, and this is the method of
Runge-Kutta-Chebyshev of Sommeijer, Shampine and Verwer (1998). For an orbit of a map with increments f over H steps,
(1 + x)^H = 1 + H x + H (H-1)/2 x^2 + ..., so A = H and B = H - 1. The damping w0 - 1 = e/s^2 is the largest, up to
e = 3, with which |p| < 1 for all x between -reach and 0.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

State = TypeVar("State")
Seen = TypeVar("Seen")

_LEAST_DAMPING = 0.2
_MOST_DAMPING = 3.0


class Scheme(NamedTuple):
    """A step: how many stages, and the numbers w0, w1 and b of its polynomial.

    Attributes:
        stages: how many evaluations of f.
        w0, w1, b: see above.
        cubic: the coefficient of x^3 in p.
    """

    stages: Int[Array, ""]
    w0: Float[Array, ""]
    w1: Float[Array, ""]
    b: Float[Array, ""]
    cubic: Float[Array, ""]


def scheme(first: Array, second: Array, reach: Array, damping: float = _LEAST_DAMPING) -> Scheme:
    """The step with p'(0) = first and p''(0) = first * second that is stable for -reach <= x <= 0.

    To first order in the damping e the reach is 2 (s^2 - 1) (1 - 2e/15) / (3 second), which is what s and e are chosen
    by; the terms left out make it longer. More damping leaves room beside the real axis.

    Args:
        first, second: A and B, both positive: for an ODE the time h, for H steps of a map H and H - 1.
        reach: the largest -x at which the step must be stable, x being an eigenvalue of f.
        damping: the least e; it is never chosen larger than 3.
    """
    wide = 1.5 * reach * second
    stages = jnp.ceil(jnp.sqrt(1 + wide / (1 - 2 / 15 * damping)))
    stages = jnp.maximum(stages, 2)
    chosen = jnp.minimum(7.5 * (1 - wide / (stages**2 - 1)), _MOST_DAMPING)
    w0 = 1 + chosen / stages**2
    one, none = jnp.ones_like(w0), jnp.zeros_like(w0)

    def raise_degree(_: Array, both: tuple[Array, Array]) -> tuple[Array, Array]:
        lower, (t, d, dd, ddd) = both
        raised = jnp.stack([w0 * t, t + w0 * d, 2 * d + w0 * dd, 3 * dd + w0 * ddd])
        return both[1], 2 * raised - lower

    start = jnp.stack([one, none, none, none]), jnp.stack([w0, one, none, none])
    count = stages.astype(int)
    _, (_, d, dd, ddd) = jax.lax.fori_loop(1, count, raise_degree, start)
    w1 = second * d / dd
    b = first / (w1 * d)
    return Scheme(count, w0, w1, b, b * w1**3 * ddd / 6)


Field = Callable[[State, Array], tuple[State, Seen]]
"""From a state and whether it is one within the step to f there and what comes with it."""


class Advanced(NamedTuple, Generic[State, Seen]):
    """What a step gives.

    Attributes:
        change: of the state over the step.
        f, f_end: f at its start and at its end.
        seen, seen_end: what came with them.
    """

    change: State
    f: State
    f_end: State
    seen: Seen
    seen_end: Seen


class _Stage(NamedTuple):
    """Before a stage: the changes up to it and to the one before, T of both, and what is known."""

    number: Int[Array, ""]
    change: PyTree
    lower: PyTree
    t: Float[Array, ""]
    t_lower: Float[Array, ""]
    f: PyTree
    f_last: PyTree
    seen: PyTree
    seen_last: PyTree


def combine(*terms: tuple[Array | float, PyTree]) -> PyTree:
    """The sum of numbers times states of one structure."""
    numbers, states = zip(*terms, strict=True)
    return jax.tree.map(lambda *xs: sum(c * x for c, x in zip(numbers, xs, strict=True)), *states)


def choose(condition: Array, one: State, other: State) -> State:
    """The one state or the other.

    Args:
        condition: a scalar; true for the one.
        one, other: states of one structure, of which every leaf is taken whole.
    """
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def advance(
    field: Field[State, Seen],
    start: State,
    plan: Scheme,
    *,
    known: Array,
    f: State,
    seen: Seen,
    forcing: State,
    mend: Callable[[State], State] = lambda change: change,
) -> Advanced[State, Seen]:
    """One step. In the program there is one evaluation of the field, in a loop.

    The field is evaluated at the end as well, for the next step begins with it: `plan.stages` times if it is known at
    the start, and once more if not.

    Args:
        field: f.
        start: the state at the start.
        plan: the step.
        known: whether f at the start is known.
        f, seen: f there and what came with it, if known; of the right structure in any case.
        forcing: a constant that is added to f within the step.
        mend: applied to the change of every stage.
    """
    nothing = jax.tree.map(jnp.zeros_like, start)

    def first(f: State) -> State:
        return mend(combine((plan.b * plan.w1, f), (plan.b * plan.w1, forcing)))

    def stage(at: _Stage) -> _Stage:
        is_first, is_last = at.number == 0, at.number == plan.stages
        here, came = field(combine((1, start), (1, at.change)), ~is_first & ~is_last)
        f = choose(is_first, here, at.f)
        pull = 2 * plan.w1
        back = -(1 - plan.b * at.t) * pull
        raised = combine(
            (2 * plan.w0, at.change),
            (-1, at.lower),
            (pull, here),
            (back, f),
            (pull + back, forcing),
        )
        following = choose(is_first, first(f), choose(is_last, at.change, mend(raised)))
        t = jnp.where(is_first, plan.w0, 2 * plan.w0 * at.t - at.t_lower)
        seen = choose(is_first, came, at.seen)
        return _Stage(at.number + 1, following, at.change, t, at.t, f, here, seen, came)

    one = jnp.ones_like(plan.w0)
    unknown = _Stage(jnp.asarray(0), nothing, nothing, one, one, f, f, seen, seen)
    begun = unknown._replace(number=jnp.asarray(1), change=first(f), t=plan.w0)
    done = jax.lax.while_loop(
        lambda at: at.number <= plan.stages, stage, choose(known, begun, unknown)
    )
    return Advanced(done.change, done.f, done.f_last, done.seen, done.seen_last)
