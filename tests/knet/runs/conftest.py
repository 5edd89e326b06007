"""Fixtures of the tests of runs."""

from mlflow_server import mlflow_server
