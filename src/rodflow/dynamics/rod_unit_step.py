"""The rod flow at whole steps: an integrator with the flow's time-1 map, from three lifted steps.

Phi has eigenvalues near 1 on what is slow (smooth directions of Z, oscillating ones of X) and near -1 on the
redundant copies (sharp directions of Z, flat ones of X). The time-1 map of the flow keeps the first and kills the
second, which the polynomial M(J) = J + ((1 - J)/2)^3 does: M = J to third order at J = 1, M = 0 at J = -1.
With Y_k = Phi^k(Y),

    Y(t + 1) = Y_1 + (Y - 3 Y_1 + 3 Y_2 - Y_3) / 8.

Auxiliary leaves come from Y_1 alone, so that a second moment stays positive. Six gradients a unit of time, no limit
on a step size to respect. The scheme is this project's own.
"""

import jax

from rodflow.dynamics.lifted import Losses, Rod, orbit_and_losses
from rodflow.dynamics.optimizer_map import OptimizerMap
from rodflow.dynamics.rod_flow import RodProcess, merge_auxiliary


class RodUnitStep(RodProcess):
    """The rod flow by the integrator above."""

    gradients = 6

    def unit_and_losses(self, optimizer: OptimizerMap, rod: Rod) -> tuple[Rod, Losses]:
        (y1, y2, y3), losses = orbit_and_losses(optimizer, rod, 3)
        corrected = jax.tree.map(
            lambda y, a, b, c: a + ((y - c) + 3 * (b - a)) / 8, rod, y1, y2, y3
        )
        centre = merge_auxiliary(optimizer, corrected.centre, y1.centre)
        return Rod(centre, corrected.extent), losses
