"""Optimizers as maps of a state, from optax transformations, and where they become unstable."""
