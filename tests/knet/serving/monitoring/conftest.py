"""Fixtures of the monitoring tests."""

from monitoring_fixtures import answers, predictions, predictions_file, schema, statistics_folder, training
