"""Stable flow: the naive continuous limit dz/dt = F(z) - z, without rod or correction.

The baseline. It follows the optimizer below the threshold and goes on into sharper and sharper regions where the
optimizer cannot follow.
"""

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.optimizer_map import OptimizerMap, State
from rodflow.dynamics.process import Observation, Process, Snapshot


class StableFlow(Process):
    """dz/dt = F(z) - z, integrated adaptively (Bogacki-Shampine) to the given tolerances.

    Where curvature grows without bound the flow is stiff, and the step size follows it.
    """

    rtol: float = 1e-4
    atol: float = 1e-6

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> State:
        return from_consecutive(optimizer, before, now, after).centre

    def advance(
        self, optimizer: OptimizerMap, carry: State, key: Array
    ) -> tuple[State, Observation]:
        del key
        term = diffrax.ODETerm(lambda t, y, args: jax.tree.map(jnp.subtract, args(y), y))
        solution = diffrax.diffeqsolve(
            term,
            diffrax.Bosh3(),
            t0=0.0,
            t1=1.0,
            dt0=1.0,
            y0=carry,
            args=optimizer,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            saveat=diffrax.SaveAt(t1=True),
            max_steps=None,
            throw=False,
        )
        return jax.tree.map(lambda leaf: leaf[0], solution.ys), {"loss": optimizer.loss(carry.weights)}

    def snapshot(self, optimizer: OptimizerMap, carry: State) -> Snapshot:
        return {"weights": carry.weights, "memory": carry.memory}
