"""Numerical linear algebra: products with the Hessian, its leading eigenpairs, a small complementarity problem."""
