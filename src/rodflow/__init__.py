"""Rod flow and the other continuous-time models of optimizers at the edge of stability."""
