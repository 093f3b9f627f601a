"""What the flows say that they cost, against a count of the gradients and Hessian products that are formed."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from representatives import now
from rodflow.config.catalogue import FLOWS
from rodflow.dynamics.flows.central import CentralFlow
from rodflow.dynamics.flows.closure import CovarianceClosure
from rodflow.dynamics.flows.edge_unit_step import EdgeUnitStep
from rodflow.dynamics.flows.rod import RodFlow
from rodflow.optimizers.optimizer_map import optimizer_map
from rodflow.optimizers.table import TABLE
from small import double_precision, jit

WEIGHTS = np.random.default_rng(2).standard_normal(12)


@pytest.fixture(autouse=True, scope="module")
def float64():
    with double_precision():
        yield


class Counts:
    """How often a gradient, and a product with the Hessian, was formed."""

    def __init__(self):
        self.gradients = self.products = 0

    def gradient(self, _):
        self.gradients += 1

    def product(self, _):
        self.products += 1


def counting(loss):
    """The loss, and what counts: a backward pass through it, and the derivative of one."""
    counts = Counts()

    @jax.custom_jvp
    def backward(cotangent):
        jax.debug.callback(counts.gradient, cotangent[0])
        return cotangent

    @backward.defjvp
    def _(primals, tangents):
        jax.debug.callback(counts.product, tangents[0][0])
        return backward(*primals), tangents[0]

    @jax.custom_vjp
    def watched(weights):
        return weights

    watched.defvjp(lambda weights: (weights, None), lambda _, g: (backward(g),))
    return (lambda weights: loss(watched(weights))), counts


def counted(process, optimizer, counts, carry, units=3):
    """What is formed in some units of time, and what the flow says, summed."""
    advance = jit(lambda carry, key: process.advance(optimizer, carry, key))
    advance = advance.lower(carry, jax.random.key(0)).compile()
    counts.gradients = counts.products = 0
    said = {"gradients": 0.0, "hessian_products": 0.0, "third_derivatives": 0.0}
    for key in jax.random.split(jax.random.key(0), units):
        carry, seen = advance(carry, key)
        said = {name: value + float(seen.get(name, 0)) for name, value in said.items()}
    jax.effects_barrier()
    return counts.gradients, counts.products, said, carry


def valley(weights):
    """A curved valley, smooth, of moderate curvature."""
    return jnp.sum(jnp.log(jnp.cosh(weights[1:] - weights[:-1] ** 2 / 2))) + jnp.sum(weights**2) / 4


def start(process, name="gd", loss=valley, weights=WEIGHTS, **chosen):
    """An optimizer on a loss that counts, and the flow's carry on its first states."""
    watched, counts = counting(loss)
    transformation = TABLE[name].build(**{"learning_rate": 0.2, **chosen})
    optimizer = optimizer_map(watched, transformation, jnp.asarray(weights))

    @jit
    def begin(weights):
        states = [optimizer.initial(weights)]
        for _ in range(2):
            states.append(optimizer(states[-1]))
        return process.begin(optimizer, *states)

    return optimizer, counts, begin(jnp.asarray(weights))


def test_the_count_is_of_gradients_and_products_and_of_nothing_else():
    loss, counts = counting(valley)
    weights = jnp.asarray(WEIGHTS)

    def repeated(weights):
        def one(_, w):
            _, product = jax.linearize(jax.grad(loss), w)
            return jax.lax.cond(
                loss(w) > 0, lambda w: w - product(w) - product(0.1 * w), jnp.sin, w
            )

        return jax.lax.fori_loop(0, 3, one, weights)

    jax.block_until_ready(jit(repeated)(weights))
    jax.effects_barrier()
    assert (counts.gradients, counts.products) == (3, 6)


ADAM = {"b1": 0.9, "b2": 0.99, "eps": 1e-8}
FIXED = [
    (FLOWS.load("rod_unit_step").process(), "gd", 4, 0),
    (FLOWS.load("rod_unit_step").process(), "adam", 4, 0),
    (RodFlow(), "gd", 8, 0),
    (RodFlow(), "adam", 8, 0),
    (RodFlow(substeps=3), "gd", 24, 0),
    (CovarianceClosure(), "gd", 6, 2),
    (CovarianceClosure(), "adam", 6, 2),
    (CovarianceClosure(substeps=2), "gd", 12, 4),
]


@pytest.mark.parametrize(
    ("process", "name", "gradients", "products"),
    now(FIXED, FIXED[1], FIXED[5]),
    ids=[f"{type(process).__name__}-{name}-{cost}" for process, name, cost, _ in FIXED],
)
def test_flows_of_fixed_steps_cost_what_they_say(process, name, gradients, products):
    optimizer, counts, carry = start(process, name, **(ADAM if name == "adam" else {}))
    formed, multiplied, said, _ = counted(process, optimizer, counts, carry)
    assert formed == said["gradients"] == 3 * gradients
    assert multiplied == said["hessian_products"] == 3 * products


# The start of each unit is so short a step that none is rejected before the first is accepted: that forms one gradient
# more than is said, because diffrax evaluates the field at the start again.


@pytest.mark.parametrize("rate", now([0.2, 6.0], 6.0), ids=["smooth", "stiff"])
def test_stable_flow_counts_the_stages_of_its_integrator(rate):
    process = FLOWS.load("stable").process()
    optimizer, counts, carry = start(process, learning_rate=rate)
    carry = carry._replace(dt=jnp.asarray(1e-3))
    formed, multiplied, said, _ = counted(process, optimizer, counts, carry, units=1)
    assert formed == said["gradients"]
    assert multiplied == said["hessian_products"] == 0
    assert formed > (13 if rate < 1 else 130)


@pytest.mark.parametrize("length", now([1e-9, 1.0], 1.0), ids=["closed", "open"])
@pytest.mark.parametrize("name", now(["gd", "rmsprop"], "gd"))
def test_macro_steps_cost_what_they_say(name, length):
    process = FLOWS.load("rod_macro").process()
    chosen = {} if name == "gd" else {"learning_rate": 1e-3, "b2": 0.99, "eps": 1e-8}
    optimizer, counts, carry = start(process, name, **chosen)
    extent = jax.tree.map(lambda x: length * x, carry.span.start.extent)
    carry = carry._replace(span=carry.span._replace(start=carry.span.start._replace(extent=extent)))
    formed, _, said, _ = counted(process, optimizer, counts, carry, units=60)
    assert formed == said["gradients"] > 0


@pytest.mark.slow
def test_edge_flow_counts_the_stages_of_its_integrator():
    """A product with the Hessian at the centre goes with a backward pass there, which the product stands for."""
    process = FLOWS.load("edge").process()
    optimizer, counts, carry = start(process)
    carry = carry._replace(dt=jnp.asarray(1e-3))
    formed, multiplied, said, _ = counted(process, optimizer, counts, carry, units=1)
    assert said["gradients"] == 2 * said["hessian_products"] > 2 * 13
    assert multiplied == said["hessian_products"]
    assert formed == said["gradients"] + said["hessian_products"]


@pytest.mark.parametrize("substeps", now([1, 3], 3))
def test_edge_flow_in_unit_steps_costs_two_gradients_and_a_product(substeps):
    """As of the flow: the product goes with a backward pass at the centre."""
    process = EdgeUnitStep(substeps=substeps)
    optimizer, counts, carry = start(process)
    formed, multiplied, said, _ = counted(process, optimizer, counts, carry)
    assert said["gradients"] == 3 * 2 * substeps
    assert multiplied == said["hessian_products"] == 3 * substeps
    assert formed == said["gradients"] + said["hessian_products"]


@pytest.mark.slow
def test_adam_in_continuous_time_counts_the_stages_of_its_integrator():
    process = FLOWS.load("adam_continuous").process()
    watched, counts = counting(valley)
    transformation = TABLE["adam"].tuned(float, learning_rate=0.2, **ADAM)
    optimizer = optimizer_map(watched, transformation, jnp.asarray(WEIGHTS))
    state = optimizer.initial(jnp.asarray(WEIGHTS))
    carry = jit(lambda s: process.begin(optimizer, s, s, s))(state)
    carry = carry._replace(dt=jnp.asarray(1e-3))
    formed, multiplied, said, _ = counted(process, optimizer, counts, carry, units=1)
    assert formed == said["gradients"] > 13
    assert multiplied == said["hessian_products"] == 0


def test_central_flow_costs_a_gradient_a_step_and_the_products_of_its_eigenvectors():
    process = CentralFlow(first=4)
    optimizer, counts, carry = start(process)
    formed, multiplied, said, _ = counted(process, optimizer, counts, carry)
    assert formed == said["gradients"] == 3 * 2
    assert multiplied == said["hessian_products"] >= 3 * 2 * 4
    assert said["third_derivatives"] == 0


class Sharp(eqx.Module):
    """Two directions above the threshold that fall with the first two weights."""

    def __call__(self, w):
        return jnp.sum(w[2:4] ** 2 * (2.1 + w[:2])) / 2 + jnp.sum(w[4:] ** 2) / 8


@pytest.mark.slow
def test_central_flow_counts_a_third_derivative_for_each_pair_at_the_threshold():
    """Each is formed from a gradient of its own and a product with it."""
    process = CentralFlow(first=4)
    weights = np.array([0.0, 0, 0, 0, *np.ones(8)])
    optimizer, counts, carry = start(process, loss=Sharp(), weights=weights, learning_rate=1.0)
    formed, multiplied, said, carry = counted(process, optimizer, counts, carry)
    assert int(carry.near) == 2
    assert said["third_derivatives"] == 3 * 2 * 3
    assert formed == said["gradients"] + said["third_derivatives"]
    assert multiplied >= said["hessian_products"] + said["third_derivatives"]
