"""The rod flow at whole steps from two lifted steps and a memory of how the last ones bent: four gradients.

`RodUnitStep` removes the redundant copies (eigenvalues J of the lifted map near -1) with a difference of the bends
of two overlapping pieces of the orbit, d(Y) = Y - 2 Phi(Y) + Phi(Phi(Y)) at Y and at Phi(Y). The second piece costs
a third lifted step. But a bend that is smooth is known from the steps before; one that alternates is not, and that
is the one to be removed. With a running mean s of the bends,

    Y(t + 1) = Phi(Y) + (d(Y) - s) / 12,        s' = (s + 2 d(Y)) / 3.

A mode of eigenvalue J is multiplied by a root mu of

    mu^2 - (J + (1 + (1 - J)^2 / 4) / 3) mu + (1 + J)^2 / 12 = 0.

Its leading root is J + x^3 / 8 + ... for J = 1 + x, as exact as three lifted steps, and at J = -1 the roots are 0
and -1/3. Both stay in the unit disc for -1 - sqrt(12) < J < 1, but for J = -3, where one touches it at -1; with
three lifted steps it is left at J = -1.83. With (d - s) q / 4 and s' = q s + (1 - q) d the error is q x^3 / (4 (1 -
q)), and the root -1 is never crossed for q >= 1/3, so that q = 1/3 is the most exact choice. The scheme is this
project's own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from rodflow.dynamics.lifted import Rod, from_consecutive, orbit_and_losses, seed
from rodflow.dynamics.optimizer_map import OptimizerMap, State
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.dynamics.rod_flow import kept, merge_auxiliary, observed


class Carry(NamedTuple):
    """The rod, the running mean of its bends, and whether there is none yet."""

    rod: Rod
    bend: Rod
    fresh: Bool[Array, ""]


class RodTwoStage(Process):
    """The rod flow by the scheme above.

    Auxiliary leaves come from Phi(Y) alone, so that a second moment stays positive.
    """

    gradients = 4

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Carry:
        rod = from_consecutive(optimizer, before, now, after)
        return Carry(rod, jax.tree.map(jnp.zeros_like, rod), jnp.asarray(True))

    def advance(
        self, optimizer: OptimizerMap, carry: Carry, key: Array
    ) -> tuple[Carry, Observation]:
        rod = seed(carry.rod, key)
        (y1, y2), losses = orbit_and_losses(optimizer, rod, 2)
        bend = jax.tree.map(lambda y, a, b: (y - a) + (b - a), rod, y1, y2)
        # The first step takes its own bend for the mean: smooth motion starts without a kink.
        mean = jax.tree.map(lambda s, d: jnp.where(carry.fresh, d, s), carry.bend, bend)
        corrected = jax.tree.map(lambda a, d, s: a + (d - s) / 12, y1, bend, mean)
        following = Carry(
            Rod(merge_auxiliary(optimizer, corrected.centre, y1.centre), corrected.extent),
            jax.tree.map(lambda s, d: (s + 2 * d) / 3, mean, bend),
            jnp.asarray(False),
        )
        return following, observed(optimizer, carry.rod, losses, self.gradients)

    def snapshot(self, optimizer: OptimizerMap, carry: Carry) -> Snapshot:
        return kept(carry.rod)
