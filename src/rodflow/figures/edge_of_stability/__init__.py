"""Figures of Cohen et al. 2021 and 2022: gradient descent and adaptive methods at the edge of stability."""
