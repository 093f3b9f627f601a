"""A rod flow beside the iterates that it predicts.

A rod of centre Z and half-extent X holds two consecutive iterates, w_t = Z + (-1)^t X_w, so a flow that starts where X
is measured rather than seeded, at the edge of stability, predicts single iterates with their phase.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rodflow.dynamics.discrete import Consecutive, Discrete
from rodflow.dynamics.flows.rod import RodProcess
from rodflow.dynamics.flows.rod_unit_step import RodUnitStep
from rodflow.dynamics.lifted import RodCarry
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State


class Both(NamedTuple):
    """The carry of the rod flow, the iterates, and the sign (-1)^(t - t0) of the rod's end at which the iterate is."""

    rod: RodCarry
    iterates: Consecutive
    sign: Float[Array, ""]


class Iterates(Process):
    """A rod flow and the optimizer side by side, from the same three states.

    Observed: the iterate error ||Z + (-1)^t X_w - w_t|| / ||X_w||, and both positions along a direction.

    Attributes:
        direction: along which positions are taken, a covector on the weights.
        origin: where they are zero, weights.
        flow: the rod flow.
    """

    direction: Float[Array, " parameter"]
    origin: Float[Array, " parameter"]
    flow: RodProcess = RodUnitStep()

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Both:
        return self.beside(optimizer, Discrete().begin(optimizer, before, now, after))

    def beside(self, optimizer: OptimizerMap, run: Consecutive) -> Both:
        """The carry where the discrete run has got to.

        Args:
            optimizer: the map that both follow.
            run: the discrete run, whose three states make the rod; its middle one is the rod's end Z + X.
        """
        # The rod through three states has the end +X at the middle one.
        rod = self.flow.begin(optimizer, run.before, run.now, run.after)
        return Both(rod, run, jnp.ones([], run.now.weights.dtype))

    def advance(self, optimizer: OptimizerMap, carry: Both, key: Array) -> tuple[Both, Observation]:
        actual, predicted = carry.iterates.now.weights, self._predicted(carry)
        rod, rods = self.flow.advance(optimizer, carry.rod, key)
        iterates, seen = Discrete().advance(optimizer, carry.iterates, key)
        observed = {
            "loss": seen["loss"],
            "rod_length": rods["rod_length"],
            "iterate_error": jnp.linalg.norm(predicted - actual) / rods["rod_length"],
            "actual": self.direction @ (actual - self.origin),
            "predicted": self.direction @ (predicted - self.origin),
        }
        return Both(rod, iterates, -carry.sign), observed

    def snapshot(self, optimizer: OptimizerMap, carry: Both) -> Snapshot:
        kept = self.flow.snapshot(optimizer, carry.rod)
        return {"weights": self._predicted(carry), "memory": kept["memory"]}

    def _predicted(self, carry: Both) -> Array:
        return carry.rod.centre.weights + carry.sign * carry.rod.extent.weights
