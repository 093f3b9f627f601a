"""A small network for tests, and a jit that compiles fast: what is compiled here runs for milliseconds."""

import functools
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

jit = functools.partial(
    jax.jit,
    compiler_options={
        "xla_backend_optimization_level": 0,
        "xla_cpu_use_fusion_emitters": False,
    },
)


@contextmanager
def double_precision():
    """For all threads: a context of JAX does not reach the one from which a program calls the host."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


INPUTS = np.random.default_rng(0).standard_normal((6, 3))
TARGETS = np.random.default_rng(1).standard_normal(6)
WEIGHTS = np.random.default_rng(2).standard_normal(16)


def network_loss(weights):
    """Squared error of a tanh network, 3-4-1, in the precision of its weights."""
    hidden = jnp.tanh(INPUTS.astype(weights.dtype) @ weights[:12].reshape(3, 4))
    return jnp.mean((hidden @ weights[12:] - TARGETS.astype(weights.dtype)) ** 2) / 2
