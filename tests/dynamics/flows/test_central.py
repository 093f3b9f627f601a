"""The central flow: closed forms at the threshold, its terms from dense derivatives, its order, what it refuses."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

from representatives import now
from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.flows.central import (
    Central,
    CentralFlow,
    inverse_preconditioner,
    memory_change,
    memory_rate,
    third_derivatives,
)
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, State, optimizer_map
from rodflow.optimizers.table import TABLE
from small import WEIGHTS, double_precision, jit, network_loss


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


# A ridge whose curvature is a function of place: known at the threshold.

FLAT = np.linspace(0.1, 0.3, 10)
PLACE, ACROSS = slice(0, 3), slice(3, 5)


class Ridge(eqx.Module):
    """y' A(x) y / 2 - c . x + a flat parabola, A(x) = A_0 + sum_k x_k B_k: at y = 0 the Hessian's block in y is A(x).

    So dA/dt = eta sum_k B_k (c_k - <B_k, Sigma> / 2), and with B_k a basis of symmetric matrices, Sigma is known where
    both directions are at the threshold.
    """

    curvature: Array
    bending: Array
    slope: Array

    def __call__(self, w):
        y = w[ACROSS]
        curvature = self.curvature + jnp.tensordot(w[PLACE], self.bending, 1)
        return y @ curvature @ y / 2 - self.slope @ w[PLACE] + jnp.sum(FLAT * w[5:] ** 2) / 2


BASIS = np.array([[[1.0, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [1, 0]]])
SIGMA = np.array([[0.15, 0.05], [0.05, 0.1]])


def ridge(curvature, slope, bending=BASIS) -> OptimizerMap:
    """Gradient descent at learning rate 1 on it."""
    parts = (jnp.asarray(part, float) for part in (curvature, bending, slope))
    return OptimizerMap(Ridge(*parts), optax.sgd(1.0), (True,))


def carry_at(optimizer: OptimizerMap, weights, tracked: int = 4) -> Central:
    state = optimizer.initial(jnp.asarray(weights, float))
    guess = np.random.default_rng(1).standard_normal((len(weights), tracked))
    return Central(state, jnp.asarray(np.linalg.qr(guess)[0]), jnp.asarray(0))


ON_TOP = np.array([0.0] * 5 + [0.5] * 10)


@jit
def twenty(process, optimizer, carry):
    """After twenty units of time, the weights before each, and what is seen there."""

    def advance(carry, _):
        following, seen = process.advance(optimizer, carry, jax.random.key(0))
        return following, (carry.state.weights, seen)

    return jax.lax.scan(advance, carry, length=20)


def sixty(process, optimizer, carry, adapting=False):
    """Weights before each of sixty units of time and what is seen there, with `adapt` after every twenty or not."""
    parts = []
    for _ in range(3):
        carry, part = twenty(process, optimizer, carry)
        parts.append(part)
        carry = process.adapt(optimizer, carry) if adapting else carry
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


EXACT = CentralFlow(tolerance=1e-9)
"""With eigenvectors as good as they get; a residual of 5e-3 leaves 1e-5 in the sharpness."""


def sharpness(optimizer: OptimizerMap, weights) -> np.ndarray:
    """The eigenvalues of A(x) at each place, in rising order."""
    blocks = optimizer.loss.curvature + np.tensordot(weights[:, PLACE], optimizer.loss.bending, 1)
    return np.linalg.eigvalsh(blocks)


def test_below_the_threshold_it_is_gradient_flow_in_two_euler_steps_without_oscillation():
    optimizer = ridge(np.diag([1.9, 0.7]), np.zeros(3), 0 * BASIS)
    start = np.random.default_rng(0).standard_normal(15)
    weights, seen = sixty(EXACT, optimizer, carry_at(optimizer, start))
    curvatures = np.array([0, 0, 0, 1.9, 0.7, *FLAT])
    expected = start * (1 - curvatures / 2) ** (2 * np.arange(60)[:, None])
    np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(seen["tracked"], np.ones(60))  # 1.9 is near the threshold
    np.testing.assert_array_equal(seen["oscillation"], np.zeros(60))
    np.testing.assert_array_equal(seen["averaged_loss"], seen["loss"])
    np.testing.assert_allclose(seen["loss"], expected**2 @ curvatures / 2, rtol=1e-9)


@pytest.fixture(scope="module")
def one_direction(float64):
    """Curvature 1 + x across the ridge, and a slope of 0.1 along it."""
    optimizer = ridge(np.diag([1.0, 0.1]), [0.1, 0, 0])
    return optimizer, *sixty(EXACT, optimizer, carry_at(optimizer, ON_TOP))


def test_sharpness_rises_as_along_gradient_flow_and_stays_at_the_threshold(one_direction):
    optimizer, weights, _ = one_direction
    expected = np.minimum(1 + 0.1 * np.arange(60), 2)
    np.testing.assert_allclose(sharpness(optimizer, weights)[:, -1], expected, atol=1e-9)


def test_covariance_at_the_threshold_is_what_stops_the_drift(one_direction):
    """dx/dt = eta (c - b Sigma / 2) = 0."""
    _, _, seen = one_direction
    at = slice(11, None)
    np.testing.assert_allclose(seen["oscillation"][at] ** 2, 2 * 0.1, rtol=1e-7)
    rise = seen["averaged_loss"][at] - seen["loss"][at]
    np.testing.assert_allclose(rise, 2 * 0.2 / 2, rtol=1e-7)
    assert np.all(seen["oscillation"][:9] == 0)


@pytest.fixture(scope="module")
def two_directions(float64):
    """The slope along the ridge is such that SIGMA stops the drift."""
    slope = np.einsum("kij,ij->k", BASIS, SIGMA) / 2
    optimizer = ridge([[1.2, 0.1], [0.1, 0.8]], slope)
    return optimizer, *sixty(EXACT, optimizer, carry_at(optimizer, ON_TOP))


def test_two_directions_that_cross_one_after_the_other_are_both_held(two_directions):
    optimizer, weights, seen = two_directions
    lower, upper = sharpness(optimizer, weights).T
    crossed = int(np.argmax(seen["oscillation"] > 0)) + 1
    both = int(np.argmax(lower > 2 - 1e-3)) + 1
    assert 3 < crossed < both - 3 < 50
    assert np.all(upper[:crossed] <= 2 + 1e-3)
    np.testing.assert_allclose(upper[crossed:], 2, atol=1e-3)  # it turns while the other rises
    np.testing.assert_allclose([lower[both:], upper[both:]], 2, atol=1e-8)
    assert np.all(seen["tracked"][both:] == 2)
    np.testing.assert_array_equal(seen["unsolved"] + seen["untracked"], np.zeros(60))


def test_covariance_of_two_directions_is_the_matrix_that_stops_the_drift(two_directions):
    """That the three places stand still fixes the three entries of Sigma; its trace and eigenvalues are shown."""
    _, weights, seen = two_directions
    np.testing.assert_allclose(np.diff(weights[-10:, PLACE], axis=0), 0, atol=1e-10)
    shown = np.transpose([seen[f"variance_{rank}"][-10:] for rank in (1, 2, 3)])
    expected = [*np.linalg.eigvalsh(SIGMA)[::-1], 0]
    np.testing.assert_allclose(shown, np.tile(expected, (10, 1)), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(seen["oscillation"][-10:] ** 2, np.trace(SIGMA), rtol=1e-9)


def test_averages_over_the_oscillation_are_those_of_the_dense_hessian(two_directions):
    optimizer, weights, seen = two_directions
    w = weights[-1]
    dense, gradient = jit(jax.hessian(optimizer.loss))(w), jit(jax.grad(optimizer.loss))(w)
    sigma = np.zeros((15, 15))
    sigma[ACROSS, ACROSS] = SIGMA
    loss = float(optimizer.loss(w)) + np.trace(dense @ sigma) / 2
    square = gradient @ gradient + np.trace(dense @ sigma @ dense)
    assert float(seen["averaged_loss"][-1]) == pytest.approx(loss, rel=1e-9)
    assert float(seen["averaged_squared_gradient"][-1]) == pytest.approx(float(square), rel=1e-9)


def test_untracked_crossing_is_seen_and_remarked():
    """Of three tracked directions one may take part; here are two, of which one goes away."""
    optimizer = ridge([[2.3, 0], [0, 2.2]], [0.0, -0.02, 0.0])
    process = CentralFlow(first=3, tolerance=1e-9)
    weights, seen = sixty(process, optimizer, carry_at(optimizer, ON_TOP, tracked=3))
    above = sharpness(optimizer, weights)[:, 0] > 2 * 0.99  # at the threshold, or beyond
    np.testing.assert_array_equal(seen["untracked"], above)
    assert 0 < above.sum() < 60
    said = process.remark(seen, 100 + np.arange(60))
    first, count = 100 + int(np.argmax(above)), int(above.sum())
    assert (
        said
        == f"more directions at the threshold than tracked at {count} steps from step {first} on"
    )


@pytest.mark.slow
def test_problem_that_is_not_solved_is_seen_and_remarked():
    """Nothing can move a parabola above the threshold below it."""
    optimizer, process = ridge(np.diag([2.1, 1.0]), np.zeros(3), 0 * BASIS), CentralFlow()
    _, seen = sixty(process, optimizer, carry_at(optimizer, ON_TOP))
    assert seen["unsolved"][0] > 0
    assert np.all(np.isnan(seen["loss"][1:]))  # and it goes nowhere
    said = process.remark(seen, np.arange(60))
    assert said == "complementarity problem not solved at 1 steps from step 0 on"


def test_a_run_without_incident_has_no_remark(one_direction):
    _, _, seen = one_direction
    assert CentralFlow().remark(seen, np.arange(60)) == ""


# The number of directions.


@pytest.mark.parametrize(
    ("tracked", "near", "most", "parameters", "expected"),
    [
        (4, 1, 32, 60, 4),  # one to spare
        (4, 2, 32, 60, 8),
        (4, 4, 32, 60, 8),
        (4, 2, 6, 60, 6),
        (4, 2, 32, 15, 8),
        (4, 2, 32, 7, 7),  # all there are
        (4, 4, 4, 60, 4),
    ],
)
def test_directions_double_when_those_near_the_threshold_leave_none_to_spare(
    tracked, near, most, parameters, expected
):
    optimizer = OptimizerMap(jnp.sum, optax.sgd(1.0), (True,))
    before = carry_at(optimizer, np.zeros(parameters), tracked)
    before = before._replace(near=jnp.asarray(near))
    after = CentralFlow(most=most).adapt(optimizer, before).directions
    assert after.shape == (parameters, expected)
    np.testing.assert_allclose(after.T @ after, np.eye(expected), atol=1e-13)
    kept = np.abs(np.sum(after[:, :tracked] * before.directions, axis=0))
    np.testing.assert_allclose(kept, 1, rtol=1e-13)


@pytest.mark.slow
def test_with_more_directions_between_two_chunks_the_next_one_crosses_tracked(two_directions):
    optimizer, weights, expected = two_directions
    carry = carry_at(optimizer, ON_TOP, tracked=3)
    found, seen = sixty(CentralFlow(first=3, tolerance=1e-9), optimizer, carry, adapting=True)
    np.testing.assert_array_equal(seen["untracked"], np.zeros(60))
    np.testing.assert_allclose(found, weights, atol=1e-7)
    np.testing.assert_allclose(seen["oscillation"], expected["oscillation"], atol=1e-7)


# Terms, against dense derivatives of a tanh network.


@pytest.fixture(scope="module")
def dense(float64):
    """Gradient, Hessian and third derivatives of the network's loss."""
    derivatives = (jax.grad(network_loss), jax.hessian(network_loss))
    third = jax.jacfwd(jax.hessian(network_loss))
    return jit(lambda w: (*(d(w) for d in derivatives), third(w)))


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_third_derivatives_are_those_of_the_hessian_for_the_pairs_that_count(count, dense):
    vectors = np.random.default_rng(3).standard_normal((16, 3))
    found = jit(third_derivatives, static_argnums=0)(network_loss, WEIGHTS, vectors, count)
    every = np.einsum("pqr,pi,qj->ijr", dense(WEIGHTS)[2], vectors, vectors)
    expected = every[[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
    expected[count:] = 0
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


CHOSEN = {
    "gd": {"learning_rate": 0.3},
    "rmsprop_scalar": {"learning_rate": 0.03, "b2": 0.95, "eps": 1e-2},
    "rmsprop": {"learning_rate": 0.03, "b2": 0.95, "eps": 1e-2},
}


@pytest.fixture(scope="module", params=CHOSEN)
def trained(request, float64):
    """Each optimizer without momentum by name, and its state after three steps."""
    optimizer = optimizer_map(
        network_loss, TABLE[request.param].build(**CHOSEN[request.param]), WEIGHTS
    )
    start = optimizer.initial(jnp.asarray(WEIGHTS))
    state = jit(lambda z: jax.lax.fori_loop(0, 3, lambda _, z: optimizer(z), z))(start)
    return request.param, optimizer, state


def test_inverse_preconditioner_is_that_of_the_table(trained):
    name, optimizer, state = trained
    row, chosen = TABLE[name], CHOSEN[name]
    table = row.preconditioner(row.second_moment(state.memory, **chosen), **chosen)
    expected = np.broadcast_to(chosen["learning_rate"] / table, 16)
    found = jit(lambda state: inverse_preconditioner(optimizer, state))(state)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


SQUARE = np.random.default_rng(4).uniform(0, 3, 16)


def moments(name: str, square) -> np.ndarray:
    """What enters the second moment: of each weight, or of all of them."""
    return square.sum() if name == "rmsprop_scalar" else square


def test_memory_relaxes_to_the_mean_squared_gradient_at_the_optimizers_rate(trained):
    name, optimizer, state = trained
    found = jit(lambda *given: memory_rate(optimizer, *given))(state, SQUARE)
    if name == "gd":
        assert not jax.tree.leaves(found)
        return
    nu, b2 = optax.tree_utils.tree_get(state.memory, "nu"), CHOSEN[name]["b2"]
    expected = (1 - b2) / b2 * (moments(name, SQUARE) - nu)
    np.testing.assert_allclose(optax.tree_utils.tree_get(found, "nu"), expected, rtol=1e-12)
    assert optax.tree_utils.tree_get(found, "count") == pytest.approx(1, rel=1e-14)


def test_memory_change_is_the_derivative_of_its_rate(trained):
    name, optimizer, state = trained
    change = np.random.default_rng(5).standard_normal(16)  # of both signs
    found = jit(lambda *given: memory_change(optimizer, *given))(state, change)
    if name == "gd":
        assert not jax.tree.leaves(found)
        return
    b2 = CHOSEN[name]["b2"]
    nu = optax.tree_utils.tree_get(found, "nu")
    np.testing.assert_allclose(nu, (1 - b2) / b2 * moments(name, change), rtol=1e-12)
    assert optax.tree_utils.tree_get(found, "count") == 0

    @jit
    def derivative(square, change):
        rate = lambda s: optax.tree_utils.tree_get(memory_rate(optimizer, state, s), "nu")  # noqa: E731
        return jax.jvp(rate, (square,), (change,))[1]

    np.testing.assert_allclose(nu, derivative(SQUARE, change), rtol=1e-10)


def test_a_weight_that_has_never_seen_a_gradient_does_not_move():
    optimizer = optimizer_map(
        lambda w: w[0] ** 2 / 2, TABLE["rmsprop"].build(**CHOSEN["rmsprop"]), jnp.ones(2)
    )
    found = jit(lambda state: inverse_preconditioner(optimizer, optimizer(optimizer(state))))(
        optimizer.initial(jnp.ones(2))
    )
    assert found[0] > 0
    assert found[1] == 0


# RMSProp on the network, past its threshold.


class Path:
    """Sixteen units of time of a flow, in half units, from shortly before the threshold."""

    def __init__(self, process: CentralFlow):
        self.optimizer = optimizer_map(
            network_loss, TABLE["rmsprop"].build(**CHOSEN["rmsprop"]), WEIGHTS
        )
        self.begin = jit(lambda *states: process.begin(self.optimizer, *states))
        self.step = jit(lambda carry, dt: process._substep(self.optimizer, carry, dt))
        step, states = jit(self.optimizer.__call__), [self.optimizer.initial(jnp.asarray(WEIGHTS))]
        for _ in range(56):
            states.append(step(states[-1]))
        self.states = states[-3:]
        self.carries, self.seen = [self.begin(*self.states)], []
        for _ in range(32):
            carry, seen = self.step(self.carries[-1], 0.5)
            self.carries.append(carry)
            self.seen.append(seen)
        self.crossed = next(k for k, seen in enumerate(self.seen) if seen["oscillation"] > 0)


@pytest.fixture(scope="module")
def path(float64):
    return Path(CentralFlow())


@pytest.fixture(scope="module")
def path_without_curvature(float64):
    return Path(CentralFlow(regularised=False))


def preconditioned(state: State, hessian):
    """Eigenvalues and eigenvectors of P^{-1/2} H P^{-1/2} in rising order, and P^{-1}, from the table's formula."""
    row, chosen = TABLE["rmsprop"], CHOSEN["rmsprop"]
    p = row.preconditioner(row.second_moment(state.memory, **chosen), **chosen)
    inverse = np.asarray(chosen["learning_rate"] / p)
    scale = np.sqrt(inverse)
    return *np.linalg.eigh(scale[:, None] * np.asarray(hessian) * scale), inverse


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["path", "path_without_curvature"])
def test_preconditioned_sharpness_of_rmsprop_stays_at_two(flow, request, dense):
    path = request.getfixturevalue(flow)
    values = np.array(
        [preconditioned(c.state, dense(c.state.weights)[1])[0][-1] for c in path.carries]
    )
    assert 2 < path.crossed < 12
    assert np.all(values[: path.crossed] < 2)
    np.testing.assert_allclose(values[path.crossed + 2 :], 2, atol=1e-3)


def test_it_starts_at_the_midpoint_with_the_leading_eigenvectors(path, dense):
    before, now, after = path.states
    carry = path.carries[0]
    midpoint = (before.weights + 2 * now.weights + after.weights) / 4
    np.testing.assert_allclose(carry.state.weights, midpoint, rtol=1e-14)
    _, vectors, _ = preconditioned(carry.state, dense(carry.state.weights)[1])
    overlap = np.abs(np.asarray(carry.directions[:, 0]) @ vectors[:, -1])
    assert overlap == pytest.approx(1, abs=1e-4)


@pytest.fixture(scope="module", params=now(["path", "path_without_curvature"], "path"))
def moved(request, dense):
    """A step at the threshold with one direction, from dense derivatives and the size of Sigma that the step shows."""
    path = request.getfixturevalue(request.param)
    at = path.crossed + 8
    before, after, seen = path.carries[at], path.carries[at + 1], path.seen[at]
    gradient, hessian, third = dense(before.state.weights)
    values, vectors, inverse = preconditioned(before.state, hessian)
    v = np.sqrt(inverse) * vectors[:, -1]
    size = 2 * float(seen["averaged_loss"] - seen["loss"]) / values[-1]
    assert size > 0
    sigma = size * np.outer(v, v)
    return (
        request.param,
        before.state,
        after.state,
        seen,
        (gradient, hessian, third),
        sigma,
        inverse,
    )


def test_oscillation_and_squared_gradient_belong_to_the_same_covariance(moved):
    _, _, _, seen, (gradient, hessian, _), sigma, _ = moved
    assert float(seen["oscillation"]) ** 2 == pytest.approx(np.trace(sigma), rel=1e-4)
    square = gradient @ gradient + np.trace(hessian @ sigma @ hessian)
    assert float(seen["averaged_squared_gradient"]) == pytest.approx(float(square), rel=1e-4)


def test_weights_feel_the_curvature_term_in_the_regularised_flow_alone(moved):
    name, before, after, _, (gradient, _, third), sigma, inverse = moved
    force = np.einsum("pqr,pq->r", third, sigma) / 2
    assert np.linalg.norm(force) > 0.005 * np.linalg.norm(gradient)
    velocity = 2 * (after.weights - before.weights)
    if name == "path":
        expected = -inverse * (gradient + force)
        np.testing.assert_allclose(velocity, expected, atol=1e-3 * np.linalg.norm(inverse * force))
    else:
        np.testing.assert_allclose(velocity, -inverse * gradient, rtol=1e-11)


def test_second_moment_feels_the_oscillation_in_both(moved):
    _, before, after, _, (gradient, hessian, _), sigma, _ = moved
    nu, following = (optax.tree_utils.tree_get(s.memory, "nu") for s in (before, after))
    source = gradient**2 + np.diag(hessian @ sigma @ hessian)
    expected = (1 - 0.95) / 0.95 * (source - nu)
    np.testing.assert_allclose(
        2 * (following - nu), expected, atol=1e-4 * np.linalg.norm(source), rtol=0
    )


@pytest.mark.parametrize("past_the_threshold", [False, True])
def test_more_substeps_converge_at_first_order(past_the_threshold, path):
    start = path.carries[path.crossed + 2 if past_the_threshold else 0]
    units = 4 if past_the_threshold else 2
    ends = []
    for substeps in (2, 4, 8, 16):
        carry = start
        for _ in range(units * substeps):
            carry, seen = path.step(carry, 1 / substeps)
        assert (seen["oscillation"] > 0) == past_the_threshold
        ends.append(np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(carry.state)]))
    differences = [np.linalg.norm(b - a) for a, b in itertools.pairwise(ends)]
    orders = np.log2(np.divide(differences[:-1], differences[1:]))
    np.testing.assert_allclose(orders, 1, atol=0.1)


@pytest.mark.slow
def test_second_moment_alone_holds_a_parabola_at_the_threshold_with_a_known_covariance():
    """On h y^2 / 2 at y = 0, g = 0: sqrt(nu) falls to eta h / 2 - eps, and h^2 Sigma = nu keeps it there."""
    rate, h, eps = 0.5, 2.0, 0.1
    curvatures = jnp.array([h, *np.linspace(0.1, 1, 11)])
    transformation = TABLE["rmsprop_scalar"].build(learning_rate=rate, b2=0.8, eps=eps)
    optimizer = OptimizerMap(
        lambda w: jnp.sum(curvatures * w**2) / 2, transformation, (True, False, False)
    )
    process = CentralFlow(regularised=False)
    carry = carry_at(optimizer, np.zeros(12))
    memory = optax.tree_utils.tree_set(
        carry.state.memory, nu=jnp.asarray(1.0), count=jnp.asarray(1e4)
    )
    carry = carry._replace(state=carry.state._replace(memory=memory))
    step = jit(lambda carry: process._substep(optimizer, carry, 0.5))
    sizes = []
    for _ in range(60):
        carry, seen = step(carry)
        sizes.append(float(seen["oscillation"]) ** 2)
    nu = (rate * h / 2 - eps) ** 2
    assert sizes[0] == 0
    assert float(optax.tree_utils.tree_get(carry.state.memory, "nu")) == pytest.approx(nu, rel=1e-7)
    assert sizes[-1] == pytest.approx(nu / h**2, rel=1e-7)


def test_what_is_shown_of_two_coupled_directions_is_of_the_covariance_that_the_second_moment_feels():
    """At the bottom of a parabola each weight's nu feels (H Sigma H)_pp alone, twelve numbers for three of Sigma."""
    rng, chosen = np.random.default_rng(7), CHOSEN["rmsprop"]
    nu = rng.uniform(0.1, 2, 12)
    scale = np.sqrt(chosen["learning_rate"] / (np.sqrt(nu) + chosen["eps"]))
    vectors = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    hessian = vectors * np.array([2.03, 2.02, *np.linspace(1, 0.1, 10)]) @ vectors.T
    hessian = hessian / np.outer(scale, scale)
    optimizer = OptimizerMap(
        lambda w: w @ hessian @ w / 2, TABLE["rmsprop"].build(**chosen), (True, False, False)
    )
    carry = carry_at(optimizer, np.zeros(12))
    before = optax.tree_utils.tree_set(
        carry.state.memory, nu=jnp.asarray(nu), count=jnp.asarray(1e4)
    )
    carry = carry._replace(state=carry.state._replace(memory=before))
    after, seen = jit(lambda carry: EXACT._substep(optimizer, carry, 0.5))(carry)

    following = optax.tree_utils.tree_get(after.state.memory, "nu")
    felt = nu + (following - nu) / 0.5 * chosen["b2"] / (1 - chosen["b2"])
    v = scale[:, None] * vectors[:, :2]
    basis = [v @ np.array(x, float) @ v.T for x in BASIS]
    columns = np.stack([np.diag(hessian @ b @ hessian) for b in basis], axis=1)
    entries, left, *_ = np.linalg.lstsq(columns, felt)
    assert np.sqrt(left[0]) < 1e-9 * np.linalg.norm(felt)
    assert abs(entries[2]) > 0.05 * abs(entries[0])  # they are correlated
    sigma = np.tensordot(entries, basis, 1)
    assert float(seen["oscillation"]) ** 2 == pytest.approx(np.trace(sigma), rel=1e-7)
    assert float(seen["averaged_loss"]) == pytest.approx(np.trace(hessian @ sigma) / 2, rel=1e-7)
    assert float(seen["averaged_squared_gradient"]) == pytest.approx(float(felt.sum()), rel=1e-9)


# What is refused.


@pytest.mark.parametrize("name", ["adam", "heavy_ball"])
@pytest.mark.parametrize("flow", ["central", "central_unregularised"])
def test_optimizers_with_momentum_are_refused(flow, name):
    chosen = {"learning_rate": 0.1}
    chosen |= {"momentum": 0.9} if name == "heavy_ball" else {"b1": 0.9, "b2": 0.99, "eps": 1e-8}
    oscillating = (True, True) if name == "heavy_ball" else (True, False, True, False)
    optimizer = OptimizerMap(network_loss, TABLE[name].build(**chosen), oscillating)
    state = optimizer.initial(jnp.asarray(WEIGHTS))
    with pytest.raises(OptimizerError, match=r"^central flow: .* without momentum only") as caught:
        FLOWS.load(flow).process().begin(optimizer, state, state, state)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("parameters", now([1, 2, 5], 2))
def test_few_weights_have_a_flow_from_the_whole_matrix(parameters):
    """A parabola beyond the threshold would have an oscillation without end; below it the flow is Euler's."""
    curvatures = jnp.linspace(0.5, 1.5, parameters)
    optimizer = OptimizerMap(lambda w: jnp.sum(curvatures * w**2) / 2, optax.sgd(1.0), (True,))
    state = optimizer.initial(jnp.ones(parameters))
    following = optimizer(state)
    process = CentralFlow()
    carry = process.begin(optimizer, state, following, optimizer(following))
    assert carry.directions.shape == (parameters, min(4, parameters))
    after, seen = process.advance(optimizer, carry, jax.random.key(0))
    expected = (1 - curvatures / 2) ** 2 * carry.state.weights
    np.testing.assert_allclose(after.state.weights, expected, rtol=1e-12)
    assert seen["untracked"] == seen["unsolved"] == 0
