"""Fixtures of the experiments."""

from training_fixtures import tiny_mobilenet, write_transformed
