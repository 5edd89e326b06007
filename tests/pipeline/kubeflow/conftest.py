"""Fixtures of the Kubeflow tests."""

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
