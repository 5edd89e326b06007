"""Kubeflow Pipelines' own programs as processes on one machine, with a fake Kubernetes and Argo."""
