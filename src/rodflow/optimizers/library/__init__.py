"""The optimizers that a config may name, one module each: its declaration, its optax transformation, its threshold."""
