"""Fixtures of the data gate."""

from validation_fixtures import schema, statistics_of, write_splits
