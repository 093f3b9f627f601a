"""An optimizer of one's own, as docs/own_optimizer.md shows it: the page runs, and what it says is refused is."""

import re
from pathlib import Path

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
from rodflow.optimizers.alternation import alternating_gain
from rodflow.optimizers.optimizer_map import OptimizerError, OptimizerMap, optimizer_map
from small import jit

PAGE = (Path(__file__).parents[2] / "docs" / "own_optimizer.md").read_text(encoding="utf-8")
WEIGHTS = np.random.default_rng(2).standard_normal(4).astype(np.float32)
OF_ANY = {
    name: FLOWS.load(name).process
    for name in FLOWS
    if FLOWS[name].supports is any_optimizer and not FLOWS[name].batches
}


@pytest.fixture(scope="module")
def example():
    """What the names of the page's example stand for after it has run."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(code, "own_optimizer.md", "exec"), names)
    return names


@pytest.mark.slow
def test_example_runs_and_flows_are_complete_and_finite(example):
    for recording in (example["run"], *example["flows"].values()):
        assert recording.status == "completed"
        assert np.isfinite(recording.series["loss"]).all()
        assert recording.series["loss"][-1] < recording.series["loss"][0]
        assert recording.snapshots["weights"].shape[0] == 5


@pytest.mark.slow
def test_example_rod_flow_is_nearer_to_the_run_than_the_stable_flow(example):
    error = example["error"]
    assert max(error["rod"], error["rod_unit_step"]) < error["stable"] < 1


@pytest.mark.slow
def test_example_ratio_is_the_largest_eigenvalue_of_the_dense_matrix(example):
    here, gain = example["run"].snapshots["weights"][-1], example["gains"][-1]
    root = np.sqrt(gain.astype(float))
    hessian = np.asarray(jax.hessian(example["loss"])(jnp.asarray(here)), float)
    dense = np.linalg.eigvalsh(root[:, None] * hessian * root)[-1] / 2
    assert example["ratio"][-1] == pytest.approx(dense, rel=1e-3)
    assert np.isfinite(example["ratio"]).all()


def by_name(name: str) -> optax.GradientTransformation:
    return {
        "optax.add_noise": lambda: optax.add_noise(0.1, 0.55, key=0),
        "optax.MultiSteps": lambda: optax.MultiSteps(optax.adam(0.01), 2).gradient_transformation(),
        "optax.apply_if_finite": lambda: optax.apply_if_finite(optax.adam(0.01), 3),
        "optax.lbfgs": optax.lbfgs,
        "optax.lion": lambda: optax.lion(0.01),
        "optax.sign_sgd": lambda: optax.sign_sgd(0.01),
        "optax.lamb": lambda: optax.lamb(0.01),
        "optax.lars": lambda: optax.lars(0.01),
        "optax.novograd": lambda: optax.novograd(0.01),
        "optax.adafactor": lambda: optax.adafactor(0.01),
        "optax.contrib.muon": lambda: optax.contrib.muon(0.01),
        "optax.lbfgs(linesearch=None)": lambda: optax.lbfgs(linesearch=None),
        "optax.adam(0.1, mu_dtype=jnp.bfloat16)": lambda: optax.adam(0.1, mu_dtype=jnp.bfloat16),
        "optax.sgd(-0.1)": lambda: optax.sgd(-0.1),
        "optax.adamw(0.1, weight_decay=25.0)": lambda: optax.adamw(0.1, weight_decay=25.0),
    }[name]()


# Rows of the page's tables that name a transformation; others are in test_alternation.py and test_probes.py.
REFUSALS = [
    (name, message)
    for row in re.findall(r"^\| (`optax\..*?) \| (.*) \|$", PAGE, re.MULTILINE)
    for name, message in [(name, row[1]) for name in re.findall(r"`(.*?)`", row[0])]
    if "before its first step" not in row[0]
]


@pytest.mark.parametrize(("name", "message"), now(REFUSALS, *REFUSALS[::3]))
def test_what_the_page_says_is_refused_is_refused_with_its_message(name, message):
    weights = jnp.asarray(WEIGHTS)
    with pytest.raises(OptimizerError) as refusal:
        optimizer = optimizer_map(jnp.sum, by_name(name), weights)
        alternating_gain(optimizer, optimizer.update(optimizer.initial(weights), weights))
    pattern = ".*".join(re.escape(part.strip()) for part in message.split("..."))
    assert re.search(pattern, str(refusal.value))


def test_page_has_all_its_refusals_checked():
    assert len(REFUSALS) == 15


# test_optimizer_map.py takes adamw, amsgrad, yogi, lion and a cosine schedule of adamw through the flows.

OWN = {
    "adam, cosine schedule": optax.adam(optax.cosine_decay_schedule(0.02, 100)),
    "adagrad": optax.adagrad(0.05),
}


def loss(weights):
    """A narrow tanh network, 1-2-1, on three points."""
    inputs, targets = jnp.array([-1.0, 0.2, 1.5]), jnp.array([0.3, -0.5, 1.0])
    return jnp.mean((jnp.tanh(inputs[:, None] * weights[:2]) @ weights[2:] - targets) ** 2) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_run_and_flows_of_ones_own_optimizer_stay_finite(name):
    optimizer = optimizer_map(loss, OWN[name], jnp.asarray(WEIGHTS))
    processes = {"discrete": Discrete(), **{name: flow() for name, flow in OF_ANY.items()}}

    @jit
    def travel(start):
        states = [start]
        for _ in range(3):
            states.append(optimizer(states[-1]))

        def advance(carries, key):
            both = {n: p.advance(optimizer, carries[n], key) for n, p in processes.items()}
            return {n: c for n, (c, _) in both.items()}, {
                n: s["loss"] for n, (_, s) in both.items()
            }

        carries = {n: p.begin(optimizer, *states[-3:]) for n, p in processes.items()}
        return jax.lax.scan(advance, carries, jax.random.split(jax.random.key(0), 30))[1]

    losses = travel(optimizer.initial(jnp.asarray(WEIGHTS)))
    assert losses.keys() == processes.keys()
    assert all(np.isfinite(seen).all() and seen[-1] < seen[0] for seen in losses.values())


@pytest.mark.parametrize("name", OWN)
def test_lifted_map_of_ones_own_optimizer_is_exact(name):
    with jax.enable_x64(True):
        weights = jnp.asarray(WEIGHTS, jnp.float64)
        leaves = len(jax.tree.leaves(OWN[name].init(weights)))
        optimizer = OptimizerMap(loss, OWN[name], (True,) * (1 + leaves))

        @jit
        def departure():
            start = optimizer(optimizer.initial(weights))
            rod = Rod(start, oscillating(optimizer, jax.tree.map(lambda z: 0.05 * z, start)))

            def step(carry, sign):
                state, rod = optimizer(carry[0]), lifted_map(optimizer, carry[1])
                return (state, rod), jnp.abs(state.weights - rod.end(sign).weights)

            return jax.lax.scan(step, (rod.end(+1), rod), -((-1.0) ** jnp.arange(50)))[1]

        assert departure().max() < 1e-12
