"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.

Curvature that grows makes the flow stiff, so it takes stabilised steps (`rodflow.dynamics.stiff`). Where these do
not do well, it falls back to an adaptive explicit method, which follows everything that is finite in short steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rodflow.config.declarations import GRADIENTS, Flow
from rodflow.dynamics import stiff
from rodflow.dynamics.chebyshev import Scheme, choose
from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.dynamics.stiff import Fastest, Span, velocity_of
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
        "fallback": "whether the adaptive method took over from the stabilised one",
    },
)

FIRST_STEP = 1.0
"""The length of time that is hoped for at first."""
LONGEST = 10.0
LONGEST_WITH_MOMENTUM = 4.0
"""The longest steps: with momentum the stages grow in proportion to the length, so that nothing is won by more."""
SHARE = 0.3
"""Of the tolerance, for the error of a step: those of many steps add up."""
MEMORY = 30.0
"""How much more the memory may err than the weights, relative: it acts on their speed only."""
LEAST_SQUARE = 1e-3
"""Squares of gradients below this fraction of their mean are not followed to the tolerance."""
GENTLE = 1.0
"""The first step after a rest, times the fastest rate: the adaptive method leaves fast modes undamped."""
REJECTIONS = 5
"""After so many tries in a row the adaptive method takes over."""
HOPE = 1.5
"""How much longer a step may be than at the last try, after a rest."""
STABLE = 2.5
"""Rate times step up to which the adaptive method is stable."""
REST = 5
LONGEST_REST = 320
"""For so many units of time it does at first, and twice as many each time again; at most so many."""
DEARER = 1.3
"""How much more than the adaptive method a stabilised step may cost before that takes over."""


class Carry(NamedTuple):
    """A step of the integrator, and what the next one begins with.

    Attributes:
        span: the step.
        known: whether the velocity at its end is known.
        proposal: the length to try next.
        usual: the length of the last step, by which it is judged during a rest whether another is worth its price.
        error: by which its end errs, estimated; the next step may take it back.
        fastest: the fastest mode there.
        dt: the step size of the adaptive method to try first.
        rejected: tries of the step since the last that stood.
        resting: units of time that the adaptive method still has; `rest`, how many it gets next time.
        gradients: since the last whole time.
    """

    span: Span
    known: Bool[Array, ""]
    proposal: Float[Array, ""]
    usual: Float[Array, ""]
    error: State
    fastest: Fastest
    dt: Float[Array, ""]
    rejected: Int[Array, ""]
    resting: Int[Array, ""]
    rest: Int[Array, ""]
    gradients: Float[Array, ""]


class StableFlow(Process):
    """dz/dt = F(z) - z, to the given tolerances.

    The number of stages of a stabilised step follows the fastest rate, and its length the error alone. It may be longer
    than a unit of time. The method of Bogacki and Shampine takes over for some units where a step is rejected again
    and again, or would be no cheaper. A flow that needs more than `max_steps` of its steps for a unit of time is given
    up as diverged.
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
            known=jnp.asarray(False),
            proposal=zero + FIRST_STEP,
            usual=zero + FIRST_STEP,
            error=nothing,
            fastest=stiff.anywhere(optimizer, centre),
            dt=zero + 1,
            rejected=none,
            resting=none + 1,  # so that the adaptive method says how fast the fastest mode can be
            rest=none + REST,
            gradients=zero,
        )

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        del key
        loss = optimizer.loss(stiff.within(optimizer, carry.span).weights)
        span = carry.span._replace(passed=carry.span.passed + 1)
        carry = carry._replace(span=span)
        ahead = jax.lax.while_loop(
            lambda c: (c.span.passed > c.span.length) & jnp.isfinite(loss),
            lambda c: jax.lax.cond(
                c.resting > 0,
                lambda c: self._fall_back(optimizer, c),
                lambda c: self._try(optimizer, c),
                c,
            ),
            carry,
        )
        fell = (ahead.resting > 0).astype(loss.dtype)
        seen = {"loss": loss, "gradients": ahead.gradients, "fallback": fell}
        return ahead._replace(gradients=jnp.zeros_like(ahead.gradients)), seen

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        state = stiff.within(optimizer, carry.span)
        return {"weights": state.weights, "memory": state.memory}

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        fell = int(series["fallback"].sum()) if "fallback" in series else 0
        return f"adaptive method for {fell} of {steps.size} steps" if fell else ""

    def _try(self, optimizer: OptimizerMap, carry: Carry) -> Carry:
        """The next step if it errs by no more than it may; else the same one with a shorter one to try."""
        length = carry.proposal
        plan = stiff.planned(optimizer, length, carry.fastest.rate)
        span, error = stiff.stepped(optimizer, carry.span, carry.known, plan, length, carry.error)
        size = self._size(error, span.start)
        size = jnp.where(jnp.isfinite(size), size, 1e9)
        accepted = size <= 1
        scaled = length * jnp.clip(0.8 * (size + 1e-9) ** (-1 / 3), 0.2, 2)
        before = carry.span._replace(velocity_end=span.velocity)  # which is known now
        moved = choose(accepted, (span, error), (before, carry.error))
        fastest = stiff.sharpened(optimizer, moved[0].end, moved[0].velocity_end, carry.fastest)
        proposal = jnp.minimum(scaled, self._longest(optimizer))
        rejected = jnp.where(accepted, 0, carry.rejected + 1)
        following = stiff.planned(optimizer, proposal, fastest.rate)
        grows = accepted & (scaled > 1.5 * length)
        adaptive = 1 + 3 * jnp.maximum(1 / carry.dt, fastest.rate / (2 * STABLE))
        fails = rejected >= REJECTIONS
        rested = jnp.where(accepted, jnp.maximum(9 * carry.rest // 10, REST), carry.rest)
        falls = fails | ~(grows | (_cost(following, proposal) <= DEARER * adaptive))
        return carry._replace(
            span=moved[0],
            known=jnp.asarray(True),
            error=moved[1],
            proposal=proposal,
            usual=jnp.where(accepted, length, carry.usual),
            fastest=fastest,
            rejected=rejected,
            resting=jnp.where(fails, carry.rest, jnp.where(falls, REST, 0)),
            rest=jnp.where(fails, jnp.minimum(2 * carry.rest, LONGEST_REST), rested),
            gradients=carry.gradients + (plan.stages + 1 + ~carry.known).astype(length.dtype),
        )

    def _fall_back(self, optimizer: OptimizerMap, carry: Carry) -> Carry:
        """The flow at the whole time that comes next, by the adaptive method.

        Its step size says how fast the fastest mode can be, and so what a stabilised step would cost. At the end of a
        rest the flow goes back to these if they are cheaper.
        """
        time = carry.span.passed - carry.span.length
        state, part, stages = follow_unit(
            lambda z: jax.tree.map(lambda v: time * v, velocity_of(optimizer, z)),
            carry.span.end,
            jnp.minimum(carry.dt / time, 1),
            diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            self.max_steps,
        )
        dt = part * time
        last = carry.resting == 1
        rate = jnp.where(last, STABLE / dt, carry.fastest.rate)
        longest = jnp.minimum(HOPE * carry.usual, self._longest(optimizer))
        usual = jnp.where(last, longest, carry.usual)
        worth = _cost(stiff.planned(optimizer, usual, rate), usual) <= 1 + 3 / dt
        nothing, none = jax.tree.map(jnp.zeros_like, state), jnp.zeros_like(time)
        return carry._replace(
            span=Span(state, nothing, nothing, nothing, none, none),
            known=jnp.asarray(False),
            error=nothing,
            fastest=carry.fastest._replace(rate=rate),
            dt=dt,
            proposal=jnp.minimum(usual, GENTLE / rate),
            usual=usual,
            rejected=jnp.zeros_like(carry.rejected),
            resting=jnp.where(last & ~worth, REST, carry.resting - 1),
            gradients=carry.gradients + stages,
        )

    def _longest(self, optimizer: OptimizerMap) -> float:
        return LONGEST_WITH_MOMENTUM if stiff.has_momentum(optimizer) else LONGEST

    def _size(self, error: State, state: State) -> Float[Array, ""]:
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


def _cost(plan: Scheme, length: Array) -> Array:
    """Gradients a unit of time of stabilised steps, infinite if it is not known."""
    cost = (plan.stages + 1) / length
    return jnp.where(jnp.isfinite(cost), cost, jnp.inf)


def while_finite(
    loss: Float[Array, ""], unit: Callable[[Any], tuple[Any, Float[Array, ""]]], carry: Any
) -> tuple[Any, Float[Array, ""]]:
    """A unit of time and its stages, or the same carry and none where the loss is lost.

    An adaptive integrator that cannot go on would try ever smaller steps.
    """
    return jax.lax.cond(jnp.isfinite(loss), unit, lambda c: (c, jnp.zeros([], c.dt.dtype)), carry)


def follow_unit(
    field: Callable[[Any], Any],
    start: Any,
    dt: Float[Array, ""],
    controller: diffrax.PIDController,
    max_steps: int,
) -> tuple[Any, Float[Array, ""], Float[Array, ""]]:
    """Integrate dy/dt = field(y) over a unit of time, by Bogacki and Shampine's method with adaptive steps.

    Args:
        field: the velocity, a function of the state alone.
        start: the state, a pytree.
        dt: the first step size to try.
        controller: of the step size.
        max_steps: after so many steps it is given up.

    Returns:
        The state a unit of time later, NaN if it was given up; the mean step size, to try in the next unit; and how
        often the field was evaluated: three stages a step, accepted or not, the last being the first of the next, and
        one before. A try that is rejected before the first accepted step takes one more, which is not counted.
    """
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(y)),
        diffrax.Bosh3(),
        t0=0.0,
        t1=1.0,
        dt0=dt,
        y0=start,
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(t1=True),
        max_steps=max_steps,
        adjoint=diffrax.ForwardMode(),  # nobody differentiates it backwards: a quarter less to trace
        throw=False,
    )
    followed = solution.result == diffrax.RESULTS.successful
    state = jax.tree.map(lambda leaf: jnp.where(followed, leaf[0], jnp.nan), solution.ys)
    step = 1 / jnp.maximum(solution.stats["num_accepted_steps"], 1)
    stages = 3 * solution.stats["num_steps"] + 1
    return state, step.astype(dt.dtype), stages.astype(dt.dtype)


process = StableFlow
"""What the flow is made with."""
