"""Adam and AdamW in continuous time (Gould and Tanaka 2024, arXiv 2411.05746), time in units of steps.

    tau_1 dm/dt = g - m,      tau_2 dv/dt = g^2 - v,      tau_i = b_i / (1 - b_i),
    dw/dt = -eta ( m_hat / (sqrt(v_hat) + eps) + lambda w ),      m_hat = m / (1 - e^{-t/tau_1}), v_hat alike.

The iterates are this ODE, stepped: m' = m + (g - m') / tau_1 is the implicit Euler step of unit length, with the
gradient from before the step. So the two differ at first order; docs/theory.md, section 8, has the derivation, and what
tells the flow from the stable flow of the same optimizer.

At t = 0 the corrected moments are 0/0; their limits are g and g^2. Corrected moments are averages of gradients in both
descriptions, moments are not (1 - b^t and 1 - e^{-t/tau} differ), so a flow takes over the corrected ones.
"""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rodflow.config.declarations import GRADIENTS, Flow, of
from rodflow.dynamics.flows.stable import follow_unit, while_finite
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.library import adam, adamw
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, State
from rodflow.optimizers.tuned import Tuned

FLOW = Flow(
    title="Adam in continuous time, from step 0 on.",
    label="Adam in continuous time",
    short="continuous",
    order=8,
    color="brown",
    series=GRADIENTS,
    supports=of("adam", "adamw"),
    why="is written for Adam",
)


Scalar = Float[Array, ""]
Vector = Float[Array, " parameter"]


class Carry(NamedTuple):
    """Weights, moments without bias correction, the time since training began, and the first step size to try."""

    weights: Vector
    first: Vector
    second: Vector
    time: Scalar
    dt: Scalar


class AdamContinuous(Process):
    """The flow, integrated adaptively (Bogacki-Shampine).

    It has one state where a rod has two ends, so it takes the first of the three that it is given and is a unit of time
    on when it is first observed: with `start: 1` it begins where training does, at step 0.

    Attributes:
        tolerance: error of a solver step in the weights, root mean square in units of the learning rate.
        max_steps: a flow that needs more solver steps for a unit of time is given up as diverged.
    """

    tolerance: float = 1e-5
    max_steps: int = eqx.field(static=True, default=1_000)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        given = _hyperparameters(optimizer)
        mu, nu, count = (optax.tree.get(before.memory, name) for name in ("mu", "nu", "count"))
        carry = Carry(
            before.weights,
            mu * _continuous_over_discrete(given["b1"], count),
            nu * _continuous_over_discrete(given["b2"], count),
            count,
            jnp.ones([], before.weights.dtype),
        )
        return self._unit(optimizer, carry)[0]

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        del key
        loss = optimizer.loss(carry.weights)
        carry, stages = while_finite(loss, lambda c: self._unit(optimizer, c), carry)
        return carry, {"loss": loss, "gradients": stages}

    def _unit(self, optimizer: OptimizerMap, carry: Carry) -> tuple[Carry, Scalar]:
        """The flow one unit of time later, NaN if it cannot be followed, and how many stages that took."""
        given = _hyperparameters(optimizer)
        rate, decay = given["learning_rate"], given.get("weight_decay", 0.0)
        gradient = jax.grad(optimizer.loss)

        # In units of the learning rate the weights move by about 1, whatever it is.
        def field(y: tuple[Vector, Vector, Vector, Scalar]) -> tuple[Array, ...]:
            moved, first, second, time = y
            weights = carry.weights + rate * moved
            g = gradient(weights)
            mean = corrected(first, g, time, given["b1"])
            square = corrected(second, g**2, time, given["b2"])
            # Errors of the solver can make a moment that decays to nothing negative.
            update = mean / (jnp.sqrt(jnp.maximum(square, 0)) + given["eps"])
            return (
                -update - decay * weights,
                _relax(first, g, given["b1"]),
                _relax(second, g**2, given["b2"]),
                jnp.ones_like(time),
            )

        start = (jnp.zeros_like(carry.weights), carry.first, carry.second, carry.time)
        controller = diffrax.PIDController(rtol=0.0, atol=self.tolerance, norm=_error_of_weights)
        (moved, first, second, _), dt, stages = follow_unit(
            field, start, carry.dt, controller, self.max_steps
        )
        following = Carry(carry.weights + rate * moved, first, second, carry.time + 1, dt)
        return following, stages

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        given = _hyperparameters(optimizer)
        b1, b2, time = given["b1"], given["b2"], carry.time
        g = jax.grad(optimizer.loss)(carry.weights)
        memory = optax.tree.set(
            optimizer.initial(carry.weights).memory,
            mu=corrected(carry.first, g, time, b1) * (1 - b1**time),
            nu=corrected(carry.second, g**2, time, b2) * (1 - b2**time),
            count=time,
        )
        return {"weights": carry.weights, "memory": memory}


def corrected(moment: Array, source: Array, time: Scalar, decay: Scalar) -> Array:
    """The moment over 1 - e^{-t/tau}; its limit, the source, at t = 0 and for a decay of 0.

    Args:
        moment: m or v, without bias correction.
        source: what it is the average of, g or g^2.
        time: t, in steps since training began.
        decay: b, with tau = b / (1 - b) steps.
    """
    fresh = (time <= 0) | (decay <= 0)
    weight = -jnp.expm1(-time * (1 - decay) / jnp.where(fresh, 1, decay))
    return jnp.where(fresh, source, moment / jnp.where(fresh, 1, weight))


def _relax(moment: Array, source: Array, decay: Scalar) -> Array:
    """(source - moment) / tau; 0 for a decay of 0, where nothing asks for the moment."""
    slow = decay > 0
    return jnp.where(slow, (source - moment) * (1 - decay) / jnp.where(slow, decay, 1), 0)


def _continuous_over_discrete(decay: Scalar, time: Scalar) -> Scalar:
    """(1 - e^{-t/tau}) / (1 - b^t), so that both moments have the same corrected one; 1 where they are 0."""
    fresh = (time <= 0) | (decay <= 0)
    safe = jnp.where(fresh, 0.5, decay)
    continuous, discrete = -jnp.expm1(-time * (1 - safe) / safe), -jnp.expm1(time * jnp.log(safe))
    return jnp.where(fresh, 1, continuous / jnp.where(fresh, 1, discrete))


def _error_of_weights(y: tuple[Vector, ...]) -> Scalar:
    """Of the error of a state that of the weights; errors of the moments show there."""
    return jnp.sqrt(jnp.mean(y[0] ** 2))


def _hyperparameters(optimizer: OptimizerMap) -> dict[str, Array]:
    """Of Adam or AdamW.

    Raises:
        OptimizerError: it is another optimizer, or an optax transformation that does not say what it is.
    """
    transformation = optimizer.transformation
    known = [adam.build, adamw.build]
    if not isinstance(transformation, Tuned) or transformation.build not in known:
        raise OptimizerError(
            "Adam in continuous time: it is written for adam and adamw of the table, as "
            'TABLE["adam"].tuned(weights.dtype, learning_rate=...); take a stable or a rod flow'
        )
    return transformation.hyperparameters


process = AdamContinuous
"""What the flow is made with."""
