"""The rod flow at whole steps: an integrator with the flow's time-1 map, from three lifted steps.

Phi has eigenvalues near 1 on what is slow (smooth directions of Z, oscillating ones of X) and near -1 on the
redundant copies (sharp directions of Z, flat ones of X). The time-1 map of the flow keeps the first and kills the
second, which the polynomial M(J) = J + ((1 - J)/2)^3 does: M = J to third order at J = 1, M = 0 at J = -1.
With Y_k = Phi^k(Y),

    Y(t + 1) = Y_1 + (Y - 3 Y_1 + 3 Y_2 - Y_3) / 8.

Auxiliary leaves come from Y_1 alone, so that a second moment stays positive. Six gradients a unit of time, no limit
on a step size to respect. The scheme is this project's own.
"""

from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array

from rodflow.dynamics.lifted import Rod, seed, stable_lifted_map_and_losses
from rodflow.dynamics.optimizer_map import OptimizerMap
from rodflow.dynamics.process import Observation
from rodflow.dynamics.rod_flow import RodProcess, increment, merge_auxiliary


class UnitStep(diffrax.AbstractSolver):
    """The integrator above as a diffrax solver, for steps of size 1 of the lifted increment f = Phi - 1.

    `args` of the term is the `OptimizerMap`, which knows the auxiliary leaves.
    """

    term_structure: ClassVar = diffrax.ODETerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> int:
        """Second order: M(J) differs from J by (1 - J)^3 / 8 a step."""
        return 2

    def init(self, terms: Any, t0: Any, t1: Any, y0: Rod, args: OptimizerMap) -> Rod:
        """The increment at y0, which a caller that knows it already may pass instead."""
        return terms.vf(t0, y0, args)

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Rod,
        args: OptimizerMap,
        solver_state: Rod,
        made_jump: Any,
    ) -> Any:
        """One unit of time."""

        def lifted(y: Rod, _: None) -> tuple[Rod, Rod]:
            image = jax.tree.map(jnp.add, y, terms.vf(t0, y, args))
            return image, image

        first = jax.tree.map(jnp.add, y0, solver_state)
        _, images = jax.lax.scan(lifted, first, length=2)
        corrected = jax.tree.map(
            lambda y, a, k: a + ((y - k[1]) + 3 * (k[0] - a)) / 8, y0, first, images
        )
        y1 = Rod(merge_auxiliary(args, corrected.centre, first.centre), corrected.extent)
        following = terms.vf(t1, y1, args)
        return y1, None, dict(y0=y0, y1=y1), following, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Rod, args: OptimizerMap) -> Rod:
        """The lifted increment."""
        return terms.vf(t0, y0, args)


class RodUnitStep(RodProcess):
    """The rod flow by `UnitStep`."""

    def unit(self, optimizer: OptimizerMap, rod: Rod) -> Rod:
        return _unit(optimizer, rod, increment(optimizer, rod))

    def advance(self, optimizer: OptimizerMap, carry: Rod, key: Array) -> tuple[Rod, Observation]:
        # The first lifted step has the losses at the ends at hand: two evaluations less.
        rod = seed(carry, key)
        image, (loss_plus, loss_minus) = stable_lifted_map_and_losses(optimizer, rod)
        seen = {
            "loss": optimizer.loss(carry.centre.weights),
            "loss_plus": loss_plus,
            "loss_minus": loss_minus,
            "rod_length": jnp.linalg.norm(carry.extent.weights),
        }
        return _unit(optimizer, rod, jax.tree.map(jnp.subtract, image, rod)), seen


def _unit(optimizer: OptimizerMap, rod: Rod, first: Rod) -> Rod:
    term = diffrax.ODETerm(lambda t, y, args: increment(args, y))
    return UnitStep().step(term, 0.0, 1.0, rod, optimizer, first, made_jump=False)[0]
