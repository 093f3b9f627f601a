"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.

Curvature that grows makes the flow stiff, so it takes stabilised steps (`rodflow.dynamics.stiff`). Where these do
not do well, an adaptive explicit method takes over, which follows everything that is finite in short steps.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from rodflow.config.declarations import GRADIENTS, Flow
from rodflow.dynamics import stiff
from rodflow.dynamics.chebyshev import Scheme, choose, combine
from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.dynamics.stiff import Fastest, Span, Step
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="The naive limit: the weights follow the optimizer's averaged step, without oscillation.",
    label="stable flow",
    short="stable",
    order=1,
    color="vermilion",
    dashes=(0, (4, 1.5)),
    above=2.1,
    series={
        **GRADIENTS,
        "adaptive": "whether the adaptive method has taken over from the stabilised steps",
    },
)

FIRST_STEP = 1.0
"""The length of time that is hoped for at first."""
LONGEST = 10.0
LONGEST_WITH_MOMENTUM = 4.0
"""The longest steps: with momentum the stages grow in proportion to the length, so that nothing is won by more."""
SHARE = 0.05
"""Of the tolerance, for the error of a step: those of many steps add up."""
MEMORY = 30.0
"""How much more the memory may err than the weights, relative: it acts on their speed only."""
LEAST_SQUARE = 1e-3
"""Squares of gradients below this fraction of their mean are not followed to the tolerance."""

REJECTIONS = 5
"""After so many tries in a row the adaptive method takes over."""
DEARER = 1.3
"""How much more than the adaptive method a long step may cost before that takes over."""
STABLE = 2.5
"""Rate times step up to which the adaptive method is stable."""
REST = 5.0
LONGEST_REST = 320.0
"""For so much time it does at first, and twice as much each time again; at most so much."""
HOPE = 1.5
"""How much longer a step may be than at the last try, after a rest."""
GRACE = 6
"""So many long steps are made after a rest, whatever they cost: they damp the fast modes that it has left."""
GENTLE = 1.0
"""The first step after a rest, times the fastest rate: the adaptive method leaves fast modes undamped."""
SMOOTHING = 0.2
"""The weight of a step in the running mean of how many the adaptive method makes in a unit of time."""

STAGE, END, PROBE = 0, 1, 2
"""What an evaluation of the field is for: a stage of the step, its end, or the fastest rate."""


class Carry(NamedTuple):
    """The last step that was made, and the one in the making.

    Attributes:
        span: the last step.
        error: by which its end errs, estimated; the next step may take it back.
        step: the one in the making.
        purpose: of the evaluation of the field that comes next.
        proposal: the length to try next.
        usual: the length of the last long step, by which it is judged after a rest whether another is worth its price.
        fastest: the fastest mode at the end of the last step.
        pace: steps of the adaptive method in a unit of time, a running mean.
        rejected: tries of a long step since the last that stood; `since`, tries since the last rest.
        resting: time that the adaptive method still has; `rest`, how much it gets next time.
        tries, gradients: since the last whole time.
    """

    span: Span
    error: State
    step: Step
    purpose: Int[Array, ""]
    proposal: Float[Array, ""]
    usual: Float[Array, ""]
    fastest: Fastest
    pace: Float[Array, ""]
    rejected: Int[Array, ""]
    since: Int[Array, ""]
    resting: Float[Array, ""]
    rest: Float[Array, ""]
    tries: Int[Array, ""]
    gradients: Float[Array, ""]


class StableFlow(Process):
    """dz/dt = F(z) - z, to the given tolerances.

    The number of stages of a long step follows the fastest rate, and its length the error alone. It may be longer than
    a unit of time. The method of Bogacki and Shampine takes over for some time where a step is rejected again and
    again, or would be no cheaper. A flow that needs more than `max_steps` tries for a unit of time is given up as
    diverged.
    """

    rtol: float = 1e-4
    atol: float = 1e-6
    max_steps: int = eqx.field(static=True, default=10_000)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        centre = from_consecutive(optimizer, before, now, after).centre
        nothing = jax.tree.map(jnp.zeros_like, centre)
        zero, none = jnp.zeros([], centre.weights.dtype), jnp.asarray(0)
        return Carry(
            span=Span(centre, nothing, nothing, nothing, zero, zero),
            error=nothing,
            step=stiff.standing(optimizer, centre),
            purpose=none + END,
            proposal=zero + FIRST_STEP,
            usual=zero + FIRST_STEP,
            fastest=stiff.anywhere(optimizer, centre),
            pace=zero + 1,
            rejected=none,
            since=none,
            resting=zero + 1,  # so that the adaptive method says how fast the fastest mode can be
            rest=zero + REST,
            tries=none,
            gradients=zero,
        )

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        del key
        loss = optimizer.loss(stiff.within(optimizer, carry.span).weights)
        span = carry.span._replace(passed=carry.span.passed + 1)
        none = jnp.zeros_like(carry.gradients)
        ahead = jax.lax.while_loop(
            lambda c: (
                (c.span.passed > c.span.length) & jnp.isfinite(loss) & (c.tries < self.max_steps)
            ),
            lambda c: self._evaluate(optimizer, c),
            carry._replace(span=span, tries=jnp.zeros_like(carry.tries), gradients=none),
        )
        lost = ahead.tries >= self.max_steps
        start = jax.tree.map(lambda leaf: jnp.where(lost, jnp.nan, leaf), ahead.span.start)
        adaptive = (ahead.resting > 0).astype(loss.dtype)
        seen = {"loss": loss, "gradients": ahead.gradients, "adaptive": adaptive}
        return ahead._replace(span=ahead.span._replace(start=start)), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        state = stiff.within(optimizer, carry.span)
        return {"weights": state.weights, "memory": state.memory}

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        count = int(series["adaptive"].sum()) if "adaptive" in series else 0
        return f"adaptive method for {count} of {steps.size} steps" if count else ""

    def _evaluate(self, optimizer: OptimizerMap, carry: Carry) -> Carry:
        """One evaluation of the field, the only one in the program, and what follows from it."""
        end = carry.span.end
        point = choose(
            carry.purpose == PROBE,
            stiff.beside(end, carry.fastest),
            combine((1, end), (1, carry.step.change)),
        )
        velocity = stiff.velocity_of(optimizer, point)
        carry = carry._replace(gradients=carry.gradients + 1)
        carry = jax.lax.switch(
            carry.purpose,
            [
                lambda c, f: c._replace(step=stiff.raised(optimizer, c.span, c.step, f)),
                lambda c, f: self._ended(optimizer, c, f),
                lambda c, f: _probed(optimizer, c, f),
            ],
            carry,
            velocity,
        )
        carry = jax.lax.cond(
            (carry.purpose == STAGE) & (carry.step.number == 0),
            lambda c: _begun(optimizer, c),
            lambda c: c,
            carry,
        )
        last = (carry.purpose == STAGE) & (carry.step.number == carry.step.plan.stages)
        return carry._replace(purpose=jnp.where(last, END, carry.purpose))

    def _ended(self, optimizer: OptimizerMap, carry: Carry, velocity_end: State) -> Carry:
        """After the last stage of a step: it stands if it errs by no more than it may. What comes next is told."""
        short, resting = carry.step.short, carry.resting > 0
        span, error = stiff.ended(carry.span, carry.step, velocity_end)
        by_leaf, by_number = self._by_leaf(error, span.start), self._by_number(error, span)
        size = jnp.where(resting, by_number, by_leaf)
        size = jnp.where(jnp.isfinite(size), size, 1e9)
        accepted = size <= 1
        ahead = carry._replace(
            span=choose(accepted, span, carry.span),
            error=choose(accepted & ~short, error, jax.tree.map(jnp.zeros_like, error)),
            step=carry.step._replace(number=jnp.zeros_like(carry.step.number)),
            purpose=jnp.where(resting, STAGE, PROBE),
            tries=carry.tries + 1,
        )
        return jax.lax.cond(
            resting,
            lambda c: _after_short(optimizer, c, size),
            lambda c: _after_long(optimizer, c, size),
            ahead,
        )

    def _by_leaf(self, error: State, state: State) -> Float[Array, ""]:
        """The error over its tolerance: mean absolute values, leaf by leaf, and the largest of them.

        Not root mean squares, nor number by number: some gradients are nothing but rounding (that of the bias of an
        attention's keys), an adaptive method makes full steps of them, and no step length makes those smooth.
        """

        def of_memory(e: Array, z: Array) -> Array:
            typical = jnp.mean(jnp.abs(z))
            squares = jnp.all(z >= 0)  # they differ by orders of magnitude, and each has its weight
            least = jnp.where(squares, LEAST_SQUARE, 1) * typical
            allowed = MEMORY * self.rtol * jnp.where(squares, jnp.abs(z) + least, least)
            return jnp.where(
                typical > 0, jnp.mean(jnp.abs(e) / jnp.where(allowed > 0, allowed, 1)), 0
            )

        of_weights = jnp.mean(jnp.abs(error.weights)) / (
            self.atol + self.rtol * jnp.mean(jnp.abs(state.weights))
        )
        sizes = jax.tree.leaves(jax.tree.map(of_memory, error.memory, state.memory))
        return jnp.max(jnp.stack([of_weights, *sizes])) / SHARE

    def _by_number(self, error: State, span: Span) -> Float[Array, ""]:
        """The error over its tolerance as adaptive methods have it: root mean square over all numbers alike."""

        def square(e: Array, before: Array, after: Array) -> Array:
            larger = jnp.maximum(jnp.abs(before), jnp.abs(after))
            return jnp.sum((e / (self.atol + self.rtol * larger)) ** 2)

        squares = jax.tree.leaves(jax.tree.map(square, error, span.start, span.end))
        return jnp.sqrt(sum(squares) / sum(leaf.size for leaf in jax.tree.leaves(error)))


def _begun(optimizer: OptimizerMap, carry: Carry) -> Carry:
    """The next step, short during a rest."""
    step = stiff.begun(
        optimizer,
        carry.span,
        carry.proposal,
        short=carry.resting > 0,
        rate=carry.fastest.rate,
        back=carry.error,
    )
    return carry._replace(step=step)


def _after_short(optimizer: OptimizerMap, carry: Carry, size: Array) -> Carry:
    """After a step of the adaptive method.

    How many it makes says how fast the fastest mode can be, and so what a long step would cost. At the end of a rest
    the flow goes back to these if they are cheaper.
    """
    length, accepted = carry.step.length, size <= 1
    scaled = length * jnp.clip(0.9 * (size + 1e-9) ** (-1 / 3), 0.2, 5)
    proposal = jnp.where(length > 0, jnp.minimum(scaled, 1), carry.proposal)
    pace = jnp.where(
        accepted & (length > 0), carry.pace + SMOOTHING * (1 / length - carry.pace), carry.pace
    )
    resting = carry.resting - jnp.where(accepted, length, 0)
    last = resting <= 0
    rate = STABLE * pace
    usual = jnp.minimum(HOPE * carry.usual, _longest(optimizer))
    worth = _cost(stiff.planned(optimizer, usual, rate), usual) <= 1 + 3 * pace
    back = last & worth
    return carry._replace(
        proposal=jnp.where(back, jnp.minimum(usual, GENTLE / rate), proposal),
        usual=jnp.where(last, usual, carry.usual),
        fastest=carry.fastest._replace(rate=jnp.where(last, rate, carry.fastest.rate)),
        pace=pace,
        rejected=jnp.zeros_like(carry.rejected),
        since=jnp.zeros_like(carry.since),
        resting=jnp.where(last & ~worth, REST, resting),
    )


def _after_long(optimizer: OptimizerMap, carry: Carry, size: Array) -> Carry:
    """After a long step: how long the next one may be, and what is known of the fastest rate is to be looked at."""
    length, accepted = carry.step.length, size <= 1
    scaled = length * jnp.clip(0.8 * (size + 1e-9) ** (-1 / 3), 0.2, 2)
    return carry._replace(
        proposal=jnp.minimum(scaled, _longest(optimizer)),
        usual=jnp.where(accepted, length, carry.usual),
        rejected=jnp.where(accepted, 0, carry.rejected + 1),
        since=carry.since + 1,
    )


def _probed(optimizer: OptimizerMap, carry: Carry, there: State) -> Carry:
    """After a look at the fastest rate: whether the next step, now that its cost is known, is a long one again."""
    end, velocity = carry.span.end, carry.span.velocity_end
    fastest = stiff.sharpened(optimizer, end, velocity, there, carry.fastest)
    accepted = carry.rejected == 0
    grows = accepted & (carry.proposal > 1.5 * carry.step.length)
    adaptive = 1 + 3 * jnp.maximum(carry.pace, fastest.rate / (2 * STABLE))
    cost = _cost(stiff.planned(optimizer, carry.proposal, fastest.rate), carry.proposal)
    dear = ~grows & (cost > DEARER * adaptive) & (carry.since >= GRACE)
    fails = (carry.rejected >= REJECTIONS) | (dear & (carry.since == GRACE))
    rested = jnp.where(accepted, jnp.maximum(0.9 * carry.rest, REST), carry.rest)
    resting = jnp.where(fails, carry.rest, jnp.where(dear, REST, 0))
    falls = fails | dear
    return carry._replace(
        fastest=fastest,
        purpose=jnp.full_like(carry.purpose, STAGE),
        proposal=jnp.where(falls, jnp.minimum(1 / carry.pace, 1), carry.proposal),
        resting=resting.astype(carry.rest.dtype),
        rest=jnp.where(fails, jnp.minimum(2 * carry.rest, LONGEST_REST), rested),
    )


def _longest(optimizer: OptimizerMap) -> float:
    return LONGEST_WITH_MOMENTUM if stiff.has_momentum(optimizer) else LONGEST


def _cost(plan: Scheme, length: Array) -> Array:
    """Gradients a unit of time of long steps, infinite if it is not known."""
    cost = (plan.stages + 1) / length
    return jnp.where(jnp.isfinite(cost), cost, jnp.inf)


process = StableFlow
"""What the flow is made with."""
