"""Fixtures of whole pipelines on a simulated Kubeflow."""

from kubeflow_fixtures import fake_kubeflow, host, kubeflow_server, make_server
