"""Fixtures of the evaluation tests."""

from training_fixtures import body_weights, tiny, tiny_hybrid, write_transformed
