"""Fixtures of the evaluation tests."""

from training_fixtures import tiny, tiny_hybrid, write_transformed
