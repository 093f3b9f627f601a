"""Figures of Gould and Tanaka 2024: Adam in continuous time, and k-Adam."""
