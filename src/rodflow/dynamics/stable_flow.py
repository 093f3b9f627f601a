"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.
"""

from typing import NamedTuple

import diffrax
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

    Where curvature grows without bound the flow is stiff, and the step size follows it.
    """

    rtol: float = 1e-4
    atol: float = 1e-6

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        centre = from_consecutive(optimizer, before, now, after).centre
        return Carry(centre, jnp.ones([], centre.weights.dtype))

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        del key
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
            max_steps=None,
            throw=False,
        )
        state = jax.tree.map(lambda leaf: leaf[0], solution.ys)
        dt = (1 / jnp.maximum(solution.stats["num_accepted_steps"], 1)).astype(carry.dt.dtype)
        return Carry(state, dt), {"loss": optimizer.loss(carry.state.weights)}

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        return {"weights": carry.state.weights, "memory": carry.state.memory}
