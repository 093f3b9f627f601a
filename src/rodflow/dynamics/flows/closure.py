"""Covariance closure: the rod flow that keeps the covariance of consecutive steps instead of a signed half-extent.

With the mean of two consecutive states zbar = (z_t + z_{t+1}) / 2 and half their difference
delta = (z_{t+1} - z_t) / 2, a step of the optimizer z' = F(z) reads, with D(z) = (F(z) - z) / 2 and
D+- = D(zbar +- delta),

    zbar' = zbar + D+ + D-,        delta' = D+,        delta = D-.

The sign of delta alternates at the edge of stability, Sigma = delta (x) delta does not: its increment is
D+ (x) D+ - Sigma, or D+ (x) D+ + D- (x) D- - 2 Sigma, which does not depend on the sign either. As an ODE,

    d zbar / dt  = f - (1/2) Df[f],    f = D+ + D-,    D of f at fixed delta,
    d Sigma / dt = D+ (x) D+ + D- (x) D- - 2 Sigma,

with delta read off Sigma as its leading eigenvector times the root of its eigenvalue. For gradient descent these are

    d wbar / dt  = -(eta/2) (g+ + g-) - (eta^2/8) (H+ + H-) (g+ + g-),
    d Sigma / dt = (eta^2/4) (g+ (x) g+ + g- (x) g-) - 2 Sigma

of Regis and Chewi 2026 (arXiv 2602.01480). The form for any map, the metric in which an eigenvector leads, the
factored integrator, the start and the noise are ours.

What it cannot do. delta holds half the drift of a step besides the oscillation. While the drift is the longer of the
two it leads Sigma, D+- do not see the oscillation, and all that Sigma holds of it decays as exp(-2t), at the threshold
and beyond. So a rod whose oscillation has died out before the threshold is reached stays aligned with the gradient, and
the sharpness goes on rising, as along the stable flow, unless the drift's own component along the sharpest direction is
amplified first. This is known (Marion 2026, arXiv 2606.18080; Berthier 2026, arXiv 2609.01034) and seen on digits: the
closure crosses the threshold of gradient descent together with the run, and its rod does not open while that of the
lifted map does; more substeps or a higher rank change nothing. In the lifted map the drift is no part of X.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from rodflow.config.declarations import GRADIENTS, PRODUCTS, ROD, Flow
from rodflow.dynamics.flows.rod import relaxation
from rodflow.dynamics.lifted import (
    Losses,
    Rod,
    from_consecutive,
    merge_auxiliary,
    oscillating,
    seed,
)
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="The covariance closure, which keeps second moments of the oscillation.",
    label="covariance closure",
    short="closure",
    order=4,
    color="indigo",
    marker="v",
    dashes=(0, (5, 1.5, 1, 1.5)),
    series={**ROD, **GRADIENTS, **PRODUCTS},
)


class Closure(NamedTuple):
    """The mean zbar and Sigma as the sum of factor[k] (x) factor[k] over its rows k.

    The rows, a leading axis of every oscillating leaf, are orthogonal in the weights and the first is the longest:
    it is delta. A sum of squares is positive semidefinite whatever is done to the rows.
    """

    centre: State
    factor: PyTree

    @property
    def rod(self) -> Rod:
        """The rod from zbar - delta to zbar + delta."""
        return Rod(self.centre, jax.tree.map(lambda rows: rows[0], self.factor))


class Slope(NamedTuple):
    """f = D+ + D-, the rows D+ and D- of the source of Sigma, and the losses at the two ends."""

    centre: State
    source: PyTree
    losses: Losses


def slope(optimizer: OptimizerMap, rod: Rod) -> Slope:
    """What the two ends of the rod say: two gradients.

    D+ and D- are used as they are, so that a short rod loses no digits, as the difference of F at its ends would.

    Args:
        optimizer: the map F.
        rod: from zbar - delta to zbar + delta.
    """

    def half_step(state: State) -> tuple[Array, State]:
        loss, _, following = optimizer.evaluate(state)
        return loss, jax.tree.map(lambda a, b: (a - b) / 2, following, state)

    loss_plus, plus = half_step(rod.end(+1))
    loss_minus, minus = half_step(rod.end(-1))
    source = jax.tree.map(lambda *rows: jnp.stack(rows), plus, minus)
    return Slope(
        jax.tree.map(jnp.add, plus, minus), oscillating(optimizer, source), (loss_plus, loss_minus)
    )


def slope_and_correction(optimizer: OptimizerMap, rod: Rod) -> tuple[Slope, State]:
    """The slope, and -(1/2) Df[f] of the centre: two gradients, two Hessian-vector products.

    Auxiliary leaves have the correction of the rod flow (`relaxation`), with f + Df[f] for the increment to come.

    Args:
        optimizer: the map F.
        rod: from zbar - delta to zbar + delta.
    """
    here, linear = jax.linearize(
        lambda centre: slope(optimizer, Rod(centre, rod.extent)), rod.centre
    )
    # Where a second moment is 0 the derivative of its root is infinite: such a weight has had no gradient and moves
    # with none.
    change = jax.tree.map(lambda leaf: jnp.where(jnp.isnan(leaf), 0, leaf), linear(here.centre))
    bent = jax.tree.map(lambda leaf: -leaf / 2, change.centre)
    following = jax.tree.map(jnp.add, here.centre, change.centre)
    relaxed = relaxation(optimizer, rod.centre, here.centre, following)
    return here, merge_auxiliary(optimizer, bent, relaxed)


def vector_field(optimizer: OptimizerMap, closure: Closure) -> tuple[State, PyTree]:
    """The velocity d zbar / dt, and the rows of the source D+ (x) D+ + D- (x) D- of d Sigma / dt.

    Args:
        optimizer: the map F.
        closure: zbar and Sigma; of Sigma its leading row, delta, is used.
    """
    here, correction = slope_and_correction(optimizer, closure.rod)
    return jax.tree.map(jnp.add, here.centre, correction), here.source


def combine(rank: int, *parts: tuple[float, PyTree]) -> PyTree:
    """The factor of a sum of weight * (sum of squares of rows), of the `rank` largest eigenvalues.

    Which rows are the longest, and orthogonal to each other, is meant in the weights: the memory has other units,
    and with several leaves in one norm the answer would depend on them. The rows of the memory go along, so on
    what is kept Sigma is what it was, in memory too.

    Args:
        rank: how many rows the answer has; there have to be that many.
        parts: (weight, factor) pairs, no weight negative.
    """
    rows = jax.tree.map(
        lambda *leaves: jnp.concatenate(
            [w**0.5 * leaf for (w, _), leaf in zip(parts, leaves, strict=True)]
        ),
        *(factor for _, factor in parts),
    )
    _, vectors = jnp.linalg.eigh(rows.weights @ rows.weights.T)
    leading = vectors[:, ::-1][:, :rank].T
    return jax.tree.map(lambda leaf: jnp.tensordot(leading, leaf, 1), rows)


def _moved(state: State, dt: float, *velocities: tuple[float, State]) -> State:
    """The state moved for dt with a weighted sum of velocities."""
    for weight, velocity in velocities:
        state = jax.tree.map(lambda z, v, k=dt * weight: z + k * v, state, velocity)
    return state


class CovarianceClosure(Process):
    """The closure with Sigma of low rank, in `substeps` equal steps a unit of time.

    The method has three stages, at 0, 1/2 and 1 of a step h, of equal weights. On Sigma it is the optimal
    strong-stability-preserving method of second order (Spiteri and Ruuth 2002): each stage is a mean, with positive
    weights up to h = 1, of what Sigma was and of Euler steps

        Sigma + (h/2) (D+ (x) D+ + D- (x) D- - 2 Sigma) = (1 - h) Sigma + (h/2) (D+ (x) D+ + D- (x) D-),

    so Sigma stays positive semidefinite, and its factor is carried by stacking rows and dropping the shortest. It keeps
    the closure's fixed points. On the centre the last stage leans less on the second, 3/8 instead of 1/2, which gives
    the stability polynomial of `rodflow.dynamics.flows.rod.LongThirdStage` and, with the correction held through the
    step, the same factors for all modes. A step costs six gradients and two Hessian-vector products.

    The time of zbar_t is t + 1/2. The midpoint (z_{t-1} + 2 z_t + z_{t+1}) / 4, with which flows are compared, is
    (zbar_{t-1} + zbar_t) / 2 and belongs to t; so what is called step t here is the closure at the time between
    zbar_{t-1} and zbar_t, and starts, to second order in time, with the mean of both and of both Sigma.

    Rounding enters Sigma, as in `rodflow.dynamics.lifted.seed`, once a unit of time: noise n of the size of rounding as
    n (x) n, whose mean is the covariance of a step's rounding. It seeds a rod where nothing drifts, and does not help
    one that follows the drift: see above.

    Attributes:
        rank: of Sigma, at least 2.
        substeps: steps a unit of time.
    """

    rank: int = eqx.field(static=True, default=4)
    substeps: int = eqx.field(static=True, default=1)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Closure:
        # The mean of the squares of (z_t - z_{t-1}) / 2 and (z_{t+1} - z_t) / 2 has these two rows.
        centre, jump = from_consecutive(optimizer, before, now, after)
        drift = oscillating(optimizer, jax.tree.map(lambda a, b: (b - a) / 4, before, after))
        rows = jax.tree.map(lambda *leaves: jnp.stack(leaves), jump, drift)
        nothing = jax.tree.map(
            lambda leaf: jnp.zeros((self.rank, *leaf.shape[1:]), leaf.dtype), rows
        )
        return Closure(centre, combine(self.rank, (1.0, rows), (1.0, nothing)))

    def unit(self, optimizer: OptimizerMap, closure: Closure) -> Closure:
        """The closure one unit of time, a step of the optimizer, later, without noise.

        Args:
            optimizer: the map F.
            closure: zbar and Sigma.
        """
        return self.unit_and_losses(optimizer, closure)[0]

    def unit_and_losses(self, optimizer: OptimizerMap, closure: Closure) -> tuple[Closure, Losses]:
        """The same, and the losses at the ends at the start, which come with the first stage.

        Args:
            optimizer, closure: as for `unit`.
        """
        seen = []
        for _ in range(self.substeps):
            closure, losses = self._substep(optimizer, closure, 1.0 / self.substeps)
            seen.append(losses)
        return closure, seen[0]

    def _substep(
        self, optimizer: OptimizerMap, closure: Closure, dt: float
    ) -> tuple[Closure, Losses]:
        start, at_start = closure
        first, held = slope_and_correction(optimizer, closure.rod)

        factor = combine(self.rank, (1 - dt, at_start), (dt / 2, first.source))
        centre = _moved(start, dt, (1 / 2, first.centre), (1 / 2, held))
        second = slope(optimizer, Closure(centre, factor).rod)

        factor = combine(self.rank, (1 - dt, factor), (dt / 2, second.source))
        centre = _moved(start, dt, (5 / 8, first.centre), (3 / 8, second.centre), (1, held))
        third = slope(optimizer, Closure(centre, factor).rod)

        factor = combine(
            self.rank, (1 / 3, at_start), (2 / 3 * (1 - dt), factor), (dt / 3, third.source)
        )
        stages = ((1 / 3, stage.centre) for stage in (first, second, third))
        return Closure(_moved(start, dt, *stages, (1, held)), factor), first.losses

    def advance(
        self, optimizer: OptimizerMap, carry: Closure, key: Array
    ) -> tuple[Closure, Observation]:
        rod = carry.rod
        noise = seed(Rod(rod.centre, jax.tree.map(jnp.zeros_like, rod.extent)), key).extent
        rows = jax.tree.map(lambda leaf: leaf[None], noise)
        seeded = Closure(carry.centre, combine(self.rank, (1.0, carry.factor), (1.0, rows)))
        following, (loss_plus, loss_minus) = self.unit_and_losses(optimizer, seeded)
        seen = {
            "loss": optimizer.loss(rod.centre.weights),
            "loss_plus": loss_plus,
            "loss_minus": loss_minus,
            "rod_length": jnp.linalg.norm(rod.extent.weights),
            "gradients": jnp.asarray(6.0 * self.substeps),
            "hessian_products": jnp.asarray(2.0 * self.substeps),
        }
        return following, seen

    def snapshot(self, optimizer: OptimizerMap, carry: Closure) -> Snapshot:
        return {
            "weights": carry.centre.weights,
            "half_extent": carry.rod.extent.weights,
            "memory": carry.centre.memory,
            "memory_extent": carry.rod.extent.memory,
        }


process = CovarianceClosure
"""What the flow is made with."""
