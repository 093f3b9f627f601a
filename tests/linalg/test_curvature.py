"""Hessian products and leading eigenpairs, against the dense Hessian of a small network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg import confidence
from rodflow.linalg.curvature import hessian_products, top_eigenpairs

INPUTS = np.random.default_rng(0).standard_normal((6, 3))
TARGETS = np.random.default_rng(1).standard_normal(6)
WEIGHTS = np.random.default_rng(2).standard_normal(20)
PRECONDITIONER = 10.0 ** np.random.default_rng(3).uniform(-1, 1, 20)
COUNT, TOLERANCE = 3, 1e-6


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def loss(weights):
    """Of a tanh network, 3-5-1."""
    hidden = jnp.tanh(INPUTS @ weights[:15].reshape(3, 5))
    return jnp.mean((hidden @ weights[15:] - TARGETS) ** 2) / 2


def guess() -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(4).standard_normal((20, COUNT)))[0]


def pairs_at(weights, start, preconditioner=PRECONDITIONER):
    arrays = map(jnp.asarray, (weights, preconditioner, start))
    return top_eigenpairs(loss, *arrays, TOLERANCE)


@pytest.fixture(scope="module")
def hessian(float64) -> np.ndarray:
    return np.asarray(jax.jit(jax.hessian(loss))(jnp.asarray(WEIGHTS)))


@pytest.fixture(scope="module")
def pairs(float64):
    return pairs_at(WEIGHTS, guess())


def test_products_are_those_of_the_dense_hessian(hessian):
    block = np.random.default_rng(5).standard_normal((20, 4))
    found = jax.jit(lambda w, block: hessian_products(loss, w)(block))(WEIGHTS, block)
    np.testing.assert_allclose(found, hessian @ block, rtol=1e-12, atol=1e-13)


def test_eigenvalues_are_the_largest_of_the_preconditioned_hessian(hessian, pairs):
    scale = PRECONDITIONER**-0.5
    expected = np.linalg.eigvalsh(scale[:, None] * hessian * scale)[::-1]
    np.testing.assert_allclose(pairs.values, expected[:COUNT], rtol=1e-10)


def test_eigenvectors_are_those_of_the_preconditioned_hessian(hessian, pairs):
    scale = PRECONDITIONER**-0.5
    expected = np.linalg.eigh(scale[:, None] * hessian * scale)[1][:, ::-1][:, :COUNT]
    overlap = np.abs(np.sum(expected * pairs.vectors, axis=0))
    np.testing.assert_allclose(overlap, 1, atol=1e-9)


def test_residuals_are_stated_as_they_are_and_below_the_tolerance(hessian, pairs):
    scale = PRECONDITIONER**-0.5
    images = (scale[:, None] * hessian * scale) @ pairs.vectors
    expected = np.linalg.norm(images - pairs.vectors * pairs.values, axis=0) / pairs.values[0]
    np.testing.assert_allclose(pairs.residuals, expected, rtol=1e-6, atol=1e-14)
    assert np.all(pairs.residuals < TOLERANCE)


def test_ones_precondition_nothing(hessian):
    found = pairs_at(WEIGHTS, guess(), np.ones(20)).values
    np.testing.assert_allclose(found, np.linalg.eigvalsh(hessian)[::-1][:COUNT], rtol=1e-10)


@pytest.mark.slow
def test_both_checks_of_an_adaptive_method_are_one_program(monkeypatch):
    traced, chain = [], confidence.chain
    monkeypatch.setattr(confidence, "chain", lambda *given: traced.append(0) or chain(*given))
    size = 100  # more than are done by the dense matrix
    diagonal = jnp.linspace(1, 2, size)
    found = top_eigenpairs(
        lambda weights: jnp.sum(diagonal * weights**2) / 2,
        jnp.zeros(size),
        diagonal,
        jnp.eye(size)[:, :3],
        1e-2,
    )
    assert np.isfinite(found.upper_bounds).all() and np.isfinite(found.raw_upper_bound)
    assert len(traced) == 1
