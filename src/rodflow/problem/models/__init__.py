"""The kinds of networks that a config may name, one module each: its declaration and its flax module."""
