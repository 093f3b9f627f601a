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
from rodflow.dynamics.lifted import from_consecutive
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="The naive limit: the weights follow the optimizer's averaged step, without oscillation.",
    label="stable flow",
    short="stable",
    order=1,
    color="vermilion",
    marker="^",
    dashes=(0, (4, 1.5)),
    above=2.1,
    series=GRADIENTS,
)


class Carry(NamedTuple):
    """The state and the first step size to try in the next unit of time."""

    state: State
    dt: Float[Array, ""]


class StableFlow(Process):
    """dz/dt = F(z) - z, integrated adaptively (Bogacki-Shampine) to the given tolerances.

    Where curvature grows without bound the flow is stiff, and the step size follows it; a flow that needs more than
    `max_steps` steps for a unit of time is given up as diverged.

    Attributes:
        rtol, atol: tolerated error of a step, relative to the state and in its own units.
        max_steps: a unit of time.
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
        carry, stages = while_finite(loss, lambda c: self._unit(optimizer, c), carry)
        return carry, {"loss": loss, "gradients": stages}

    def _unit(self, optimizer: OptimizerMap, carry: Carry) -> tuple[Carry, Float[Array, ""]]:
        """The flow one unit of time later, NaN if not followed in `max_steps` steps, and how many stages it took."""
        state, dt, stages = follow_unit(
            lambda z: jax.tree.map(jnp.subtract, optimizer(z), z),
            carry.state,
            carry.dt,
            diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            self.max_steps,
        )
        return Carry(state, dt), stages

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        return {"weights": carry.state.weights, "memory": carry.state.memory}


def while_finite(
    loss: Float[Array, ""], unit: Callable[[PyTree], tuple[PyTree, Float[Array, ""]]], carry: PyTree
) -> tuple[PyTree, Float[Array, ""]]:
    """A unit of time and its stages, or the same carry and none where the loss is lost.

    An adaptive integrator that cannot go on would try ever smaller steps.

    Args:
        loss: at the carry.
        unit: from the carry to the one a unit of time later, and how many stages that took.
        carry: where the flow is; its `dt` gives the dtype of the count.
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
