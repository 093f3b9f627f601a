"""Batch sharpness against the same with dense Hessians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rodflow.linalg.batch_sharpness import batch_sharpness
from sampled import slopes, tanh
from small import WEIGHTS, double_precision

BATCHES = jnp.array([[0, 3, 4], [1, 2, 9], [5, 6, 8]])


@pytest.mark.slow
def test_it_is_the_mean_of_the_quotients_of_each_batch():
    with double_precision():
        loss, weights = tanh(), jnp.asarray(WEIGHTS)
        expected = []
        for batch in BATCHES:
            g, h = jax.grad(loss.of(batch))(weights), jax.hessian(loss.of(batch))(weights)
            expected.append(g @ h @ g / (g @ g))
        found = batch_sharpness(loss.of, weights, BATCHES)
        np.testing.assert_allclose(found, np.mean(expected), rtol=1e-10)


def test_of_one_curvature_it_is_that_curvature():
    with double_precision():
        loss = slopes(10, np.full(3, 0.7))
        np.testing.assert_allclose(batch_sharpness(loss.of, jnp.ones(3), BATCHES), 0.7)
