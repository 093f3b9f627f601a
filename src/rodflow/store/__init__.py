"""Files: artifacts with their provenance, checkpoints of a job, the labels of a trajectory, reading results."""
