"""Largest eigenpairs from products, against dense matrices of known spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg.eigensolver import largest_eigenpairs, random_guess

ROWS, COUNT, TOLERANCE = 60, 3, 1e-6


@pytest.fixture(autouse=True, scope="module")
def float64():
    with jax.enable_x64(True):
        yield


def matrix(spectrum, seed=0) -> np.ndarray:
    """Symmetric, with these eigenvalues and random eigenvectors."""
    basis = np.linalg.qr(np.random.default_rng(seed).standard_normal((ROWS, ROWS)))[0]
    return basis * np.asarray(spectrum) @ basis.T


def guess(columns=COUNT, seed=1) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((ROWS, columns)))[0]


@jax.jit
def search(dense, start):
    return largest_eigenpairs(lambda block: dense @ block, start, TOLERANCE)


SPECTRA = {
    "decaying": 2.0 ** -np.arange(ROWS),
    "of both signs": np.linspace(3, -5, ROWS),
    "negative": -np.linspace(1, 2, ROWS),
    "of rank two": np.array([5.0, 2.0] + [0.0] * (ROWS - 2)),
    "with a multiple": np.array([4.0] * 2 + [1.0] * (ROWS - 2)),
    "large": 1e8 * 2.0 ** -np.arange(ROWS),
    "small": 1e-8 * 2.0 ** -np.arange(ROWS),
}


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_finds_the_largest_eigenvalues_whatever_the_spectrum(spectrum):
    found = search(matrix(spectrum), guess())
    atol = 1e-9 * np.abs(spectrum).max()
    np.testing.assert_allclose(found.values, spectrum[:COUNT], atol=atol)


@pytest.mark.parametrize("spectrum", SPECTRA.values(), ids=SPECTRA)
def test_vectors_are_orthonormal_and_residuals_those_of_the_matrix(spectrum):
    dense = matrix(spectrum)
    values, vectors, residuals, _ = search(dense, guess())
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(COUNT), atol=1e-10)
    expected = np.linalg.norm(dense @ vectors - vectors * values, axis=0) / np.abs(values[0])
    np.testing.assert_allclose(residuals, expected, rtol=1e-5, atol=1e-13)
    assert np.all(residuals <= TOLERANCE)


def test_an_exact_guess_costs_one_block_of_products():
    vectors = np.linalg.eigh(matrix(SPECTRA["decaying"]))[1][:, ::-1][:, :COUNT]
    assert search(matrix(SPECTRA["decaying"]), vectors).products == COUNT


def test_a_guess_nearby_costs_less_than_a_random_one():
    dense = matrix(SPECTRA["of both signs"])
    nearby = dense + 1e-3 * matrix(np.linspace(-1, 1, ROWS), seed=3)
    warm, cold = search(nearby, search(dense, guess()).vectors), search(nearby, guess())
    np.testing.assert_allclose(warm.values, cold.values, rtol=1e-9)
    assert 2 * warm.products < cold.products


@pytest.mark.slow
def test_products_are_counted_as_they_are_formed():
    formed = []

    def product(block):
        formed.append(block.shape[1])
        return matrix(SPECTRA["decaying"]) @ block

    with jax.disable_jit():
        found = largest_eigenpairs(product, jnp.asarray(guess()), TOLERANCE)
    assert sum(formed) == found.products > COUNT


def test_a_search_for_fewer_pairs_than_the_guess_has_columns_stops_at_those():
    dense = matrix(SPECTRA["of both signs"])
    one = largest_eigenpairs(lambda x: dense @ x, jnp.asarray(guess()), TOLERANCE, count=1)
    np.testing.assert_allclose(one.values[0], 3, rtol=1e-9)
    assert one.residuals[0] <= TOLERANCE < one.residuals[-1]
    assert one.products < search(dense, guess()).products


def test_a_search_that_is_cut_short_says_so_in_its_residuals():
    dense = matrix(SPECTRA["of both signs"])
    found = largest_eigenpairs(lambda x: dense @ x, jnp.asarray(guess()), TOLERANCE, max_blocks=2)
    assert found.products == 2 * COUNT
    assert found.residuals.max() > 100 * TOLERANCE


def test_nothing_has_no_curvature():
    found = search(np.zeros((ROWS, ROWS)), guess())
    np.testing.assert_array_equal(found.values, np.zeros(COUNT))
    np.testing.assert_array_equal(found.residuals, np.zeros(COUNT))


def test_single_precision_reaches_a_hundredth_of_a_thousandth():
    dense = matrix(SPECTRA["decaying"]).astype(np.float32)
    start = guess().astype(np.float32)
    found = largest_eigenpairs(lambda x: dense @ x, jnp.asarray(start), 1e-5)
    assert found.residuals.max() <= 1e-5
    # A residual, over the largest eigenvalue, bounds what each of them errs by.
    within = 1e-5 * SPECTRA["decaying"][0]
    np.testing.assert_allclose(found.values, SPECTRA["decaying"][:COUNT], rtol=0, atol=within)


def test_random_guess_is_orthonormal_and_reproducible():
    one, again, other = (random_guess(jax.random.key(k), ROWS, COUNT) for k in (0, 0, 1))
    np.testing.assert_allclose(one.T @ one, np.eye(COUNT), atol=1e-13)
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1
