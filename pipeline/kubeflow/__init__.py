"""Kubeflow Pipelines: compiler, container entrypoint, simulator, server and schedule."""
