"""Fixtures of the command line tests."""

from command_line import knet
from kubeflow_fixtures import (
    client,
    compiled,
    config,
    fake_kubeflow,
    host,
    kubeflow_server,
    make_server,
    recorded,
    recorded_graph,
)
from monitoring_fixtures import logged, predictions, predictions_file, schema, statistics_folder, training
from serving_fixtures import base_path, png, saved_model, server
