"""The rod flow at whole steps: an integrator with the flow's time-1 map, from two lifted steps and a memory.

Phi has eigenvalues J near 1 on what is slow (smooth directions of Z, oscillating ones of X) and near -1 on the
redundant copies (sharp directions of Z, flat ones of X). The time-1 map of the flow keeps the first and kills the
second. What tells them apart is how the orbit bends, d(Y) = Y - 2 Phi(Y) + Phi(Phi(Y)): the bend of a slow mode is
known from the steps before, that of a redundant copy alternates and is the one to be removed. With a running mean s of
the bends,

    Y(t + 1) = Phi(Y) + (d(Y) - s) / 12,        s' = (s + 2 d(Y)) / 3.

A mode of eigenvalue J is multiplied by a root mu of

    mu^2 - (J + (1 + (1 - J)^2 / 4) / 3) mu + (1 + J)^2 / 12 = 0.

Its leading root is J + x^3 / 8 + ... for J = 1 + x, and at J = -1 the roots are 0 and -1/3. Both stay in the unit disc
for -1 - sqrt(12) < J < 1, but for J = -3, where one touches it at -1. With (d - s) q / 4 and s' = q s + (1 - q) d the
error is q x^3 / (4 (1 - q)), and the root -1 is never crossed for q >= 1/3, so that q = 1/3 is the most exact choice.

Auxiliary leaves come from Phi(Y) alone, so that a second moment stays positive. Four gradients a unit of time, no
limit on a step size to respect. The scheme is this project's own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from rodflow.config.declarations import GRADIENTS, ROD, Flow
from rodflow.dynamics.flows.rod import RodProcess
from rodflow.dynamics.lifted import Losses, Rod, merge_auxiliary, orbit_and_losses
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="Rod flow in unit steps.",
    label="rod flow, unit step",
    short="unit step",
    order=3,
    color="purple",
    marker="s",
    dashes=(0, (1, 1.2)),
    above=2.3,
    series={**ROD, **GRADIENTS},
)


class Bending(NamedTuple):
    """A rod, and the running mean of its bends, itself of a rod's shape; NaN where there has been none."""

    centre: State
    extent: PyTree
    bend: Rod


class RodUnitStep(RodProcess):
    """The rod flow by the integrator above. A rod that it starts from has not bent yet."""

    gradients = 4

    def start(self, optimizer: OptimizerMap, rod: Rod) -> Bending:
        return Bending(*rod, jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), rod))

    def unit_and_losses(self, optimizer: OptimizerMap, carry: Bending) -> tuple[Bending, Losses]:
        rod = Rod(carry.centre, carry.extent)
        (first, second), losses = orbit_and_losses(optimizer, rod, 2)
        bend = jax.tree.map(lambda y, a, b: (y - a) + (b - a), rod, first, second)
        # The first bend is its own mean: motion that is smooth from the start has no kink there.
        mean = jax.tree.map(lambda s, d: jnp.where(jnp.isnan(s), d, s), carry.bend, bend)
        corrected = jax.tree.map(lambda a, d, s: a + (d - s) / 12, first, bend, mean)
        following = jax.tree.map(lambda d, s: (s + 2 * d) / 3, bend, mean)
        centre = merge_auxiliary(optimizer, corrected.centre, first.centre)
        return Bending(centre, corrected.extent, following), losses


process = RodUnitStep
"""What the flow is made with."""
