"""Edge flow in unit steps: where it is gradient descent itself, its order against the flow, what the direction does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rodflow.dynamics.flows import edge
from rodflow.dynamics.flows.edge_unit_step import Edge, EdgeUnitStep, step
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap
from small import jit

RATE = 0.8
CURVATURES = np.array([2.8, 2.2, 1.0, 0.3, 0.1, -0.2])
MIX = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
HESSIAN = MIX * CURVATURES @ MIX.T
START = np.random.default_rng(1).standard_normal((2, 6))
UNITS = 12


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def parabola(weights):
    return weights @ HESSIAN @ weights / 2


def cubic(weights):
    """Even in the first weight, quadratic in it: its gradient is a polynomial of second degree."""
    first, rest = weights[0], weights[1:]
    return (
        first**2 * (2.7 + jnp.sum(rest)) / 2 + rest @ jnp.asarray([-0.05, -0.02]) + rest @ rest / 5
    )


def quartic(weights):
    return parabola(weights) - 0.05 * jnp.sum(weights**4)


def gd(loss) -> OptimizerMap:
    return OptimizerMap(loss, optax.sgd(RATE), (True,))


def edge_at(optimizer, weights, direction, amplitude) -> Edge:
    unit = jnp.asarray(direction / np.linalg.norm(direction))
    state = optimizer.initial(jnp.asarray(weights, float))
    return Edge(state, unit, jnp.asarray(float(amplitude)))


def run(process, optimizer, carry, units):
    """The carries after each unit of time, and what was seen before."""

    @jit
    def scanned(carry):
        def advance(carry, key):
            carry, seen = process.advance(optimizer, carry, key)
            return carry, (carry, seen)

        return jax.lax.scan(advance, carry, jax.random.split(jax.random.key(0), units))[1]

    return scanned(carry)


def iterates(optimizer, weights, units) -> np.ndarray:
    """Gradient descent from these weights, [step, weight], without the start."""
    state, found = optimizer.initial(jnp.asarray(weights)), []
    advance = jit(optimizer)
    for _ in range(units):
        state = advance(state)
        found.append(np.asarray(state.weights))
    return np.array(found)


def test_along_an_even_direction_its_ends_are_the_iterates_of_gradient_descent_by_turns():
    optimizer = gd(cubic)
    centre, amplitude = np.array([0.0, 0.1, -0.1]), 0.3
    start = edge_at(optimizer, centre, np.eye(3)[0], amplitude)
    carries, _ = run(EdgeUnitStep(), optimizer, start, UNITS)
    signs = (-1.0) ** np.arange(1, UNITS + 1)
    ends = carries.state.weights + (signs * carries.amplitude)[:, None] * carries.direction
    found = iterates(optimizer, centre + amplitude * np.eye(3)[0], UNITS)
    np.testing.assert_allclose(ends, found, atol=1e-13)
    curvature = RATE * (2.7 + found[:, 1:].sum(1))
    assert curvature.max() > 2 > curvature.min()  # it was driven below the threshold


@pytest.mark.parametrize("mode", [0, 1, 3])
def test_on_a_parabola_centre_and_amplitude_along_an_eigenvector_are_those_of_gradient_descent(
    mode,
):
    optimizer = gd(parabola)
    carries, _ = run(EdgeUnitStep(), optimizer, edge_at(optimizer, START[0], MIX[:, mode], 0.1), 6)
    np.testing.assert_allclose(carries.state.weights, iterates(optimizer, START[0], 6), atol=1e-13)
    expected = 0.1 * (RATE * CURVATURES[mode] - 1) ** np.arange(1, 7)
    np.testing.assert_allclose(carries.amplitude, expected, atol=1e-13)


def test_direction_is_a_power_iteration_of_one_plus_eta_h():
    optimizer = gd(parabola)
    carries, _ = run(EdgeUnitStep(), optimizer, edge_at(optimizer, *START, 0.1), UNITS)
    factors = (1 + RATE * CURVATURES) ** np.arange(1, UNITS + 1)[:, None]
    grown = (factors * (MIX.T @ START[1])) @ MIX.T
    expected = grown / np.linalg.norm(grown, axis=1, keepdims=True)
    np.testing.assert_allclose(carries.direction, expected, atol=1e-12)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.3], ids=["below", "at", "above"])
def test_direction_stays_with_the_leading_eigenvector_on_either_side_of_the_threshold(scale):
    """An Euler step along the tangent alone leaves it where curvatures are 2 / eta apart: the last case."""
    optimizer = gd(lambda w: scale * parabola(w))
    begun = edge_at(optimizer, START[0], MIX[:, 0] + 1e-3 * MIX[:, -1], 1e-3)
    carries, _ = run(EdgeUnitStep(), optimizer, begun, 40)
    assert abs(carries.direction[-1] @ MIX[:, 0]) == pytest.approx(1, abs=1e-12)
    shift = scale * RATE * (CURVATURES[0] - CURVATURES[-1])
    assert (abs(1 - shift) > 1) == (scale >= 1)


@pytest.mark.slow
def test_substeps_converge_to_the_flow_with_order_one():
    optimizer = gd(quartic)
    begun = edge_at(optimizer, 0.3 * START[0], START[1], 0.3)
    carry = edge.Carry(
        edge.Edge(begun.state, begun.direction, jnp.log(begun.amplitude)), jnp.asarray(1 / 32)
    )
    flow, _ = run(edge.EdgeFlow(rtol=1e-9, atol=1e-11), optimizer, carry, 2)
    errors = {}
    for substeps in (32, 64):
        carries, _ = run(EdgeUnitStep(substeps=substeps), optimizer, begun, 2)
        of_amplitude = carries.amplitude[-1] - np.exp(flow.edge.log_amplitude[-1])
        errors[substeps] = np.array(
            [
                np.linalg.norm(carries.state.weights[-1] - flow.edge.state.weights[-1]),
                np.linalg.norm(carries.direction[-1] - flow.edge.direction[-1]),
                abs(of_amplitude),
            ]
        )
    np.testing.assert_allclose(errors[32] / errors[64], 2, rtol=0.05)


def test_unit_step_and_flow_part_in_the_amplitude_at_second_order_in_the_excess():
    """Their factors are 1 + x and exp(x), x the excess of eta times the sharpness over 2."""
    rises = []
    for excess in (0.2, 0.1):
        loss = lambda w, excess=excess: (2 + excess) / RATE * jnp.sum(w**2) / 2  # noqa: E731
        begun = edge_at(gd(loss), np.zeros(2), np.eye(2)[0], 0.1)
        following, _ = jit(lambda e, loss=loss: step(gd(loss), e, 1.0))(begun)
        rises.append(float(jnp.exp(excess) - following.amplitude / 0.1))
    assert rises[0] / rises[1] == pytest.approx(4, rel=0.05)


def test_on_an_even_quartic_the_amplitude_has_no_fixed_point_where_gradient_descent_has_a_two_cycle():
    """The sharpness is that of the centre: what the loss does away from it acts on the centre alone."""
    sharp, bend = 2.2 / RATE, 0.5

    def even(weights):
        return jnp.sum(sharp * weights**2 / 2 - bend * weights**4 / 4)

    optimizer = gd(even)
    cycle = np.sqrt(sharp / bend - 2 / (RATE * bend))
    found = iterates(optimizer, [cycle], 2)[:, 0]
    np.testing.assert_allclose(found, [-cycle, cycle], atol=1e-12)
    carries, _ = run(EdgeUnitStep(), optimizer, edge_at(optimizer, [0.0], [1.0], cycle), 2)
    np.testing.assert_allclose(carries.amplitude, cycle * 1.2 ** np.arange(1, 3), rtol=1e-12)


def test_it_shows_the_losses_at_the_ends():
    optimizer = gd(quartic)
    begun = edge_at(optimizer, *START, 0.3)
    _, seen = jit(lambda e: EdgeUnitStep().advance(optimizer, e, jax.random.key(0)))(begun)
    offset = 0.3 * START[1] / np.linalg.norm(START[1])
    for name, shift in (("loss", 0), ("loss_plus", offset), ("loss_minus", -offset)):
        assert float(seen[name]) == pytest.approx(float(quartic(START[0] + shift)), rel=1e-12)


def test_it_begins_where_the_flow_begins():
    optimizer = gd(quartic)
    states = [optimizer.initial(0.1 * jnp.asarray(START[0]))]
    for _ in range(2):
        states.append(optimizer(states[-1]))
    flow, own = (
        jit(lambda *s, p=p: p.snapshot(optimizer, p.begin(optimizer, *s)))(*states)
        for p in (edge.EdgeFlow(), EdgeUnitStep())
    )
    jax.tree.map(np.testing.assert_array_equal, own, flow)


def test_an_amplitude_of_zero_gets_rounding_sized_noise():
    optimizer = gd(parabola)
    begun = edge_at(optimizer, START[0], MIX[:, 1], 0.0)
    _, seen = run(EdgeUnitStep(), optimizer, begun, 2)
    assert 0 < seen["rod_length"][0] < 1e-14


def test_optimizers_with_a_memory_are_refused():
    optimizer = OptimizerMap(parabola, optax.sgd(0.1, momentum=0.9), (True, True))
    state = optimizer.initial(jnp.ones(6))
    with pytest.raises(OptimizerError, match=r"^edge flow: .* gradient descent"):
        EdgeUnitStep().begin(optimizer, state, state, state)
