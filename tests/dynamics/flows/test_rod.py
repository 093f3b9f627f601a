"""The flows: polynomials of the linear modes, orders of accuracy, positivity, toy potentials."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.polynomial import Polynomial

from representatives import now
from rodflow.dynamics.flows.rod import LongThirdStage, RodFlow, increment, vector_field
from rodflow.dynamics.flows.rod_unit_step import RodUnitStep
from rodflow.dynamics.flows.stable import StableFlow
from rodflow.dynamics.lifted import Rod, lifted_map, oscillating
from rodflow.optimizers.optimizer_map import OptimizerMap, optimizer_map
from rodflow.optimizers.table import TABLE
from small import WEIGHTS as FAR
from small import jit, network_loss

# What a mode of the lifted map, of eigenvalue J, is multiplied by in a unit of time of the ODE; that of the unit step
# is in test_rod_unit_step.py.
X = Polynomial([-1, 1])  # J - 1
MODE = 1 + X - 3 * X**3 / 16 - X**4 / 32
FLOWS = {"rod": RodFlow(), "rod_unit_step": RodUnitStep()}

WEIGHTS = FAR / 2


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def valley_loss(weights):
    """A curved valley (Rosenbrock's), 1 to 200 times as sharp across as along."""
    return (1 - weights[0]) ** 2 / 2 + 100 * (weights[1] - weights[0] ** 2) ** 2


def mild_valley_loss(weights):
    return valley_loss(weights) / 100


def rod_of(optimizer: OptimizerMap, weights, extent, memory=None) -> Rod:
    """A rod with this extent of the weights and none of the memory."""
    centre = optimizer.initial(jnp.asarray(weights, float))
    centre = centre if memory is None else centre._replace(memory=memory)
    still = oscillating(optimizer, jax.tree.map(jnp.zeros_like, centre))
    return Rod(centre, still._replace(weights=jnp.asarray(extent, float)))


def exact_flow(optimizer: OptimizerMap, rod: Rod) -> Rod:
    """The vector field integrated over a unit of time, to many digits."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: vector_field(args, y)),
        diffrax.Dopri5(),
        0.0,
        1.0,
        1 / 32,
        rod,
        optimizer,
    )
    return jax.tree.map(lambda leaf: leaf[0], solution.ys)


def step(optimizer: OptimizerMap):
    """A unit of time of the ODE, compiled."""
    return jit(lambda rod: RodFlow().unit(optimizer, rod))


def slope(sizes, errors) -> float:
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


# Linear modes: gradient descent with curvatures c at learning rate 1. Where F has the eigenvalue
# 1 - c, the lifted map has it for Z and its negative for X.

CURVATURES = np.concatenate([np.linspace(0, 4, 33), [-0.5, 4.2]])


@pytest.fixture(scope="module", params=FLOWS)
def flow(request):
    return request.param


@pytest.fixture(scope="module")
def gd_factors(float64):
    """By what the ODE multiplies Z and X in a unit of time, for every curvature."""
    optimizer = optimizer_map(
        lambda w: jnp.sum(CURVATURES * w**2) / 2, optax.sgd(1.0), jnp.zeros(CURVATURES.size)
    )
    rod = step(optimizer)(rod_of(optimizer, *np.ones((2, CURVATURES.size))))
    return np.asarray(rod.centre.weights), np.asarray(rod.extent.weights)


def test_a_linear_mode_is_multiplied_by_the_stated_polynomial(gd_factors):
    centre, extent = gd_factors
    np.testing.assert_allclose(centre, MODE(1 - CURVATURES), atol=1e-13)
    np.testing.assert_allclose(extent, MODE(CURVATURES - 1), atol=1e-13)


def test_redundant_copies_vanish_in_one_unit(gd_factors):
    centre, extent = gd_factors
    at_threshold, flat = CURVATURES == 2, CURVATURES == 0
    np.testing.assert_allclose([centre[at_threshold], extent[at_threshold]], [[0], [1]], atol=1e-14)
    np.testing.assert_allclose([centre[flat], extent[flat]], [[1], [0]], atol=1e-14)


def test_rod_grows_in_a_parabola_exactly_above_the_threshold(gd_factors):
    _, extent = gd_factors
    within = (CURVATURES >= 0) & (CURVATURES < 4)  # where the truncated logarithm ends to grow
    np.testing.assert_array_equal(np.abs(extent[within]) > 1 + 1e-12, CURVATURES[within] > 2)


def test_modes_are_damped_throughout_the_stable_range():
    assert np.all(np.abs(MODE(np.linspace(-3, 1, 10_001)[1:-1])) < 1)
    assert np.abs(MODE(np.array([-3, 1]))) == pytest.approx(1)


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99, 1.0])
def test_momentum_pairs_decay_as_the_optimizer_lets_them(decay):
    size = np.sqrt(decay)
    pairs = size * np.exp(1j * np.linspace(0, np.pi, 10_001))
    slowest = np.abs(MODE(pairs)).max()
    assert slowest <= size + 3 / 16 * (1 - size) ** 3 + 1e-12
    assert slowest < 1 or decay == 1


def matrix_polynomial(polynomial: Polynomial, matrix: np.ndarray) -> np.ndarray:
    powers = [np.linalg.matrix_power(matrix, k) for k in range(polynomial.degree() + 1)]
    return sum(c * power for c, power in zip(polynomial.coef, powers, strict=True))


def test_momentum_modes_are_multiplied_by_the_same_polynomial_of_their_matrix():
    curvatures, b = np.array([0.1, 1.0, 10.0, 37.0, 38.0]), 0.9
    optimizer = optimizer_map(
        lambda w: jnp.sum(curvatures * w**2) / 2,
        TABLE["heavy_ball"].build(learning_rate=1.0, momentum=b),
        jnp.zeros(5),
    )
    start = optimizer.initial(jnp.ones(5))
    start = jax.tree.map(lambda leaf: leaf + 0.5, start)
    rod = step(optimizer)(Rod(start, start))
    for k, c in enumerate(curvatures):
        f = np.array([[1 - (1 - b) * c, -(1 - b) * b], [c, b]])  # on (w, trace)
        for part, matrix in ((rod.centre, f), (rod.extent, -f)):
            found = [leaf[k] for leaf in jax.tree.leaves(part)]
            expected = matrix_polynomial(MODE, matrix) @ [1.5, 0.5]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def stability_polynomial() -> Polynomial:
    """Of the solver's tableau: 1 + z b (1 + z A + z^2 A^2) 1."""
    tableau = LongThirdStage.tableau
    a = np.zeros((3, 3))
    for row, values in enumerate(tableau.a_lower, start=1):
        a[row, :row] = values
    ones = np.ones(3)
    return Polynomial([1, *(tableau.b_sol @ np.linalg.matrix_power(a, k) @ ones for k in range(3))])


def test_solver_has_the_stated_stability_polynomial_and_interval():
    p = stability_polynomial()
    np.testing.assert_allclose(p.coef, [1, 1, 1 / 2, 1 / 16], atol=1e-15)
    assert np.all(np.abs(p(np.linspace(-6.26, 0, 10_001))) <= 1 + 1e-12)
    assert abs(p(-6.27)) > 1


def test_held_correction_gives_the_mode_polynomial():
    p, c = stability_polynomial(), -(X**2) / 2
    # dy/dt = x y + c(x) y0 over a unit: y1 = p(x) y0 + (p(x) - 1) / x * c(x) y0.
    quotient = sum((a * X**k for k, a in enumerate(p.coef[1:])), Polynomial([0]))
    np.testing.assert_allclose((p(X) + quotient * c - MODE).coef, 0, atol=1e-13)


def test_same_solver_on_the_whole_field_would_blow_up_momentum_pairs():
    pairs = np.sqrt(0.9) * np.exp(1j * np.linspace(0, np.pi, 1001))
    whole = stability_polynomial()((pairs - 1) - (pairs - 1) ** 2 / 2)
    assert np.abs(whole).max() > 1.25


# Order of accuracy, against the lifted map over some units of time: the first of the unit step is a lifted step.

RATES = 0.005 * 2.0 ** -np.arange(4)
EVERY = FLOWS | {"vector field": None}


UNITS = 3


def followed(name: str, optimizer: OptimizerMap, rod: Rod, units: int) -> Rod:
    """Where a flow takes a rod in some units of time."""
    if name not in FLOWS:
        return jax.lax.fori_loop(0, units, lambda _, y: exact_flow(optimizer, y), rod)
    flow = FLOWS[name]
    carry = flow.start(optimizer, rod)
    carry = jax.lax.fori_loop(0, units, lambda _, y: flow.unit(optimizer, y), carry)
    return Rod(carry.centre, carry.extent)


def local_errors(make) -> dict[str, Rod]:
    """Absolute errors of every flow, leaf by leaf, for (optimizer, rod) of every rate."""

    @jit
    def run(rates):
        def at(rate):
            optimizer, rod = make(rate)
            exact = jax.lax.fori_loop(0, UNITS, lambda _, y: lifted_map(optimizer, y), rod)
            return {
                name: jax.tree.map(
                    lambda a, b: jnp.linalg.norm(jnp.ravel(a - b)),
                    followed(name, optimizer, rod, UNITS),
                    exact,
                )
                for name in EVERY
            }

        return jax.lax.map(at, rates)

    return jax.device_get(run(jnp.asarray(RATES)))


@pytest.fixture(scope="module")
def gd_errors(float64):
    def make(rate):
        optimizer = OptimizerMap(network_loss, optax.sgd(10 * rate), (True,))
        return optimizer, rod_of(optimizer, WEIGHTS, np.zeros(16))

    return local_errors(make)


@pytest.fixture(scope="module")
def adam_errors(float64):
    """With decays 1 - O(rate), so that everything moves at a speed of the order of the rate."""

    def make(rate):
        transformation = optax.adam(rate, b1=1 - 5 * rate, b2=1 - 5 * rate)
        optimizer = OptimizerMap(network_loss, transformation, (True, False, True, False))
        gradient = jax.grad(network_loss)(jnp.asarray(WEIGHTS))
        memory = optax.tree_utils.tree_set(
            optimizer.initial(jnp.asarray(WEIGHTS)).memory,
            count=jnp.asarray(1e4),
            mu=gradient / 2,
            nu=gradient**2 + 0.1,
        )
        return optimizer, rod_of(optimizer, WEIGHTS, np.zeros(16), memory)

    return local_errors(make)


@pytest.fixture(scope="module")
def extent_errors(float64):
    """Near the threshold, at the rate's distance above it: the rod of a quartic grows slowly."""

    def make(rate):
        optimizer = OptimizerMap(
            lambda w: jnp.sum(w**2 / 2 - w**4 / 4), optax.sgd(2 + rate), (True,)
        )
        return optimizer, rod_of(optimizer, [0.0], jnp.sqrt(rate / 100)[None])

    return local_errors(make)


@pytest.mark.parametrize("name", EVERY)
def test_centre_of_gd_errs_by_third_order_in_units_of_time(name, gd_errors):
    assert slope(RATES, gd_errors[name].centre.weights) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("name", EVERY)
def test_extent_near_the_threshold_errs_by_third_order_in_units_of_time(name, extent_errors):
    relative = extent_errors[name].extent.weights / np.sqrt(RATES / 100)
    assert slope(RATES, relative) == pytest.approx(3, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_weights_and_momentum_of_adam_err_by_third_order_in_units_of_time(name, adam_errors):
    errors = adam_errors[name].centre
    assert slope(RATES, errors.weights) == pytest.approx(3, abs=0.2)
    assert slope(RATES, errors.memory[0].mu) == pytest.approx(3, abs=0.2)


@pytest.mark.slow
def test_auxiliary_leaves_of_the_unit_step_err_by_what_they_see_alone(adam_errors):
    memory = adam_errors["rod_unit_step"].centre.memory[0]
    assert slope(RATES, memory.nu) == pytest.approx(4, abs=0.2)
    np.testing.assert_array_equal(memory.count, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rod", "vector field"])
def test_second_moment_of_the_ode_errs_by_third_order_in_units_of_time(name, adam_errors):
    errors = adam_errors[name].centre.memory[0].nu
    assert slope(RATES, errors) == pytest.approx(3, abs=0.2)


def test_vector_field_is_the_modified_equation_to_third_order():
    @jit
    def difference(rate):
        optimizer = OptimizerMap(mild_valley_loss, optax.sgd(rate), (True,))
        rod = rod_of(optimizer, [1.2, 0.9], [0.0, 0.0])
        f, bend = jax.jvp(lambda y: increment(optimizer, y), (rod,), (increment(optimizer, rod),))
        modified = jax.tree.map(lambda a, b: a - b / 2, f, bend)
        return vector_field(optimizer, rod).centre.weights - modified.centre.weights

    errors = [np.linalg.norm(difference(rate)) for rate in RATES]
    assert slope(RATES, errors) == pytest.approx(3, abs=0.1)


@pytest.mark.slow
def test_rod_flow_converges_to_the_vector_field_with_more_substeps():
    substeps = np.array([1, 2, 4])

    @jit
    def errors():
        optimizer = OptimizerMap(mild_valley_loss, optax.sgd(0.05), (True,))
        rod = rod_of(optimizer, [1.2, 0.9], [0.1, 0.1])
        exact = exact_flow(optimizer, rod).centre.weights
        rods = [RodFlow(substeps=int(n)).unit(optimizer, rod) for n in substeps]
        return [jnp.linalg.norm(r.centre.weights - exact) for r in rods]

    # Holding the correction leaves first order, with a factor of the order that the ODE neglects.
    assert slope(substeps, np.array(errors())) == pytest.approx(-1, abs=0.2)


def test_sign_of_the_extent_does_not_matter(flow):
    optimizer = optimizer_map(mild_valley_loss, optax.sgd(0.2), jnp.zeros(2))
    advance = jit(lambda rod: followed(flow, optimizer, rod, UNITS))
    one, other = (
        advance(rod_of(optimizer, [1.2, 0.9], [sign * 0.1, sign * 0.2])) for sign in (1, -1)
    )
    np.testing.assert_allclose(one.centre.weights, other.centre.weights, rtol=1e-14)
    np.testing.assert_allclose(one.extent.weights, -other.extent.weights, rtol=1e-12)


# The second moment.


@pytest.mark.parametrize("name", now(["adam", "rmsprop"], "adam"))
def test_second_moment_stays_positive_from_hostile_states(flow, name):
    chosen = {"learning_rate": 0.3, "b2": 0.95, "eps": 1e-12}
    build = TABLE[name].build
    transformation = build(**chosen, b1=0.9) if name == "adam" else build(**chosen)
    optimizer = optimizer_map(valley_loss, transformation, jnp.zeros(2))
    starts = 3 * np.random.default_rng(0).standard_normal((32, 2, 2))
    nu = 10.0 ** np.random.default_rng(1).uniform(-12, 2, (32, 2))

    @jit
    @jax.vmap
    def lowest(start, nu):
        """Of the second moment over 200 units of time, and whether all of it was finite."""
        memory = optimizer.initial(start[0]).memory
        memory = optax.tree_utils.tree_set(memory, nu=nu, count=jnp.asarray(1.0))

        def advance(carry, _):
            carry = FLOWS[flow].unit(optimizer, carry)
            return carry, jnp.min(optax.tree_utils.tree_get(carry.centre.memory, "nu"))

        carry = FLOWS[flow].start(optimizer, rod_of(optimizer, *start, memory))
        return jax.lax.scan(advance, carry, length=200)[1]

    found = np.asarray(lowest(jnp.asarray(starts), jnp.asarray(nu)))
    assert np.all(np.isfinite(found))
    assert np.all(found > 0)


@pytest.fixture(scope="module")
def relaxation(float64):
    """(nu - g^2) after ten units of a constant gradient over the same before, and the counts."""
    b2, slopes = 0.8, jnp.array([0.5, 2.0])
    optimizer = optimizer_map(lambda w: jnp.sum(slopes * w), optax.adam(0.01, b2=b2), jnp.zeros(2))
    memory = optax.tree_utils.tree_set(optimizer.initial(jnp.zeros(2)).memory, nu=jnp.ones(2))
    rod = rod_of(optimizer, [0.0, 0.0], [0.0, 0.0], memory)

    @jit
    def run():
        return {name: followed(name, optimizer, rod, 10).centre.memory[0] for name in EVERY}

    return {
        name: ((end.nu - slopes**2) / (1 - slopes**2), float(end.count))
        for name, end in run().items()
    }


@pytest.mark.parametrize("name", ["rod_unit_step", "vector field"])
def test_second_moment_relaxes_as_the_optimizer_does_under_constant_gradient(name, relaxation):
    np.testing.assert_allclose(relaxation[name][0], 0.8**10, rtol=1e-8)


def test_second_moment_relaxes_to_third_order_in_one_solver_step(relaxation):
    k = 0.2
    factor = 1 - np.log(1 - k) / k * (stability_polynomial()(-k) - 1)
    np.testing.assert_allclose(relaxation["rod"][0], factor**10, rtol=1e-10)
    assert abs(factor - 0.8) < k**3 / 5


@pytest.mark.parametrize("name", EVERY)
def test_step_count_advances_by_one(name, relaxation):
    assert relaxation[name][1] == pytest.approx(10, abs=1e-12)


# Toy potentials, and what a flow shows.


def test_rod_settles_on_the_two_cycle_of_a_quartic_exactly_above_the_threshold(flow):
    rates, curvature, quartic = jnp.array([1.8, 1.95, 2.05, 2.2, 2.5]) / 0.7, 0.7, 3.0

    @jit
    @jax.vmap
    def settled(rate):
        optimizer = OptimizerMap(
            lambda w: jnp.sum(curvature / 2 * w**2 - quartic / 4 * w**4), optax.sgd(rate), (True,)
        )
        return followed(flow, optimizer, rod_of(optimizer, [0.0], [0.01]), 600)

    end = settled(rates)
    expected = np.sqrt(np.maximum(curvature / quartic - 2 / (rates * quartic), 0))
    np.testing.assert_allclose(end.extent.weights[:, 0], expected, atol=1e-9)
    np.testing.assert_allclose(end.centre.weights, 0, atol=1e-12)


def test_two_cycle_of_a_quartic_is_one_of_gradient_descent():
    curvature, quartic, rate = 0.7, 3.0, 2.2 / 0.7
    x = np.sqrt(curvature / quartic - 2 / (rate * quartic))
    assert x - rate * (curvature * x - quartic * x**3) == pytest.approx(-x, rel=1e-13)


def stable_flow_of_a_parabola(curvatures, units: int):
    """Weights after some units of time from ones at learning rate 1, and what was seen at first."""
    optimizer = OptimizerMap(lambda w: jnp.sum(curvatures * w**2) / 2, optax.sgd(1.0), (True,))
    flow = StableFlow(rtol=1e-9, atol=1e-12)

    @jit
    def run(state):
        def advance(carry, _):
            return flow.advance(optimizer, carry, jax.random.key(0))

        carry, seen = jax.lax.scan(
            advance, flow.begin(optimizer, state, state, state), length=units
        )
        return flow.snapshot(optimizer, carry)["weights"], seen["loss"][0]

    return run(optimizer.initial(jnp.ones(curvatures.size)))


def test_stable_flow_of_a_parabola_is_the_exponential():
    curvatures = np.array([0.03, 0.3, 1.5])
    end, loss = stable_flow_of_a_parabola(curvatures, 10)
    np.testing.assert_allclose(end, np.exp(-10 * curvatures), rtol=1e-5)
    assert float(loss) == pytest.approx(curvatures.sum() / 2, rel=1e-14)


def test_stable_flow_passes_the_threshold_without_noticing():
    end, _ = stable_flow_of_a_parabola(np.array([10.0]), 1)
    assert float(end[0]) == pytest.approx(np.exp(-10), rel=1e-4)


def test_advance_shows_the_loss_at_centre_and_ends_and_seeds_the_rod(flow):
    optimizer = optimizer_map(mild_valley_loss, optax.sgd(0.2), jnp.zeros(2))
    centre, extent = np.array([1.2, 0.9]), np.array([0.0, 0.0])
    carry = FLOWS[flow].start(optimizer, rod_of(optimizer, centre, extent))
    after, seen = jit(lambda y: FLOWS[flow].advance(optimizer, y, jax.random.key(0)))(carry)
    assert seen["rod_length"] == 0
    assert seen["loss"] == seen["loss_plus"] == seen["loss_minus"]
    assert float(seen["loss"]) == pytest.approx(float(mild_valley_loss(centre)), rel=1e-14)
    assert 0 < np.linalg.norm(after.extent.weights) < 4 * np.finfo(float).eps
