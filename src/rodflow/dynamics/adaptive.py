"""A unit of time of an ordinary differential equation, by an adaptive explicit method."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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
