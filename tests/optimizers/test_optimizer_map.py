"""Any optax transformation as a map: what oscillates, what is refused, what the flows make of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from representatives import now
from rodflow.config.catalogue import FLOWS
from rodflow.config.declarations import any_optimizer
from rodflow.dynamics.discrete import Discrete
from rodflow.dynamics.lifted import Rod, lifted_map, oscillating
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, optimizer_map
from small import jit

INPUTS = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
TARGETS = np.random.default_rng(1).standard_normal(6).astype(np.float32)
WEIGHTS = np.random.default_rng(2).standard_normal(12).astype(np.float32)
OF_ANY = {
    name: FLOWS.load(name).process
    for name in FLOWS
    if FLOWS[name].supports is any_optimizer and not FLOWS[name].batches
}
STEPS = 30


def loss(weights):
    """Of a tanh network, 3-3-1."""
    hidden = jnp.tanh(INPUTS @ weights[:9].reshape(3, 3))
    return jnp.mean((hidden @ weights[9:] - TARGETS) ** 2) / 2


def oscillating_leaves(transformation: optax.GradientTransformation) -> set[str]:
    optimizer = optimizer_map(lambda w: loss(w["w"]), transformation, {"w": jnp.asarray(WEIGHTS)})
    paths = jax.tree_util.tree_leaves_with_path(optimizer.initial(jnp.asarray(WEIGHTS)))
    return {
        jax.tree_util.keystr(path, simple=True, separator=".")
        for (path, _), follows in zip(paths, optimizer.oscillating, strict=True)
        if follows
    }


SCHEDULE = optax.cosine_decay_schedule(0.01, 100)


@pytest.mark.parametrize(
    ("transformation", "expected"),
    [
        pytest.param(optax.sgd(0.1), set(), id="sgd"),
        pytest.param(optax.sgd(SCHEDULE), set(), id="sgd, schedule", marks=pytest.mark.slow),
        pytest.param(optax.sgd(0.1, momentum=0.9), {"0.trace"}, id="momentum"),
        pytest.param(
            optax.sgd(0.1, momentum=0.9, nesterov=True),
            {"0.trace"},
            id="nesterov",
            marks=pytest.mark.slow,
        ),
        pytest.param(optax.rmsprop(0.01), set(), id="rmsprop", marks=pytest.mark.slow),
        pytest.param(
            optax.rmsprop(0.01, centered=True, momentum=0.9),
            {"0.mu", "2.trace"},
            id="rmsprop, centred, momentum",
        ),
        pytest.param(optax.adam(0.01), {"0.mu"}, id="adam", marks=pytest.mark.slow),
        pytest.param(optax.adamw(SCHEDULE), {"0.mu"}, id="adamw, schedule"),
        pytest.param(optax.nadamw(0.01), {"0.mu"}, id="nadamw", marks=pytest.mark.slow),
        pytest.param(optax.amsgrad(0.01), {"0.mu"}, id="amsgrad", marks=pytest.mark.slow),
        pytest.param(optax.yogi(0.01), {"0.mu"}, id="yogi", marks=pytest.mark.slow),
        pytest.param(optax.adabelief(0.01), {"0.mu"}, id="adabelief", marks=pytest.mark.slow),
        pytest.param(optax.lion(0.01), {"0.mu"}, id="lion"),
        pytest.param(optax.adamax(0.01), {"0.mu"}, id="adamax", marks=pytest.mark.slow),
        pytest.param(optax.novograd(0.01), {"0.mu"}, id="novograd", marks=pytest.mark.slow),
        pytest.param(optax.adan(0.01), {"0.m", "0.v", "0.g"}, id="adan", marks=pytest.mark.slow),
        pytest.param(
            optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01)),
            {"1.0.mu"},
            id="clipped adam",
        ),
    ],
)
def test_leaves_that_follow_the_sign_of_the_gradient_oscillate(transformation, expected):
    memory = {f"memory.{name}" for name in expected}
    assert oscillating_leaves(transformation) == {"weights"} | memory


@pytest.mark.parametrize(
    ("transformation", "reason"),
    [
        pytest.param(
            optax.add_noise(0.1, 0.55, key=0), r"keeps a random key \(.*rng_key", id="noise"
        ),
        pytest.param(
            optax.MultiSteps(optax.adam(0.01), 2).gradient_transformation(),
            r"keeps an integer that is no step count \(.*step\)",
            id="accumulated gradients",
        ),
        pytest.param(
            optax.apply_if_finite(optax.adam(0.01), 3), r"keeps bool values \(.*finite", id="bool"
        ),
        pytest.param(optax.lbfgs(), "needs more than gradients and weights.*'value'", id="lbfgs"),
        pytest.param(
            optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau()),
            "needs more than gradients and weights.*'value'",
            id="plateau",
        ),
        pytest.param(
            optax.sgd(lambda count: jnp.where(jnp.issubdtype(count.dtype, jnp.integer), 1.0, 2.0)),
            "gives other updates when its step count is a floating-point number",
            id="count must be integer",
        ),
    ],
)
def test_transformation_without_continuous_limit_is_refused_in_one_line(transformation, reason):
    with pytest.raises(OptimizerError, match=reason) as refusal:
        optimizer_map(loss, transformation, jnp.asarray(WEIGHTS))
    assert "\n" not in str(refusal.value)


def test_evaluate_gives_loss_gradient_and_the_step_that_follows():
    optimizer = optimizer_map(loss, optax.adam(0.01), jnp.asarray(WEIGHTS))
    state = optimizer.initial(jnp.asarray(WEIGHTS))
    value, gradient, after = optimizer.evaluate(state)
    assert value == loss(WEIGHTS)
    np.testing.assert_allclose(gradient, jax.grad(loss)(WEIGHTS), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(after.weights, optimizer.update(state, gradient).weights)


# An optimizer of one's own: nothing is known of it but what the probe finds.

OWN = {
    "adamw": optax.adamw(0.02, weight_decay=0.01),
    "adamw, schedule": optax.adamw(optax.cosine_decay_schedule(0.02, 100)),
    "amsgrad": optax.amsgrad(0.02),
    "yogi": optax.yogi(0.02),
    "lion": optax.lion(0.005),
}


@pytest.fixture(scope="module", params=now(OWN, "adamw, schedule"))
def journeys(request):
    """Weights, loss and memory of the run and of every flow over some steps, from its third on."""
    optimizer = optimizer_map(loss, OWN[request.param], jnp.asarray(WEIGHTS))
    processes = {"discrete": Discrete(), **{name: flow() for name, flow in OF_ANY.items()}}

    @jit
    def travel(start):
        states = [start]
        for _ in range(3):
            states.append(optimizer(states[-1]))

        def advance(carries, key):
            both = {n: p.advance(optimizer, carries[n], key) for n, p in processes.items()}
            shown = {n: p.snapshot(optimizer, carries[n]) for n, p in processes.items()}
            return {n: carry for n, (carry, _) in both.items()}, {
                n: (shown[n]["weights"], seen["loss"], shown[n]["memory"])
                for n, (_, seen) in both.items()
            }

        carries = {n: p.begin(optimizer, *states[-3:]) for n, p in processes.items()}
        return jax.lax.scan(advance, carries, jax.random.split(jax.random.key(0), STEPS))[1]

    return jax.device_get(travel(optimizer.initial(jnp.asarray(WEIGHTS))))


def test_run_and_flows_of_ones_own_optimizer_stay_finite_and_learn(journeys):
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(journeys))
    assert all(losses[-1] < losses[0] for _, losses, _ in journeys.values())


@pytest.mark.parametrize("flow", OF_ANY)
def test_flow_of_ones_own_optimizer_stays_close_to_its_run(journeys, flow):
    run, found = journeys["discrete"][0], journeys[flow][0]
    np.testing.assert_array_equal(found[0], run[0])
    assert np.linalg.norm(found[-1] - run[-1]) < 0.2 * np.linalg.norm(run[-1] - run[0])


@pytest.mark.parametrize("name", OWN)
def test_lifted_map_of_ones_own_optimizer_is_exact(name):
    with jax.enable_x64(True):
        weights = jnp.asarray(WEIGHTS, jnp.float64)
        leaves = len(jax.tree.leaves(OWN[name].init(weights)))
        optimizer = OptimizerMap(loss, OWN[name], (True,) * (1 + leaves))

        @jit
        def departure():
            start = optimizer(optimizer.initial(weights))
            extent = oscillating(optimizer, jax.tree.map(lambda z: 0.05 * z, start))

            def step(carry, sign):
                state, rod = carry
                state, rod = optimizer(state), lifted_map(optimizer, rod)
                return (state, rod), jnp.abs(state.weights - rod.end(sign).weights)

            rod = Rod(start, extent)
            signs = -((-1.0) ** jnp.arange(50))
            return jax.lax.scan(step, (rod.end(+1), rod), signs)[1]

        assert departure().max() < 1e-12


def test_a_step_count_without_a_sign_is_no_random_key():
    """An array of two unsigned numbers is one; a single one is not."""

    def update(gradient, count, weights=None):
        return -0.1 * gradient, count + 1

    mine = optax.GradientTransformation(lambda weights: jnp.zeros([], jnp.uint32), update)
    assert optimizer_map(jnp.sum, mine, jnp.ones(3)).oscillating == (True, False)
