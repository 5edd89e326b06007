"""Experiments over many trainings: cross-validation and the comparison with the paper."""
