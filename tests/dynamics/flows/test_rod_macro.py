"""The rod flow in macro steps: its modes, its estimate, what lies between the ends, and the unit step behind it."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from representatives import now
from rodflow.config.catalogue import FLOWS, OPTIMIZERS
from rodflow.dynamics.flows.rod_macro import Carry, RodMacro, at
from rodflow.dynamics.flows.rod_unit_step import RodUnitStep
from rodflow.dynamics.integration import integrate
from rodflow.dynamics.lifted import Rod
from rodflow.dynamics.process import Process
from rodflow.optimizers.errors import OptimizerError
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from rodflow.store.checkpoint import Checkpoint, Scratch
from small import WEIGHTS, double_precision, jit, network_loss

FREE = RodMacro(tolerance=1e9, growth=1e9, closed_growth=1e9)


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


def states(optimizer, weights, count=3):
    found = [optimizer.initial(jnp.asarray(weights))]
    step = jit(optimizer.__call__)
    for _ in range(count - 1):
        found.append(step(found[-1]))
    return tuple(found[-3:])


def parabola(curvatures):
    """Gradient descent with a step of 1 on one: the centre has J = 1 - curvature, the half-extent curvature - 1."""
    weights = jnp.zeros(curvatures.size)
    return optimizer_map(Curvatures(jnp.asarray(curvatures)), optax.sgd(1.0), weights)


class Curvatures(eqx.Module):
    values: jax.Array

    def __call__(self, weights):
        return jnp.sum(self.values * weights**2) / 2


class Network(eqx.Module):
    def __call__(self, weights):
        return network_loss(weights)


@functools.cache
def _advance(process: Process):
    return jit(lambda optimizer, carry: process.advance(optimizer, carry, jax.random.key(0)))


def carry_of(process, optimizer, length, centre, extent) -> Carry:
    """Before a step of this length from a rod."""
    state = optimizer.initial(jnp.asarray(centre))
    carry = process.begin(optimizer, state, state, state)
    start = Rod(state, carry.span.start.extent._replace(weights=jnp.asarray(extent)))
    span = carry.span._replace(start=start)
    return carry._replace(span=span, proposal=jnp.asarray(float(length)))


def stepped(curvatures, length, scale=1.0) -> Carry:
    """The carry after a step on a parabola, from an open rod (or a closed one) of ones."""
    ones = np.ones(curvatures.size)
    optimizer = parabola(curvatures)
    return _advance(FREE)(optimizer, carry_of(FREE, optimizer, length, ones, scale * ones))[0]


@pytest.mark.parametrize("length", now([2, 5, 16, 60], 5))
def test_a_slow_mode_is_taken_through_so_many_steps(length):
    x = np.array([-0.1, -0.05, 0.05, 0.1]) / length
    after = stepped(np.concatenate([-x, 2 + x]), length).span.end
    exact = (1 + x) ** length
    np.testing.assert_allclose(after.centre.weights[:4], exact, atol=2e-4)
    np.testing.assert_allclose(after.extent.weights[4:], exact, atol=2e-4)


@pytest.mark.parametrize("length", now([2, 3, 8, 25, 110], 8))
def test_no_mode_of_the_stable_range_grows(length):
    curvatures = np.linspace(0, 2, 401)[1:-1]
    after = stepped(curvatures, length).span.end
    assert np.abs(after.centre.weights).max() < 1
    assert np.abs(after.extent.weights).max() < 1


@pytest.mark.slow
def test_the_error_is_estimated_to_third_order():
    x = np.array([-0.02, -0.01])
    after = stepped(np.concatenate([-x, [1.0]]), 12)
    error = after.span.end.centre.weights[:2] - (1 + x) ** 12
    assert float(error[0] / error[1]) == pytest.approx(8, rel=0.2)
    np.testing.assert_allclose(after.error.centre.weights[:2], error, rtol=0.3)
    closer = np.abs(after.error.centre.weights[:2] - error)
    assert float(closer[0] / closer[1]) == pytest.approx(16, rel=0.3)


def test_the_next_step_takes_the_error_back():
    x = -0.02
    optimizer = parabola(np.array([-x, 1.0]))
    carry = carry_of(FREE, optimizer, 10, np.ones(2), np.ones(2))
    errors = []
    for count in range(1, 62):
        carry, _ = _advance(FREE)(optimizer, carry._replace(proposal=jnp.asarray(10.0)))
        if count % 10 == 0:
            end = carry.span.end.centre.weights[0]
            errors.append(abs(float(end) / (1 + x) ** count - 1))
    # Without it the relative error of every step, that of the first, adds up.
    assert errors[-1] < 2 * errors[0]


@pytest.mark.slow
def test_between_the_ends_a_slow_mode_is_interpolated_to_third_order():
    x = np.array([-0.02, -0.01])
    span = stepped(np.concatenate([-x, [1.0]]), 12).span
    optimizer = parabola(np.concatenate([-x, [1.0]]))
    for passed in (0, 3, 6, 9):
        here = at(optimizer, span._replace(passed=jnp.asarray(passed))).centre.weights[:2]
        error = np.abs(here - (1 + x) ** passed)
        assert error[0] == pytest.approx(8 * error[1], rel=0.3, abs=1e-12)


@pytest.mark.parametrize("sharpness", now([1.9, 2.05], 2.05))
def test_a_closed_rod_finds_the_sharpest_direction_and_grows_as_its_map_says(sharpness):
    curvatures = np.array([sharpness, 0.4, 0.1, 0.01])
    optimizer = parabola(curvatures)
    tiny = 1e-15 * np.array([1.0, 0.3, 0.3, 0.3])
    carry = carry_of(FREE, optimizer, 8, np.ones(4), tiny)
    lengths = []
    for step in range(65):
        carry = carry._replace(proposal=jnp.asarray(8.0), noise=0 * carry.noise)
        carry, seen = _advance(FREE)(optimizer, carry)
        if step % 8 == 0:
            assert int(seen["macro_step"]) == 8
            lengths.append(np.linalg.norm(carry.span.start.extent.weights))
    extent = np.abs(carry.span.start.extent.weights)
    assert extent[0] > 100 * extent[1:].max()
    growth = np.diff(np.log(lengths))[-4:] / 8
    np.testing.assert_allclose(growth, np.log(sharpness - 1), atol=2e-3)


def test_a_step_of_one_is_the_unit_step():
    optimizer = optimizer_map(Network(), optax.sgd(1.2), jnp.asarray(WEIGHTS))
    start = states(optimizer, WEIGHTS, 5)
    macro, unit = RodMacro(longest=1.0), RodUnitStep()
    a, b = (jit(lambda s, p=p: p.begin(optimizer, *s))(start) for p in (macro, unit))
    extent = a.span.start.extent._replace(weights=a.span.start.extent.weights + 1e-3)
    a = a._replace(
        span=a.span._replace(start=a.span.start._replace(extent=extent)),
        proposal=jnp.ones([]),
    )
    b = b._replace(extent=extent)
    for _ in range(6):
        a = _advance(macro)(optimizer, a._replace(noise=0 * a.noise))[0]
        b = jit(lambda c: unit.unit(optimizer, c))(b)
    np.testing.assert_allclose(a.span.end.centre.weights, b.centre.weights, rtol=1e-12)
    np.testing.assert_allclose(a.span.end.extent.weights, b.extent.weights, atol=1e-14)


def run(flow, optimizer, every=20, stop=200, **how):
    return integrate(
        flow, optimizer, states(optimizer, WEIGHTS, 5), start=5, stop=stop, every=every, **how
    )


SMOOTH = {"learning_rate": 0.2}


@functools.cache
def smooth():
    return optimizer_map(network_loss, TABLE["gd"].build(**SMOOTH), jnp.asarray(WEIGHTS))


@pytest.mark.slow
def test_smooth_training_costs_less_than_itself():
    """After a transient, in which it is mostly unit steps."""
    found = run(RodMacro(), smooth())
    late = found.series["gradients"][found.steps >= 100]
    assert late.sum() < 0.6 * late.size
    assert found.series["macro_step"][-1] > 10


@pytest.mark.slow
def test_the_error_follows_the_tolerance():
    def error(tolerance):
        found = run(RodMacro(tolerance=tolerance), smooth()).snapshots["weights"]
        return np.linalg.norm(found[-1] - exact[-1])

    exact = run("rod_unit_step", smooth()).snapshots["weights"]
    loose, tight = error(3e-2), error(3e-4)
    assert tight < loose / 5


@pytest.mark.slow
def test_snapshot_spacing_does_not_change_a_number():
    fine, coarse = (run(RodMacro(), smooth(), every=every) for every in (7, 35))
    for name, values in fine.series.items():
        np.testing.assert_array_equal(values, coarse.series[name])
    both = np.isin(fine.snapshot_steps, coarse.snapshot_steps)
    np.testing.assert_array_equal(fine.snapshots["weights"][both], coarse.snapshots["weights"])


@pytest.mark.slow
def test_a_killed_run_continues_within_a_macro_step(tmp_path):
    """Bit for bit."""

    class Killed(Exception):
        pass

    def kill(step, _):
        if step >= 60:
            raise Killed

    def scratch():
        return Scratch(tmp_path / "scratch", lambda: "key", pause=0.0)

    whole = run(RodMacro(), smooth())
    one = scratch()
    with pytest.raises(Killed):
        run(RodMacro(), smooth(), checkpoint=Checkpoint(one, "run"), progress=kill)
    one.release()
    resumed = run(RodMacro(), smooth(), checkpoint=Checkpoint(scratch(), "run"))
    assert resumed.status == whole.status
    for name, values in whole.series.items():
        np.testing.assert_array_equal(values, resumed.series[name])
    np.testing.assert_array_equal(whole.snapshots["weights"], resumed.snapshots["weights"])


def test_where_no_longer_step_is_good_enough_it_takes_unit_steps_and_says_so():
    found = run(RodMacro(tolerance=1e-9), smooth(), stop=30)
    assert np.all(found.series["macro_step"] == 1)
    assert found.status == "completed: unit steps for 26 of 26 steps"
    exact = run("rod_unit_step", smooth(), stop=30)
    np.testing.assert_allclose(found.snapshots["weights"], exact.snapshots["weights"], rtol=1e-7)


@pytest.mark.slow
def test_a_second_moment_stays_positive_from_a_hostile_start():
    """A gradient that vanishes from one step to the next."""
    chosen = {"learning_rate": 1e-2, "b2": 0.5, "eps": 1e-8}
    weights = jnp.array([1.0, 1.0])
    optimizer = optimizer_map(
        Curvatures(jnp.array([1.0, 1e-3])), TABLE["rmsprop"].build(**chosen), weights
    )
    found = integrate(
        RodMacro(tolerance=1.0), optimizer, states(optimizer, weights), start=2, stop=200, every=3
    )
    moment = optax.tree_utils.tree_get(found.snapshots["memory"], "nu")
    assert np.isfinite(moment).all() and moment.min() > 0


def test_it_exists_where_there_is_no_momentum():
    supports = FLOWS["rod_macro"].supports
    known = [name for name in OPTIMIZERS if supports(name, OPTIMIZERS[name])]
    assert {"gd", "rmsprop", "rmsprop_scalar"} <= set(known)
    assert not {"adam", "adamw", "heavy_ball", "nesterov", "nadam", "k_adam"} & set(known)


def test_the_program_is_compiled_once_for_all_lengths():
    process, traced = RodMacro(), []

    def advance(optimizer, carry):
        traced.append(1)
        return process.advance(optimizer, carry, jax.random.key(0))

    optimizer = parabola(np.array([0.5, 0.1]))
    step = jit(advance)
    for length in (2, 7, 30):
        step(optimizer, carry_of(process, optimizer, length, np.ones(2), np.ones(2)))
    assert len(traced) == 1


@pytest.mark.parametrize("transformation", [optax.adam(0.01), optax.sgd(0.1, momentum=0.9)])
def test_momentum_is_refused(transformation):
    optimizer = optimizer_map(jnp.sum, transformation, jnp.ones(2))
    state = optimizer.initial(jnp.ones(2))
    with pytest.raises(OptimizerError, match="optimizers without momentum only"):
        RodMacro().begin(optimizer, state, state, state)
