"""Figures of training on minibatches and of the flows that model it."""
