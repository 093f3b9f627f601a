"""The rod flow in macro steps: H optimizer steps at once, for optimizers without momentum.

Without momentum the lifted map has real eigenvalues J = 1 + x with x between -2 and 0 or a little outside, and a
Chebyshev polynomial in the lifted increment f makes H of its steps for far fewer gradients
(`rodflow.dynamics.chebyshev`).

**Error.** The sum of H increments that change linearly in time is the right-hand side of

    Y(t + H) - Y(t) = (H + 1)/2 f(Y(t)) + (H - 1)/2 f(Y(t + H)) + E,

so E is of third order. On a slow mode E is e x^3 and the step errs by q x^3 with e and q known, so that q/e E is the
error itself. Its size, over the distance moved, is held at the tolerance, and the next step takes it back, as a
constant force. What remains is of fourth order.

**Closed rod.** A rod of hardly more than rounding does not act on the centre (`rodflow.dynamics.closed_rod`). One
gradient a stage moves the centre then. The two ends are looked at once a step, for the direction and the growth of the
half-extent, and the growth says how far the spectrum of the centre reaches.

**The step** H follows the error, and is bounded by how much the rod may grow in it. Where H = 1 is what is left, it is
the unit step of `rodflow.dynamics.flows.rod_unit_step`. Between the ends of a step everything is interpolated, losses
linearly, so that H does not depend on the snapshots. The scheme is this project's own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rodflow.config.declarations import GRADIENTS, ROD, Flow
from rodflow.dynamics.chebyshev import Advanced, Scheme, advance, choose, combine, scheme
from rodflow.dynamics.closed_rod import grown, growth_of, is_closed, noisy, sizes
from rodflow.dynamics.lifted import (
    Rod,
    from_consecutive,
    lifted_increment_and_losses,
    merge_auxiliary,
    refuse_momentum,
    rounding,
)
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.dynamics.span import Span, at, moved
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="Rod flow in macro steps of many optimizer steps, for the price of training.",
    label="rod flow, macro steps",
    short="macro step",
    order=9,
    color="brown",
    marker="P",
    dashes=(0, (5, 1, 1, 1)),
    above=2.34,
    series={
        **ROD,
        **GRADIENTS,
        "macro_step": "optimizer steps in the macro step that covers this one",
        "rejected": "macro steps that were tried and rejected before the one that begins here",
    },
    supports=lambda name, optimizer: optimizer.momentum == "" and optimizer.linear,
    why="takes many steps at once only where no momentum rings and the step is linear in a small gradient",
)

MARGIN = 0.1
"""How much further than the largest |x| that is known a step is stable, relative."""
SAFETY = 0.8
"""Of the step that the error would allow."""
ACCEPTED = 2.0
"""So many times the error that is allowed may stand: a shorter step next costs less than another try."""
OPENING = 10.0
"""How many times the tolerance an open rod may err by, over its own length."""


class Carry(NamedTuple):
    """A macro step, and what the next one begins with.

    Attributes:
        span: the step.
        known: whether its `f_end` is the increment at its end.
        proposal: the length to try next.
        growth: g of the rod at the end.
        error: by which the rod at the end errs, estimated; the next step takes it back.
        bend: the running mean of the bends of unit steps, NaN after another step.
        noise: rounding of the steps since the last end, which is added to the half-extent at the next.
        rejected, gradients: of this step.
    """

    span: Span
    known: Bool[Array, ""]
    proposal: Float[Array, ""]
    growth: Float[Array, ""]
    error: Rod
    bend: Rod
    noise: Float[Array, " parameter"]
    rejected: Int[Array, ""]
    gradients: Float[Array, ""]


class _Tried(NamedTuple):
    """A step that was tried: of which length, whether it may stand, what it gave; tries and gradients so far."""

    length: Int[Array, ""]
    accepted: Bool[Array, ""]
    carry: Carry
    tries: Int[Array, ""]
    gradients: Float[Array, ""]


class RodMacro(Process):
    """The flow.

    Attributes:
        tolerance: the error of a step, before it is taken back, over the root of the sum of squares of the distance
            that the centre moves in it and the rod's length.
        growth: by how much the logarithm of an open rod's length may grow in a step.
        closed_growth: the same of a closed rod, which does not act on the centre.
        longest: the longest step.
    """

    tolerance: float = 3e-3
    growth: float = 1.2
    closed_growth: float = 2.3
    longest: float = 200.0

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        refuse_momentum(optimizer, "rod flow in macro steps")
        rod = from_consecutive(optimizer, before, now, after)
        still = jax.tree.map(jnp.zeros_like, rod)
        dtype = rod.centre.weights.dtype
        none, zero = jnp.asarray(0), jnp.zeros([], dtype)
        span = Span(rod, still, still, still, jnp.zeros((2, 3), dtype), none, none)
        return Carry(
            span=span,
            known=jnp.asarray(False),
            proposal=zero + 2,
            growth=zero,
            error=still,
            bend=_unknown(rod),
            noise=still.centre.weights,
            rejected=none,
            gradients=zero,
        )

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        new = carry.span.passed == carry.span.length
        carry = jax.lax.cond(new, lambda c: self._step(optimizer, c), lambda c: c, carry)
        span = carry.span
        share = span.passed / span.length
        loss, plus, minus = (1 - share) * span.losses[0] + share * span.losses[1]
        count = span.losses.dtype
        seen = {
            "loss": loss,
            "loss_plus": plus,
            "loss_minus": minus,
            "rod_length": jnp.linalg.norm(at(optimizer, span).extent.weights),
            "gradients": jnp.where(new, carry.gradients, 0),
            "macro_step": span.length.astype(count),
            "rejected": jnp.where(new, carry.rejected, 0).astype(count),
        }
        noise = carry.noise + rounding(span.start.centre.weights, key)
        return carry._replace(span=span._replace(passed=span.passed + 1), noise=noise), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        rod = at(optimizer, carry.span)
        return {
            "weights": rod.centre.weights,
            "half_extent": rod.extent.weights,
            "memory": rod.centre.memory,
            "memory_extent": rod.extent.memory,
        }

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        alone = int((series["macro_step"] == 1).sum()) if "macro_step" in series else 0
        return f"unit steps for {alone} of {steps.size} steps" if alone else ""

    def _step(self, optimizer: OptimizerMap, carry: Carry) -> Carry:
        """The first step that may stand: shorter and shorter ones, and at last the unit step."""
        length = jnp.maximum(jnp.floor(carry.proposal), 1).astype(carry.span.length.dtype)
        none = jnp.zeros_like(carry.rejected)
        tried = _Tried(length, jnp.asarray(False), carry, none, jnp.zeros_like(carry.gradients))
        tried = jax.lax.while_loop(
            lambda tried: ~tried.accepted,
            lambda tried: self._try(optimizer, carry, tried),
            tried,
        )
        return tried.carry._replace(rejected=tried.tries - 1, gradients=tried.gradients)

    def _try(self, optimizer: OptimizerMap, carry: Carry, tried: _Tried) -> _Tried:
        step = _take(optimizer, carry, tried.length, tried.tries > 0)
        count = tried.length.astype(carry.proposal.dtype)
        error = self._error(step)
        error = jnp.where(jnp.isfinite(error), error, 1e6)
        accepted = step.unit | (error <= ACCEPTED)
        scaled = count * jnp.clip(SAFETY / jnp.sqrt(error + 1e-9), 0.25, 2)
        proposal = jnp.where(step.unit, self._after_unit_step(step), scaled)
        proposal = jnp.where(accepted, self._before_grown(step, count, proposal), proposal)
        proposal = jnp.clip(proposal, 1, self.longest).astype(carry.proposal.dtype)
        shorter = jnp.floor(jnp.minimum(proposal, 0.7 * count)).astype(tried.length.dtype)
        moved = carry._replace(
            span=step.span,
            known=~step.unit & (step.closed == is_closed(step.span.end)),
            proposal=proposal,
            growth=step.growth_end,
            error=step.error,
            bend=choose(
                step.unit, combine((1 / 3, step.mean), (2 / 3, step.bend)), _unknown(step.bend)
            ),
            noise=jnp.zeros_like(carry.noise),
        )
        return _Tried(
            jnp.where(accepted, tried.length, jnp.maximum(shorter, 1)),
            accepted,
            moved,
            tried.tries + 1,
            tried.gradients + step.gradients,
        )

    def _error(self, step: "_Step") -> Float[Array, ""]:
        """The largest of three, over what is allowed: error by distance moved, by length of an open rod, its growth."""
        centre, extent = sizes(step.error)
        moved, _ = sizes(step.span.change)
        _, before = sizes(step.span.start)
        _, after = sizes(step.span.end)
        extent = jnp.where(step.closed, 0, extent)
        whole = jnp.hypot(centre, extent) / (self.tolerance * jnp.hypot(moved, before))
        own = extent / (OPENING * self.tolerance * before)
        allowed = jnp.where(step.closed, 1.5 * self.closed_growth, self.growth)
        risen = jnp.log(after / before) / allowed
        return jnp.maximum(jnp.maximum(whole, own), risen)

    def _after_unit_step(self, step: "_Step") -> Float[Array, ""]:
        """The step whose error would be allowed: H^3 / 15 third differences, which are 2/3 of bend - mean."""
        third = jnp.hypot(*sizes(combine((2 / 3, step.bend), (-2 / 3, step.mean))))
        moved = jnp.hypot(*sizes(step.span.f))
        length = SAFETY * jnp.sqrt(15 * self.tolerance * moved / third)
        return jnp.where(jnp.isfinite(length), jnp.clip(length, 1, 4), 1)

    def _before_grown(self, step: "_Step", count: Array, proposal: Array) -> Float[Array, ""]:
        """The proposal, or less where the rod would grow by more than it may, its growth rising as in this step."""
        rise = jnp.maximum(step.growth_end - jnp.maximum(step.growth, -0.2), 0) / count
        rate = jnp.maximum(step.growth_end, 0) + rise * proposal / 2
        allowed = jnp.where(step.closed, self.closed_growth, SAFETY * self.growth)
        return jnp.minimum(proposal, allowed / (rate + 1e-9))


class _Step(NamedTuple):
    """A step that was taken.

    Attributes:
        span: what it is.
        unit, closed: whether it is the unit step, and that of a closed rod.
        error: of the rod at its end.
        growth, growth_end: of the rod at its ends.
        bend, mean: of a unit step, its bend and the mean of those before.
        gradients: which it took.
    """

    span: Span
    unit: Bool[Array, ""]
    closed: Bool[Array, ""]
    error: Rod
    growth: Float[Array, ""]
    growth_end: Float[Array, ""]
    bend: Rod
    mean: Rod
    gradients: Float[Array, ""]


def _take(optimizer: OptimizerMap, carry: Carry, length: Array, again: Array) -> _Step:
    """A step of this length from where the carry's ends; `again` after one that was rejected."""
    count = length.astype(carry.proposal.dtype)
    here = carry.span.end
    unit = length == 1
    closed = is_closed(here) & ~unit
    start = noisy(here, carry.noise)
    plan = _plan(
        count, unit, jnp.where(closed & ~again, carry.growth, jnp.maximum(carry.growth, 0))
    )
    forcing = jax.tree.map(lambda error: -error / count, carry.error)
    done = advance(
        lambda y, inner: _field(optimizer, y, closed, inner),
        start,
        plan,
        known=carry.known,
        f=carry.span.f_end,
        seen=carry.span.losses[1],
        forcing=forcing,
        mend=lambda change: _positive(optimizer, start, _held(change, closed), count),
    )
    growth, growth_end = growth_of(start, done.f), growth_of(moved(start, done.change), done.f_end)
    change, f, f_end = done.change, done.f, done.f_end
    error = _error_of(done, plan, count, forcing)
    # the unit step
    bend = combine((1, f_end), (-1, f))
    mean = jax.tree.map(lambda old, new: jnp.where(jnp.isnan(old), new, old), carry.bend, bend)
    corrected = combine((1, change), (1 / 12, bend), (-1 / 12, mean))
    corrected = Rod(merge_auxiliary(optimizer, corrected.centre, change.centre), corrected.extent)
    change = choose(unit, corrected, change)
    # the closed rod
    growth = jnp.where(closed & carry.known, carry.growth, growth)
    longer = grown(start, f_end, growth, growth_end, count)
    change = choose(
        closed, change._replace(extent=combine((1, longer), (-1, start.extent))), change
    )
    steady = jax.tree.map(lambda x: x / count, change.extent)
    f, f_end = (choose(closed, g._replace(extent=steady), g) for g in (f, f_end))
    losses = jnp.stack([done.seen, jnp.where(unit, done.seen, done.seen_end)])
    evaluations = plan.stages + jnp.where(carry.known, 0, 1)
    single = jnp.maximum(plan.stages - 1, 0)
    return _Step(
        span=Span(start, change, f, f_end, losses, length, jnp.zeros_like(length)),
        unit=unit,
        closed=closed,
        error=jax.tree.map(lambda e: jnp.where(unit, 0, e), _held(error, closed)),
        growth=growth,
        growth_end=jnp.where(unit, growth, growth_end),
        bend=bend,
        mean=mean,
        gradients=(2 * evaluations - jnp.where(closed, single, 0)).astype(count.dtype),
    )


def _plan(count: Array, unit: Array, growth: Array) -> Scheme:
    """The steps of the lifted map, or one lifted step. Its largest -x is 2, and that of the centre 2 + g."""
    reach = (2 + growth) * (1 + MARGIN)
    many = scheme(count, jnp.maximum(count - 1, 1), reach)
    one = jnp.ones_like(many.w0)
    once = Scheme(jnp.ones_like(many.stages), one, one, one, 0 * one)
    return choose(unit, once, many)


def _field(
    optimizer: OptimizerMap, y: Rod, closed: Array, inner: Array
) -> tuple[Rod, Float[Array, " place"]]:
    """The lifted increment and the losses at Z, Z + X and Z - X; within the step of a closed rod at Z alone."""

    def centre_alone() -> tuple[Rod, Array]:
        loss, increment = optimizer.evaluate_increment(y.centre)
        return Rod(increment, jax.tree.map(jnp.zeros_like, y.extent)), jnp.stack([loss] * 3)

    def both_ends() -> tuple[Rod, Array]:
        f, (plus, minus) = lifted_increment_and_losses(optimizer, y)
        middle = (plus + minus) / 2
        loss = jax.lax.cond(inner, lambda: middle, lambda: optimizer.loss(y.centre.weights))
        return f, jnp.stack([loss, plus, minus])

    return jax.lax.cond(closed & inner, centre_alone, both_ends)


def _error_of(done: Advanced, plan: Scheme, count: Array, forcing: Rod) -> Rod:
    """The error of a step from what the trapezoidal sum leaves, which is e x^3 on a mode where the error is q x^3."""
    left = combine(
        (1, done.change),
        (-(count + 1) / 2, done.f),
        (-(count - 1) / 2, done.f_end),
        (-count, forcing),
    )
    q = plan.cubic - count * (count - 1) * (count - 2) / 6
    e = plan.cubic - count * (count - 1) ** 2 / 4
    return jax.tree.map(lambda leaf: leaf * jnp.where(e < 0, q / e, 0), left)


def _held(change: Rod, closed: Array) -> Rod:
    """The same without half-extent if the rod is closed."""
    return change._replace(extent=jax.tree.map(lambda x: jnp.where(closed, 0, x), change.extent))


def _positive(optimizer: OptimizerMap, start: Rod, change: Rod, count: Array) -> Rod:
    """A positive auxiliary leaf loses in so many steps at most what it forgets, for its source is not negative."""

    def held(kept: Array, before: Array, moved: Array) -> Array:
        least = before * (jnp.clip(kept, 0, 1) ** count - 1)
        return jnp.where(before > 0, jnp.maximum(moved, least), moved)

    kept = optimizer.decay(start.centre)
    memory = jax.tree.map(held, kept, start.centre.memory, change.centre.memory)
    bounded = change.centre._replace(memory=memory)
    return change._replace(centre=merge_auxiliary(optimizer, change.centre, bounded))


def _unknown(rod: Rod) -> Rod:
    return Rod(*jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), rod))


process = RodMacro
"""What the flow is made with."""
