"""Fixtures of the experiments."""

from training_fixtures import body_weights, tiny, tiny_hybrid, write_transformed
