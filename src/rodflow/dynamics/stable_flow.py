"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.optimizer_map import OptimizerMap, State
from rodflow.dynamics.process import Observation, Process, Snapshot


class Carry(NamedTuple):
    """The state and the first step size to try in the next unit of time."""

    state: State
    dt: Float[Array, ""]


class StableFlow(Process):
    """dz/dt = F(z) - z, integrated adaptively (Bogacki-Shampine) to the given tolerances.

    Where curvature grows without bound the flow is stiff, and the step size follows it; a flow that needs more than
    `max_steps` steps for a unit of time is given up as diverged.
    """

    rtol: float = 1e-4
    atol: float = 1e-6
    max_steps: int = eqx.field(static=True, default=10_000)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        centre = from_consecutive(optimizer, before, now, after).centre
        return Carry(centre, jnp.ones([], centre.weights.dtype))

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        del key
        loss = optimizer.loss(carry.state.weights)
        # Without an end an integrator that cannot go on would try ever smaller steps for ever.
        carry, stages = jax.lax.cond(
            jnp.isfinite(loss),
            lambda c: self._unit(optimizer, c),
            lambda c: (c, jnp.zeros([], c.dt.dtype)),
            carry,
        )
        return carry, {"loss": loss, "gradients": stages}

    def _unit(self, optimizer: OptimizerMap, carry: Carry) -> tuple[Carry, Float[Array, ""]]:
        """The flow one unit of time later, NaN if not followed in `max_steps` steps, and how many stages it took."""
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: jax.tree.map(jnp.subtract, args(y), y)),
            diffrax.Bosh3(),
            t0=0.0,
            t1=1.0,
            dt0=carry.dt,
            y0=carry.state,
            args=optimizer,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            saveat=diffrax.SaveAt(t1=True),
            max_steps=self.max_steps,
            throw=False,
        )
        followed = solution.result == diffrax.RESULTS.successful
        state = jax.tree.map(lambda leaf: jnp.where(followed, leaf[0], jnp.nan), solution.ys)
        dt, stages = steps_and_stages(solution.stats, carry.dt)
        return Carry(state, dt), stages

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        return {"weights": carry.state.weights, "memory": carry.state.memory}


def steps_and_stages(stats: dict[str, Any], like: Array) -> tuple[Array, Array]:
    """From diffrax's statistics of a unit of time: the mean step size, and how often the field was evaluated.

    Three stages a step of Bogacki and Shampine, accepted or not, the last being the first of the next; one before.
    A try that is rejected before the first accepted step of the unit takes one more, which is not in the statistics.
    """
    dt = 1 / jnp.maximum(stats["num_accepted_steps"], 1)
    stages = 3 * stats["num_steps"] + 1
    return dt.astype(like.dtype), stages.astype(like.dtype)
