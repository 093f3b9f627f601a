"""Central flow: the time average of the iterates at the edge of stability, without their oscillation.

    dw/dt  = -P^{-1} ( grad L + (1/2) grad^3 L : Sigma ),
    dnu/dt = ((1 - b2) / b2) ( g^2 + diag(H Sigma H) - nu ),      0 <= Sigma  perp  2 P - H >= 0,

with P the preconditioner (1/eta for gradient descent, (sqrt(nu) + eps) / eta for RMSProp) and Sigma the covariance of
the oscillation: it lives in the span of the directions at the threshold, and is what keeps them there. Cohen et al.
2024 (arXiv 2410.24206). For optimizers without momentum, any optax transformation of which the weights are the only
oscillating leaf: P^{-1} is its step by gradient at fixed second moment, and the second moment follows the optimizer's
own rule with E g^2 in place of g^2.

In preconditioned coordinates A = P^{-1/2} H P^{-1/2} has eigenvectors u_k, and Sigma = V X V' with v_k = P^{-1/2} u_k.
The slack C = 2 - U' A U after a time dt is, to first order, C + dt dC/dt with dC/dt affine in X through dw/dt and
dP/dt. That it stays positive, X too, and that they are orthogonal, is a small semidefinite complementarity problem
(`complementarity`). What a step leaves undone is in the next one's slack. The form in which P follows any optimizer's
memory, the integrator and the number of directions that grows are ours.

Two Euler steps a unit of time: at a half no mode below the threshold overshoots (1 - eta S / 2 >= 0), and the one on it
takes its equilibrium at once. The products that a step costs are observed with it.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from rodflow.config.declarations import CENTRE, GRADIENTS, PRODUCTS, Flow, of
from rodflow.dynamics.lifted import from_consecutive, refuse_momentum
from rodflow.dynamics.process import Observation, Process, Snapshot
from rodflow.linalg import complementarity
from rodflow.linalg.eigensolver import dense_eigenpairs, largest_eigenpairs, random_guess
from rodflow.optimizers.linear_response import one_step_back
from rodflow.optimizers.optimizer_map import OptimizerMap, State

FLOW = Flow(
    title="Central flow: the time average of the iterates.",
    label="central flow",
    short="central",
    order=5,
    color="green",
    dashes=(0, (6, 1)),
    above=2.25,
    series={**CENTRE, **GRADIENTS, **PRODUCTS},
    supports=of("gd", "rmsprop_scalar", "rmsprop"),
    why="is built for gradient descent and RMSProp",
)


GUARDS = 2
"""Directions that are tracked besides those that count, so that these converge fast and the next is seen coming."""


def guards(tracked: int, parameters: int) -> int:
    """How many of the tracked directions are guards; where there is no other direction none is needed.

    Args:
        tracked: how many directions are tracked.
        parameters: how many weights, and so directions, there are.
    """
    return GUARDS if tracked < parameters else 0


class Central(NamedTuple):
    """The state, the tracked eigenvectors of the preconditioned Hessian, and how many are near the threshold."""

    state: State
    directions: Float[Array, "parameter direction"]
    near: Int[Array, ""]


class Sight(NamedTuple):
    """What is known at one place: gradient, s = P^{-1/2}, tracked eigenpairs of A, and the products it took."""

    loss: Float[Array, ""]
    gradient: Float[Array, " parameter"]
    scale: Float[Array, " parameter"]
    values: Float[Array, " direction"]
    vectors: Float[Array, "parameter direction"]
    products: Int[Array, ""]

    @property
    def inverse_scale(self) -> Float[Array, " parameter"]:
        """P^{1/2}, zero where a weight has never moved and s is zero."""
        return jnp.where(self.scale > 0, 1 / self.scale, 0)


class CentralFlow(Process):
    """The flow, by Euler steps.

    Attributes:
        substeps: a unit of time.
        window: how far below the threshold, relative to it, a direction takes part in the complementarity problem.
        tolerance: relative residual of the tracked eigenvectors.
        first, most: how many directions are tracked at first, and at most. When those near the threshold use them
            up the number is doubled between two snapshots.
        regularised: with the curvature term (1/2) grad^3 L : Sigma; without it the second moment alone keeps
            the sharpness at the threshold.

    The status of a run says from which step on a direction crosses the threshold without taking part, or a
    complementarity problem is not solved.
    """

    substeps: int = eqx.field(static=True, default=2)
    window: float = 0.1
    tolerance: float = 5e-3
    first: int = eqx.field(static=True, default=4)
    most: int = eqx.field(static=True, default=32)
    regularised: bool = eqx.field(static=True, default=True)

    def begin(self, optimizer: OptimizerMap, before: State, now: State, after: State) -> Central:
        refuse_momentum(optimizer, "central flow")
        parameters = now.weights.size
        centre = from_consecutive(optimizer, before, now, after).centre
        guess = random_guess(jax.random.key(0), parameters, min(self.first, parameters))
        seen = self._look(optimizer, centre, guess.astype(centre.weights.dtype), max_blocks=200)
        return Central(centre, seen.vectors, jnp.asarray(0))

    def advance(
        self, optimizer: OptimizerMap, carry: Central, key: Array
    ) -> tuple[Central, Observation]:
        del key

        def substep(carry: Central, _: None) -> tuple[Central, Observation]:
            return self._substep(optimizer, carry, 1 / self.substeps)

        following, seen = jax.lax.scan(substep, carry, length=self.substeps)
        counts = ("unsolved", "gradients", "hessian_products", "third_derivatives")
        return following, {
            name: jnp.sum(values) if name in counts else values[0] for name, values in seen.items()
        }

    def snapshot(self, optimizer: OptimizerMap, carry: Central) -> Snapshot:
        return {"weights": carry.state.weights, "memory": carry.state.memory}

    def adapt(self, optimizer: OptimizerMap, carry: Central) -> Central:
        parameters, tracked = carry.directions.shape
        wanted = min(2 * tracked, self.most, parameters)
        if int(carry.near) < tracked - guards(tracked, parameters) or wanted <= tracked:
            return carry
        fill = random_guess(jax.random.key(tracked), parameters, wanted - tracked)
        directions = jnp.concatenate([carry.directions, fill.astype(carry.directions.dtype)], 1)
        return carry._replace(directions=jnp.linalg.qr(directions)[0])

    def remark(self, series: dict[str, np.ndarray], steps: np.ndarray) -> str:
        words = []
        for name, what in (
            ("untracked", "more directions at the threshold than tracked"),
            ("unsolved", "complementarity problem not solved"),
        ):
            bad = np.flatnonzero(series[name] > 0)
            if bad.size:
                words.append(f"{what} at {bad.size} steps from step {int(steps[bad[0]])} on")
        return "; ".join(words)

    def _look(
        self, optimizer: OptimizerMap, state: State, guess: Array, max_blocks: int = 4
    ) -> Sight:
        scale = jnp.sqrt(inverse_preconditioner(optimizer, state))
        (loss, gradient), derivative = jax.linearize(
            jax.value_and_grad(optimizer.loss), state.weights
        )

        def product(block: Array) -> Array:
            return jax.lax.map(lambda u: scale * derivative(scale * u)[1], block.T).T

        parameters, tracked = guess.shape
        if 3 * tracked > parameters:
            found = dense_eigenpairs(product, guess)
        else:
            found = largest_eigenpairs(
                product, guess, self.tolerance, count=tracked - GUARDS, max_blocks=max_blocks
            )
        return Sight(loss, gradient, scale, found.values, found.vectors, found.products)

    def _substep(
        self, optimizer: OptimizerMap, carry: Central, dt: float
    ) -> tuple[Central, Observation]:
        state = carry.state
        seen = self._look(optimizer, state, carry.directions)
        tracked = seen.values.size
        first, second = complementarity.pairs(tracked)
        multiplicity = jnp.where(first == second, 1, 2)
        near = jnp.sum(seen.values > 2 * (1 - self.window))
        free = tracked - guards(tracked, state.weights.size)
        active = jnp.minimum(near, free)
        count = active * (active + 1) // 2

        # H v_k = P^{1/2} A u_k = value u_k / s; where a weight has never moved s and v are zero.
        images = (seen.values * seen.vectors) * seen.inverse_scale[:, None]
        along = seen.vectors * seen.scale[:, None]
        bend = third_derivatives(optimizer.loss, state.weights, along, count)
        force = bend / 2 if self.regularised else jnp.zeros_like(bend)

        def source(matrix: Array) -> Array:
            """E g^2 = g^2 + diag(H Sigma H)."""
            squares = jnp.sum((images @ symmetric(matrix, tracked)) * images, axis=1)
            return seen.gradient**2 + jnp.maximum(squares, 0)

        def motion(matrix: Array) -> State:
            """dw/dt and d memory/dt."""
            push = (matrix * multiplicity) @ force
            return State(
                -(seen.scale**2) * (seen.gradient + push),
                memory_rate(optimizer, state, source(matrix)),
            )

        nothing = jnp.zeros(len(first), seen.gradient.dtype)
        constant = jnp.where(first == second, 2 - seen.values[first], 0)
        rate, linear = self._slack_rates(optimizer, state, seen, bend, force, motion, count)
        solution = complementarity.solve(constant + dt * rate, dt * linear, active)
        matrix = jnp.where(jnp.arange(len(nothing)) < count, solution.matrix, 0)

        moving = motion(matrix)
        following = jax.tree.map(lambda x, v: x + dt * v, state, moving)
        oscillation = matrix * multiplicity
        # tr Sigma, <H, Sigma> and tr H Sigma H.
        spread = jnp.sum(oscillation * jnp.sum(along[:, first] * along[:, second], axis=0))
        sharp = jnp.sum(jnp.where(first == second, matrix * seen.values[first], 0))
        observed = {
            "loss": seen.loss,
            "averaged_loss": seen.loss + sharp / 2,
            "averaged_squared_gradient": jnp.sum(source(matrix)),
            "oscillation": jnp.sqrt(jnp.maximum(spread, 0)),
            **variances(symmetric(matrix, tracked)),
            "tracked": near.astype(spread.dtype),
            # At the threshold, to the accuracy of the eigenvalue: the flow may hold in turn whichever leads.
            "untracked": jnp.any(seen.values[free:] > 2 * 0.99).astype(spread.dtype),
            "unsolved": 1.0 - solution.solved,
            "gradients": jnp.ones_like(spread),
            "hessian_products": seen.products.astype(spread.dtype),
            "third_derivatives": count.astype(spread.dtype),
        }
        return Central(following, seen.vectors, near), observed

    def _slack_rates(
        self,
        optimizer: OptimizerMap,
        state: State,
        seen: Sight,
        bend: Array,
        force: Array,
        motion: Callable[[Array], State],
        count: Array,
    ) -> tuple[Float[Array, " pair"], Float[Array, "pair pair"]]:
        """dC/dt = rate + linear X, with C = 2 - U' A U at fixed U.

        From dw/dt through third derivatives and from dP/dt through rho = d log s / dt:
        dC_ij = -bend_ij . dw/dt - rho . (u_i A u_j + u_j A u_i).
        """
        first, second = complementarity.pairs(seen.values.size)
        nothing = jnp.zeros(len(first), seen.gradient.dtype)
        still = motion(nothing)
        rate = -bend @ still.weights
        linear = bend @ (seen.scale[:, None] ** 2 * force.T)
        if not jax.tree.leaves(state.memory):
            return rate, linear
        both = seen.vectors[:, first] * seen.vectors[:, second]
        overlaps = both * (seen.values[first] + seen.values[second])

        def rho(memory: PyTree) -> Array:
            squared, change = jax.jvp(
                lambda m: inverse_preconditioner(optimizer, state._replace(memory=m)),
                (state.memory,),
                (memory,),
            )
            return jnp.where(squared > 0, change / squared / 2, 0)

        # Near the threshold H v = 2 P v, which makes the dependence on X symmetric.
        squares = 4 * both * seen.inverse_scale[:, None] ** 2
        steady = memory_rate(optimizer, state, seen.gradient**2)

        def response(index: Array, rows: Array) -> Array:
            more = memory_change(optimizer, state, squares[:, index])
            return rows.at[index].set(rho(more))

        rows = jax.lax.fori_loop(0, count, response, jnp.zeros_like(bend))
        return rate - overlaps.T @ rho(steady), linear - overlaps.T @ rows.T


def symmetric(entries: Float[Array, " pair"], rows: int) -> Float[Array, "direction direction"]:
    """The symmetric matrix with these entries.

    Args:
        entries: the upper triangle, in the order of `rodflow.linalg.complementarity.pairs`.
        rows: of the matrix, one a tracked direction.
    """
    first, second = complementarity.pairs(rows)
    full = jnp.zeros((rows, rows), entries.dtype)
    return full.at[first, second].set(entries).at[second, first].set(entries)


def variances(covariance: Float[Array, "direction direction"]) -> Observation:
    """The three largest eigenvalues of X, by name; zero beyond its size."""
    values = jnp.linalg.eigvalsh(covariance)[::-1]
    three = jnp.concatenate([values, jnp.zeros(3, values.dtype)])[:3]
    return {f"variance_{rank}": value for rank, value in enumerate(three, start=1)}


def inverse_preconditioner(optimizer: OptimizerMap, state: State) -> Float[Array, " parameter"]:
    """P^{-1}: the step by gradient at the second moment of this state, one number a weight.

    Zero for a weight that has never seen a gradient, which will not move.

    Args:
        optimizer: the map, without momentum.
        state: its auxiliary leaves are those that the step uses; its weights are not looked at.
    """
    memory = one_step_back(optimizer, state).memory
    still = jnp.zeros_like(state.weights)
    _, step = jax.jvp(
        lambda gradient: optimizer.transformation.update(gradient, memory, still)[0],
        (still,),
        (jnp.ones_like(still),),
    )
    return jnp.where(jnp.isfinite(step), -step, 0)


def memory_rate(optimizer: OptimizerMap, state: State, square: Array) -> PyTree:
    """The memory's rate at a mean squared gradient, the step over the decay: ((1 - b2) / b2) (E g^2 - nu).

    Args:
        optimizer: the map, without momentum.
        state: its memory is nu.
        square: E g^2, one number a weight, not negative.

    Returns:
        The change in a unit of time, of the structure of the memory.
    """
    following = optimizer.update(state, jnp.sqrt(square)).memory
    return jax.tree.map(
        lambda new, old, j: (new - old) / j, following, state.memory, optimizer.decay(state)
    )


def memory_change(optimizer: OptimizerMap, state: State, square: Array) -> PyTree:
    """How `memory_rate`, which is affine in the mean squared gradient, changes with it.

    Args:
        optimizer, state: as for `memory_rate`.
        square: the change of E g^2, one number a weight, of either sign.
    """
    size = jnp.maximum(jnp.max(jnp.abs(square)), jnp.finfo(square.dtype).tiny)
    # A second moment is even in the gradient: two of them, for the positive and the negative part.
    parts = [jnp.maximum(sign * square / size, 0) for sign in (1, -1)]
    up, down = (optimizer.update(state, jnp.sqrt(part)).memory for part in parts)
    return jax.tree.map(lambda a, b, j: (a - b) * size / j, up, down, optimizer.decay(state))


def third_derivatives(
    loss: Callable[[Array], Array],
    weights: Float[Array, " parameter"],
    vectors: Float[Array, "parameter k"],
    count: Int[Array, ""],
) -> Float[Array, "pair parameter"]:
    """grad^3 L [v_i, v_j] of the first `count` pairs i <= j, forward over forward over reverse; zero for the rest.

    Args:
        loss: L, of the flat weights.
        weights: where.
        vectors: the v_k, as columns.
        count: how many pairs, in the order of `rodflow.linalg.complementarity.pairs`.
    """
    first, second = (jnp.asarray(index) for index in complementarity.pairs(vectors.shape[1]))

    def along(direction: Array, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
        return lambda w: jax.jvp(function, (w,), (direction,))[1]

    def one(index: Array, found: Array) -> Array:
        i, j = vectors[:, first[index]], vectors[:, second[index]]
        return found.at[index].set(along(j, along(i, jax.grad(loss)))(weights))

    return jax.lax.fori_loop(0, count, one, jnp.zeros((len(first), weights.size), weights.dtype))


process = CentralFlow
"""What the flow is made with."""
