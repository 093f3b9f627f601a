"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.
"""

from collections.abc import Callable
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rodflow.config.declarations import GRADIENTS, Flow
from rodflow.dynamics.chebyshev import advance, choose, combine, scheme
from rodflow.dynamics.lifted import Rod, from_consecutive, merge_auxiliary, oscillating
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="The naive limit: the weights follow the optimizer's averaged step, without oscillation.",
    label="stable flow",
    short="stable",
    order=1,
    color="vermilion",
    dashes=(0, (4, 1.5)),
    above=2.1,
    series=GRADIENTS,
)


FIRST_ITERATIONS = 10
"""Of the power iteration, before the first step."""
MARGIN = 0.1
"""How much further than the fastest rate that is known a step is stable, relative."""
SHARE = 0.1
"""Of the tolerance, for the error of a step: those of many steps add up."""
DAMPING = 1.0
"""Least damping of the polynomial where momentum makes modes rotate."""


class Carry(NamedTuple):
    """A step of the integrator, from which the state within it is interpolated, and what the next one begins with.

    Attributes:
        start, change: the state at its start, and what it changes by.
        velocity, velocity_end: dz/dt at its ends.
        length, passed: of time, of the step and since its start.
        proposal: the length to try next.
        error: by which its end errs, estimated; the next step takes it back.
        sharpest: a direction of the oscillating leaves that follows the fastest mode by a power iteration.
        radius: the rate of that mode.
        gradients: of the last unit of time.
    """

    start: State
    change: State
    velocity: State
    velocity_end: State
    length: Float[Array, ""]
    passed: Float[Array, ""]
    proposal: Float[Array, ""]
    error: State
    sharpest: PyTree
    radius: Float[Array, ""]
    gradients: Float[Array, ""]


class StableFlow(Process):
    """dz/dt = F(z) - z, by Chebyshev-stabilised steps (`rodflow.dynamics.chebyshev`) to the given tolerances.

    Where curvature grows without bound the flow is stiff. The number of stages follows the fastest rate, and the step
    the error alone: it may be longer than a unit of time, and the state at whole times is interpolated. A flow
    whose steps become shorter than a tenth of 1 / `max_steps` is given up as diverged.
    """

    rtol: float = 1e-4
    atol: float = 1e-6
    max_steps: int = eqx.field(static=True, default=10_000)
    longest: float = 10.0

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        centre = from_consecutive(optimizer, before, now, after).centre
        nothing = jax.tree.map(jnp.zeros_like, centre)
        velocity = _velocity(optimizer, centre)
        zero = jnp.zeros([], centre.weights.dtype)
        key = jax.random.key(0)
        noise = jax.random.normal(key, centre.weights.shape, centre.weights.dtype)
        sharpest = oscillating(optimizer, nothing._replace(weights=noise))
        carry = Carry(
            centre,
            nothing,
            velocity,
            velocity,
            zero,
            zero,
            zero + 0.1,
            nothing,
            sharpest,
            zero,
            zero,
        )
        return jax.lax.fori_loop(0, FIRST_ITERATIONS, lambda _, c: _sharpened(optimizer, c), carry)

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        del key
        here = _within(optimizer, carry).weights
        loss = optimizer.loss(here)
        carry = carry._replace(passed=carry.passed + 1, gradients=jnp.zeros_like(carry.gradients))
        ahead = jax.lax.while_loop(
            lambda c: (c.passed > c.length) & jnp.isfinite(loss),
            lambda c: self._step(optimizer, c),
            carry,
        )
        return ahead, {"loss": loss, "gradients": ahead.gradients}

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        state = _within(optimizer, carry)
        return {"weights": state.weights, "memory": state.memory}

    def _step(self, optimizer: OptimizerMap, carry: Carry) -> Carry:
        """The next step of the integrator; the same with a shorter one to try if it errs by too much."""
        start = combine((1, carry.start), (1, carry.change))
        length = carry.proposal
        momentum = len(jax.tree.leaves(carry.sharpest)) > 1
        plan = scheme(length, length, carry.radius * (1 + MARGIN), DAMPING if momentum else 0.2)
        forcing = jax.tree.map(lambda error: -error / length, carry.error)
        done = advance(
            lambda z, _: (_velocity(optimizer, z), ()),
            start,
            plan,
            known=jnp.asarray(True),
            f=carry.velocity_end,
            seen=(),
            forcing=forcing,
            mend=lambda change: _positive(optimizer, start, change, length),
        )
        left = combine(
            (1, done.change),
            (-length / 2, done.f),
            (-length / 2, done.f_end),
            (-length, forcing),
        )
        ratio = (plan.cubic - length**3 / 6) / (plan.cubic - length**3 / 4)
        error = jax.tree.map(lambda leaf: ratio * leaf, left)
        size = self._size(error, start) / SHARE
        size = jnp.where(jnp.isfinite(size), size, 1e9)
        scaled = length * jnp.clip(0.8 * (size + 1e-9) ** (-1 / 3), 0.2, 2)
        accepted = size <= 1
        lost = ~accepted & (scaled * self.max_steps < 0.1)
        moved = carry._replace(
            start=start,
            change=jax.tree.map(lambda d: jnp.where(lost, jnp.nan, d), done.change),
            velocity=done.f,
            velocity_end=done.f_end,
            length=jnp.where(lost, jnp.inf, length),
            passed=carry.passed - carry.length,
            error=error,
        )
        following = choose(accepted | lost, moved, carry)._replace(
            proposal=jnp.clip(scaled, 0, self.longest),
            gradients=carry.gradients + plan.stages.astype(length.dtype),
        )
        return _sharpened(optimizer, following)

    def _size(self, error: State, state: State) -> Float[Array, ""]:
        """Root mean square of the error over its tolerance, of all numbers of the state."""
        scaled = jax.tree.map(
            lambda e, z: jnp.ravel(e / (self.atol + self.rtol * jnp.abs(z))), error, state
        )
        return jnp.sqrt(jnp.mean(jnp.concatenate(jax.tree.leaves(scaled)) ** 2))


def _velocity(optimizer: OptimizerMap, state: State) -> State:
    return optimizer.evaluate_increment(state)[1]


def _within(optimizer: OptimizerMap, carry: Carry) -> State:
    """The state where the time that has passed leads to: a cubic through both ends with their velocities."""
    share = jnp.where(carry.length > 0, carry.passed / carry.length, 1)
    left = combine(
        (1, carry.change),
        (-carry.length / 2, carry.velocity),
        (-carry.length / 2, carry.velocity_end),
    )
    late = carry.passed * share / 2
    change = combine(
        (carry.passed - late, carry.velocity),
        (late, carry.velocity_end),
        (share**2 * (3 - 2 * share), left),
    )
    straight = jax.tree.map(lambda d: share * d, carry.change)
    safe = jax.tree.map(
        lambda z, d, line: jnp.where((z > 0) & (z + d <= 0), line, d), carry.start, change, straight
    )
    change = merge_auxiliary(optimizer, change, safe)
    return combine((1, carry.start), (1, change))


def _sharpened(optimizer: OptimizerMap, carry: Carry) -> Carry:
    """One power iteration on the oscillating leaves at the end of the step: one gradient.

    A rate that was found is forgotten slowly: where modes rotate, an iteration sees less than is there.
    """
    here = combine((1, carry.start), (1, carry.change))
    size = jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(carry.sharpest)))
    eps = jnp.finfo(here.weights.dtype).eps
    near = 0.03 * jnp.sqrt(eps) * jnp.linalg.norm(here.weights)
    shifted = Rod(here, jax.tree.map(lambda v: v / size, carry.sharpest)).end(near)
    answer = jax.tree.map(
        lambda a, b: (a - b) / near, _velocity(optimizer, shifted), carry.velocity_end
    )
    answer = oscillating(optimizer, answer)
    rate = jnp.sqrt(sum(jnp.vdot(x, x) for x in jax.tree.leaves(answer)))
    good = jnp.isfinite(rate) & (rate > 0)
    return carry._replace(
        sharpest=choose(good, answer, carry.sharpest),
        radius=jnp.where(good, jnp.maximum(rate, 0.9 * carry.radius), carry.radius),
        gradients=carry.gradients + 1,
    )


def _positive(optimizer: OptimizerMap, start: State, change: State, length: Array) -> State:
    """What a positive auxiliary leaf loses in a time is at most what it forgets, for its source is not negative."""

    def held(kept: Array, before: Array, moved: Array) -> Array:
        least = before * jnp.expm1((jnp.clip(kept, 0, 1) - 1) * length)
        return jnp.where(before > 0, jnp.maximum(moved, least), moved)

    kept = optimizer.decay(start)
    bounded = change._replace(memory=jax.tree.map(held, kept, start.memory, change.memory))
    return merge_auxiliary(optimizer, change, bounded)


def while_finite(
    loss: Float[Array, ""], unit: Callable[[PyTree], tuple[PyTree, Float[Array, ""]]], carry: PyTree
) -> tuple[PyTree, Float[Array, ""]]:
    """A unit of time and its stages, or the same carry and none where the loss is lost.

    An adaptive integrator that cannot go on would try ever smaller steps.
    """
    return jax.lax.cond(jnp.isfinite(loss), unit, lambda c: (c, jnp.zeros([], c.dt.dtype)), carry)


def follow_unit(
    field: Callable[[PyTree], PyTree],
    start: PyTree,
    dt: Float[Array, ""],
    controller: diffrax.PIDController,
    max_steps: int,
) -> tuple[PyTree, Float[Array, ""], Float[Array, ""]]:
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
