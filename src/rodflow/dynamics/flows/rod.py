"""Rod flow: the ODE whose time-1 map is the lifted map to second order (backward error analysis).

With the lifted increment f(Y) = Phi(Y) - Y, Y = (Z, X), the modified equation is dY/dt = f - (1/2) Df[f]. The same
order without a derivative of F, from gradients only:

    dY/dt = f(Y) + c(Y),        c(Y) = (f(Y) - f(Y + f(Y))) / 2,

the derivative at time 0 of the parabola through Y, Phi(Y), Phi(Phi(Y)). Along a direction where F has eigenvalue J
the half-extent moves at rate -(1 + J) - (1 + J)^2 / 2, the second-order expansion of log(-J).

Source of the model: Regis and Chewi 2026 (arXiv 2605.06821); the derivative-free form, the relaxation of the
auxiliary leaves, the integrator and the seeding are ours.
"""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeAlias

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from rodflow.config.declarations import GRADIENTS, ROD, Flow
from rodflow.dynamics.lifted import (
    Losses,
    Rod,
    RodCarry,
    from_consecutive,
    merge_auxiliary,
    seed,
    stable_lifted_map_and_losses,
)
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="Rod flow as an ODE.",
    label="rod flow",
    short="rod",
    order=2,
    color="blue",
    marker="D",
    above=2.2,
    series={**ROD, **GRADIENTS},
)


def increment_and_losses(optimizer: OptimizerMap, rod: Rod) -> tuple[Rod, Losses]:
    """The lifted increment f(Y) = Phi(Y) - Y, two gradients, and the losses at the ends, which come with them.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X).
    """
    image, losses = stable_lifted_map_and_losses(optimizer, rod)
    return jax.tree.map(jnp.subtract, image, rod), losses


def increment(optimizer: OptimizerMap, rod: Rod) -> Rod:
    """The lifted increment f(Y) alone.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X).
    """
    return increment_and_losses(optimizer, rod)[0]


class Bent(NamedTuple):
    """What two lifted steps from Y give: c(Y) of backward error analysis, f(Y), and the losses at the ends of Y."""

    correction: Rod
    increment: Rod
    losses: Losses


def bent(optimizer: OptimizerMap, rod: Rod) -> Bent:
    """The term c(Y) of backward error analysis, for auxiliary leaves `relaxation`, and what comes with it.

    Four gradients, two at the ends of Y and two at those of Phi(Y).

    Args:
        optimizer: the map F.
        rod: Y = (Z, X).
    """

    def lifted(y: Rod, _: None) -> tuple[Rod, tuple[Rod, Losses]]:
        f, losses = increment_and_losses(optimizer, y)
        return jax.tree.map(jnp.add, y, f), (f, losses)

    _, (increments, (plus, minus)) = jax.lax.scan(lifted, rod, length=2)
    first, second = (jax.tree.map(lambda f, k=k: f[k], increments) for k in range(2))
    half = jax.tree.map(lambda a, b: (a - b) / 2, first, second)
    relaxed = relaxation(optimizer, rod.centre, first.centre, second.centre)
    correction = Rod(merge_auxiliary(optimizer, half.centre, relaxed), half.extent)
    return Bent(correction, first, (plus[0], minus[0]))


def vector_field(optimizer: OptimizerMap, rod: Rod) -> Rod:
    """dY/dt = f(Y) + c(Y) of the rod flow, a unit of time being a step of the optimizer; four gradients.

    Args:
        optimizer: the map F.
        rod: Y = (Z, X).
    """
    known = bent(optimizer, rod)
    return jax.tree.map(jnp.add, known.increment, known.correction)


def relaxation(optimizer: OptimizerMap, centre: State, first: State, second: State) -> State:
    """The correction of the auxiliary leaves: exact for a linear average, and it keeps a second moment positive.

    An average nu' = J nu + (1 - J) s of a source s relaxes by J a step. The ODE that agrees with it at whole steps,
    for a source that changes linearly in time, is

        d nu/dt = r f - k q,        r = log(J) / (J - 1),  k = (r - 1) / (1 - J),

    with f = nu' - nu and q = (1 - J) (s(t + 1) - s(t)) the part of the next increment that comes from the source. As
    J -> 1 (a count, a sum) r = 1 and k = 1/2, which is c(Y) again. Where the source more than doubles within a
    step, q is held at the source itself: extrapolation would make it negative, and nu with it.

    Args:
        optimizer: the map.
        centre: where, for its J: one derivative of the transformation, which costs no gradient.
        first, second: the increments f at Y and at Y + f(Y).

    Returns:
        A state whose memory holds the corrections; its weights mean nothing.
    """

    def correct(nu: Array, j: Array, f: Array, following: Array) -> Array:
        j = jnp.clip(
            j, 0.1, 1.0
        )  # below 0.1 (no optimizer in use) the rate would outrun the solver
        gap = jnp.maximum(1 - j, 1e-4)
        r = jnp.where(1 - j < 1e-4, 1.0, -jnp.log1p(-gap) / gap)
        k = jnp.where(1 - j < 1e-4, 0.5, (r - 1) / gap)
        source = f + (1 - j) * nu
        return (r - 1) * f - k * jnp.minimum(following - j * f, jnp.abs(source))

    decay = optimizer.decay(centre)
    corrections = jax.tree.map(correct, centre.memory, decay, first.memory, second.memory)
    return State(jnp.zeros_like(centre.weights), corrections)


Interpolation: TypeAlias = Callable[..., diffrax.AbstractLocalInterpolation]


class LongThirdStage(diffrax.AbstractERK):
    """Second-order explicit Runge-Kutta method of three stages, stability polynomial 1 + z + z^2/2 + z^3/16.

    Among such methods it has the longest real stability interval, 6.26. Nodes and weights are those of Heun's
    third-order method; the last stage leans less on the second.

    With c held over a unit step, a direction where the lifted map has eigenvalue J = 1 + x is multiplied by
    1 + x - 3 x^3 / 16 - x^4 / 32. This vanishes at J = -1, so that the redundant copies in the lifted state
    (sharp directions of Z, flat ones of X) are damped out, stays within the unit disc for -3 < J < 1 and for
    the complex pairs of a momentum mode, and differs from J by third order where motion is slow.
    """

    tableau: ClassVar[diffrax.ButcherTableau] = diffrax.ButcherTableau(
        c=np.array([1 / 3, 2 / 3]),
        a_lower=(np.array([1 / 3]), np.array([5 / 12, 1 / 4])),
        b_sol=np.array([1 / 4, 0.0, 3 / 4]),
        b_error=np.array([-3 / 4, 0.0, 3 / 4]),
    )
    interpolation_cls: ClassVar[Interpolation] = (
        diffrax.ThirdOrderHermitePolynomialInterpolation.from_k
    )

    def order(self, terms: PyTree) -> int:
        """Second order."""
        return 2


class RodProcess(Process):
    """What the two integrators of the rod flow share: its start, what it shows and what it keeps.

    The carry is a named tuple with the `centre` and `extent` of a rod, and what else the integrator remembers.
    """

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> RodCarry:
        return self.start(optimizer, from_consecutive(optimizer, before, now, after))

    @abc.abstractmethod
    def start(self, optimizer: OptimizerMap, rod: Rod) -> RodCarry:
        """The carry of a rod that is somewhere for the first time.

        Args:
            optimizer: the map that it follows.
            rod: Y = (Z, X), where it begins.
        """

    def unit(self, optimizer: OptimizerMap, carry: RodCarry) -> RodCarry:
        """The carry one unit of time, a step of the optimizer, later, without noise.

        Args:
            optimizer: the map that it follows.
            carry: the rod and what else the integrator remembers.
        """
        return self.unit_and_losses(optimizer, carry)[0]

    @abc.abstractmethod
    def unit_and_losses(self, optimizer: OptimizerMap, carry: RodCarry) -> tuple[RodCarry, Losses]:
        """The same, and the losses at the ends before, which come with the gradients there.

        Args:
            optimizer, carry: as for `unit`.
        """

    def advance(
        self, optimizer: OptimizerMap, carry: RodCarry, key: Array
    ) -> tuple[RodCarry, Observation]:
        following, losses = self.unit_and_losses(optimizer, seed(carry, key))
        weights, extent = carry.centre.weights, carry.extent.weights
        plus, minus = losses
        return following, {
            "loss": optimizer.loss(weights),
            "loss_plus": plus,
            "loss_minus": minus,
            "rod_length": jnp.linalg.norm(extent),
            "gradients": jnp.asarray(self.gradients, jnp.float32),
        }

    @property
    @abc.abstractmethod
    def gradients(self) -> int:
        """How many gradients a unit of time takes."""

    def snapshot(self, optimizer: OptimizerMap, carry: RodCarry) -> Snapshot:
        return {
            "weights": carry.centre.weights,
            "half_extent": carry.extent.weights,
            "memory": carry.centre.memory,
            "memory_extent": carry.extent.memory,
        }


class RodFlow(RodProcess):
    """The ODE, stepped with a diffrax solver in `substeps` equal steps a unit of time. Its carry is the rod alone.

    The correction c(Y) varies slowly and is of second order in the rates already; it is evaluated once a substep
    and held, at an error of the order that the ODE neglects. f(Y) at the start of a substep comes with it and is the
    solver's first stage, so eight gradients a unit of time at one substep. The step size is fixed because the seeding
    noise of every unit makes the solution rough.
    """

    solver: diffrax.AbstractSolver = LongThirdStage()
    substeps: int = eqx.field(static=True, default=1)

    @property
    def gradients(self) -> int:
        return 8 * self.substeps

    def start(self, optimizer: OptimizerMap, rod: Rod) -> Rod:
        return rod

    def unit_and_losses(self, optimizer: OptimizerMap, rod: Rod) -> tuple[Rod, Losses]:
        dt = 1.0 / self.substeps

        def field(time: float | Array | np.ndarray, y: Rod, known: Bent) -> Rod:
            f = jax.lax.cond(time > 0, lambda: increment(optimizer, y), lambda: known.increment)
            return jax.tree.map(jnp.add, f, known.correction)

        term = diffrax.ODETerm(field)

        def substep(rod: Rod, _: None) -> tuple[Rod, Losses]:
            known = bent(optimizer, rod)
            state = self.solver.init(term, 0.0, dt, rod, known)
            following = self.solver.step(term, 0.0, dt, rod, known, state, made_jump=False)[0]
            return following, known.losses

        rod, (plus, minus) = jax.lax.scan(substep, rod, length=self.substeps)
        return rod, (plus[0], minus[0])


process = RodFlow
"""What the flow is made with."""
