"""The continuous-time models of a discrete run, one module each."""
