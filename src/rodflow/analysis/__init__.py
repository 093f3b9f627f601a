"""Numbers of figures and claims, from labelled series alone. Imports no JAX."""
