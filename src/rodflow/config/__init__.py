"""What an experiment is: a config file, checked, completed and multiplied into runs and files. Imports no JAX."""
