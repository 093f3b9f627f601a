"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.
"""

from typing import NamedTuple

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
        carry = jax.lax.cond(
            jnp.isfinite(loss), lambda c: self._unit(optimizer, c), lambda c: c, carry
        )
        return carry, {"loss": loss}

    def _unit(self, optimizer: OptimizerMap, carry: Carry) -> Carry:
        """The flow one unit of time later; NaN if it cannot be followed in `max_steps` steps."""
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
        dt = (1 / jnp.maximum(solution.stats["num_accepted_steps"], 1)).astype(carry.dt.dtype)
        return Carry(state, dt)

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        return {"weights": carry.state.weights, "memory": carry.state.memory}
