"""The data sets that a config may name, one module each: its declaration and how it is read."""
