"""Edge flow of gradient descent: a centre w, a direction u and an amplitude a (Marion 2026, arXiv 2606.18080).

    dw/dt = -(eta/2) ( grad L(w + a u) + grad L(w - a u) ),
    du/dt = eta ( H u - (u . H u) u ),
    da/dt = (eta u . H u - 2) a.

The oscillation is one number along one direction: u turns towards the leading eigenvector of the Hessian H at w, and a
grows while its sharpness is above 2/eta. An amplitude of zero stays zero, so it gets rounding-sized noise like a rod
(`rodflow.dynamics.lifted.seed`). The paper leaves the pace of u open; here it is that of the power iteration that
gradient descent does itself. Integrated adaptively by diffrax, with log a in place of a, which stays positive.
"""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.config.declarations import GRADIENTS, PRODUCTS, ROD, Flow, of
from rodflow.dynamics.flows.stable import follow_unit
from rodflow.dynamics.lifted import Rod, from_consecutive, seed
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.linalg.eigensolver import largest_eigenpairs, random_guess
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, State

FLOW = Flow(
    title="Edge flow.",
    label="edge flow",
    short="edge",
    order=7,
    color="ink",
    dashes=(0, (2, 1)),
    above=2.24,
    series={**ROD, **GRADIENTS, **PRODUCTS},
    supports=of("gd"),
    why="is written for gradient descent",
)


class Edge(NamedTuple):
    """Centre, unit direction and log-amplitude."""

    state: State
    direction: Float[Array, " parameter"]
    log_amplitude: Float[Array, ""]


class Carry(NamedTuple):
    """The flow and the first step size to try in the next unit of time."""

    edge: Edge
    dt: Float[Array, ""]


class EdgeFlow(Process):
    """The flow, by an adaptive Runge-Kutta method of third order (Bogacki-Shampine), as the stable flow.

    Attributes:
        rtol, atol: tolerated error of a step in w, u and log a, relative to them and in their own units.
        max_steps: a unit of time; a flow that needs more is given up as diverged.
    """

    rtol: float = 1e-4
    atol: float = 1e-6
    max_steps: int = eqx.field(static=True, default=1_000)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        refuse(optimizer)
        rod = from_consecutive(optimizer, before, now, after)
        weights, extent = rod.centre.weights, rod.extent.weights
        _, product = jax.linearize(jax.grad(optimizer.loss), weights)
        guess = random_guess(jax.random.key(0), weights.size, 2).astype(weights.dtype)
        found = largest_eigenpairs(
            lambda block: jax.lax.map(product, block.T).T, guess, 1e-2, count=1
        )
        direction = found.vectors[:, 0]
        amplitude = jnp.maximum(jnp.abs(direction @ extent), jnp.finfo(weights.dtype).tiny)
        return Carry(Edge(rod.centre, direction, jnp.log(amplitude)), jnp.ones([], weights.dtype))

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        edge = _seeded(carry.edge, key)
        offset = jnp.exp(edge.log_amplitude) * edge.direction
        weights = edge.state.weights
        seen = {
            "loss": optimizer.loss(weights),
            "loss_plus": optimizer.loss(weights + offset),
            "loss_minus": optimizer.loss(weights - offset),
            "rod_length": jnp.exp(edge.log_amplitude),
        }
        following, stages = jax.lax.cond(
            jnp.isfinite(seen["loss"]),
            lambda e: self._unit(optimizer, e, carry.dt),
            lambda e: (Carry(e, carry.dt), jnp.zeros([], carry.dt.dtype)),
            edge,
        )
        return following, seen | {"gradients": 2 * stages, "hessian_products": stages}

    def _unit(
        self, optimizer: OptimizerMap, edge: Edge, dt: Array
    ) -> tuple[Carry, Float[Array, ""]]:
        """The flow one unit of time later, NaN if it cannot be followed, and how many stages that took."""
        rate = _learning_rate(optimizer, edge.state)
        gradient = jax.grad(optimizer.loss)

        def field(y: tuple[Array, Array, Array]) -> tuple[Array, ...]:
            weights, direction, log_amplitude = y
            unit = direction / jnp.linalg.norm(direction)
            offset = jnp.exp(log_amplitude) * unit
            pull = (gradient(weights + offset) + gradient(weights - offset)) / 2
            image = jax.jvp(gradient, (weights,), (unit,))[1]
            sharpness = unit @ image
            turn = rate * (image - sharpness * unit)
            return -rate * pull, turn, rate * sharpness - 2

        start = (edge.state.weights, edge.direction, edge.log_amplitude)
        (weights, direction, log_amplitude), dt, stages = follow_unit(
            field,
            start,
            dt,
            diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            self.max_steps,
        )
        unit = direction / jnp.linalg.norm(direction)
        following = Edge(edge.state._replace(weights=weights), unit, log_amplitude)
        return Carry(following, dt), stages

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        edge = carry.edge
        return {
            "weights": edge.state.weights,
            "half_extent": jnp.exp(edge.log_amplitude) * edge.direction,
            "memory": edge.state.memory,
        }


def refuse(optimizer: OptimizerMap) -> None:
    """Only gradient descent, whose step is a number times the gradient, has an edge flow.

    Raises:
        OptimizerError: says so.
    """
    if len(optimizer.oscillating) > 1:
        raise OptimizerError(
            "edge flow: it is known for gradient descent (gd) only; take a rod flow"
        )


def _seeded(edge: Edge, key: Array) -> Edge:
    """Rounding-sized noise on the half-extent a u, as far as it lies along u."""
    amplitude = jnp.exp(edge.log_amplitude)
    extent = edge.state._replace(weights=amplitude * edge.direction)
    noisy = seed(Rod(edge.state, extent), key).extent.weights
    return edge._replace(log_amplitude=jnp.log(jnp.abs(edge.direction @ noisy)))


def _learning_rate(optimizer: OptimizerMap, state: State) -> Float[Array, ""]:
    """The step of gradient descent by gradient: from one coordinate, it is the same for all."""
    ones = jnp.ones_like(state.weights)
    updates, _ = optimizer.transformation.update(ones, state.memory, state.weights)
    return -updates[0]


process = EdgeFlow
"""What the flow is made with."""
