"""Fixtures of the monitoring tests."""

from monitoring_fixtures import logged, predictions, predictions_file, schema, statistics_folder, training
