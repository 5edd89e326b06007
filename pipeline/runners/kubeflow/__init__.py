"""The graph on Kubeflow Pipelines: compiled, run in containers, and tried out without a cluster."""
