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

from rodflow.dynamics.lifted import Rod
from rodflow.dynamics.optimizer_map import OptimizerMap
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

    def init(self, terms: Any, t0: Any, t1: Any, y0: Rod, args: OptimizerMap) -> None:
        """No state between steps."""
        return None

    def step(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Rod,
        args: OptimizerMap,
        solver_state: None,
        made_jump: Any,
    ) -> Any:
        """One unit of time."""

        def lifted(y: Rod, _: None) -> tuple[Rod, Rod]:
            image = jax.tree.map(jnp.add, y, terms.vf(t0, y, args))
            return image, image

        _, images = jax.lax.scan(lifted, y0, length=3)
        corrected = jax.tree.map(
            lambda y, k: k[0] + ((y - k[2]) + 3 * (k[1] - k[0])) / 8, y0, images
        )
        first = jax.tree.map(lambda k: k[0], images.centre)
        y1 = Rod(merge_auxiliary(args, corrected.centre, first), corrected.extent)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

    def func(self, terms: Any, t0: Any, y0: Rod, args: OptimizerMap) -> Rod:
        """The lifted increment."""
        return terms.vf(t0, y0, args)


class RodUnitStep(RodProcess):
    """The rod flow by `UnitStep`."""

    def unit(self, optimizer: OptimizerMap, rod: Rod) -> Rod:
        term = diffrax.ODETerm(lambda t, y, args: increment(args, y))
        return UnitStep().step(term, 0.0, 1.0, rod, optimizer, None, made_jump=False)[0]
