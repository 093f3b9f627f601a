"""Edge flow in its discrete form: one explicit step a unit of time, two gradients and a Hessian product.

    w' = w - (eta/2) ( grad L(w + a u) + grad L(w - a u) ),
    u' = (u + eta H u) / |u + eta H u|,
    a' = (eta u . H u - 1) a.

Marion (2026, arXiv 2606.18080) says of his discretisation what a step costs; the formulas here are ours. They are Euler
steps of the flow but for what is along u in the step of u: the length takes it away, to the order of the step. With the
tangent alone, u + eta (H u - (u . H u) u), a direction of curvature l would come in once eta (u . H u - l) > 2, where
1 - eta (u . H u - l) leaves the unit circle; with u + eta H u the leading one wins on either side of the threshold.

In a and w the unit step is gradient descent itself, not an approximation of the flow: wherever the gradient is
quadratic and u an eigenvector that does not turn, gradient descent is at w + a u and w - a u by turns. The flow has
exp(eta u . H u - 2) in place of eta u . H u - 1, which is larger on both sides of the threshold.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.config.declarations import GRADIENTS, PRODUCTS, ROD, Flow, of
from rodflow.dynamics.flows.edge import EdgeFlow
from rodflow.dynamics.lifted import Losses, rounding
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="Edge flow in unit steps, its discrete form.",
    label="edge flow, unit step",
    short="edge, unit step",
    order=13,
    color="orange",
    dashes=(0, (3, 1, 1, 1)),
    above=2.25,
    series={**ROD, **GRADIENTS, **PRODUCTS},
    supports=of("gd"),
    why="is written for gradient descent",
)


class Edge(NamedTuple):
    """Centre, unit direction and amplitude; the sign of the amplitude is that of gradient descent, and says nothing."""

    state: State
    direction: Float[Array, " parameter"]
    amplitude: Float[Array, ""]


class EdgeUnitStep(Process):
    """The discrete form; begun as the flow is, with the same noise.

    Attributes:
        substeps: equal Euler steps a unit of time. One is the discrete form, many are the flow.
    """

    substeps: int = eqx.field(static=True, default=1)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Edge:
        state, direction, log_amplitude = EdgeFlow().begin(optimizer, before, now, after).edge
        return Edge(state, direction, jnp.exp(log_amplitude))

    def advance(self, optimizer: OptimizerMap, edge: Edge, key: Array) -> tuple[Edge, Observation]:
        noise = edge.direction @ rounding(edge.state.weights, key)
        edge = edge._replace(amplitude=edge.amplitude + noise)
        seen = {
            "loss": optimizer.loss(edge.state.weights),
            "rod_length": jnp.abs(edge.amplitude),
            "gradients": jnp.asarray(2.0 * self.substeps),
            "hessian_products": jnp.asarray(1.0 * self.substeps),
        }
        following, losses = step(optimizer, edge, 1 / self.substeps)
        for _ in range(1, self.substeps):
            following, _ = step(optimizer, following, 1 / self.substeps)
        return following, seen | dict(zip(("loss_plus", "loss_minus"), losses, strict=True))

    def snapshot(self, optimizer: OptimizerMap, edge: Edge) -> Snapshot:
        return {
            "weights": edge.state.weights,
            "half_extent": edge.amplitude * edge.direction,
            "memory": edge.state.memory,
        }


def step(optimizer: OptimizerMap, edge: Edge, length: float) -> tuple[Edge, Losses]:
    """A step of this length in time, and the losses at the ends that it starts from.

    Args:
        optimizer: gradient descent, as a map.
        edge: w, u and a, where it starts.
        length: in units of a step of gradient descent; the equations of the module are those of length 1.
    """
    weights, unit = edge.state.weights, edge.direction

    def move(at: Array) -> tuple[Array, Array]:
        """The loss at these weights, and what gradient descent adds to them."""
        loss, added = optimizer.evaluate_increment(edge.state._replace(weights=at))
        return loss, added.weights

    offset = edge.amplitude * unit
    (loss_plus, plus), (loss_minus, minus) = move(weights + offset), move(weights - offset)
    image = -jax.jvp(lambda at: move(at)[1], (weights,), (unit,))[1]  # eta H u
    turned = unit + length * image
    following = Edge(
        edge.state._replace(weights=weights + length * (plus + minus) / 2),
        turned / jnp.linalg.norm(turned),
        (1 + length * (unit @ image - 2)) * edge.amplitude,
    )
    return following, (loss_plus, loss_minus)


process = EdgeUnitStep
"""What the flow is made with."""
