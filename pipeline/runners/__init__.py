"""Runs the one graph: on this machine, or compiled for Kubeflow."""
