"""Figures that compare rod flow with the other continuous-time models."""
