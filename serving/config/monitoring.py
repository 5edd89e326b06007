"""Where Prometheus finds the metrics."""

from __future__ import annotations

from pathlib import Path

from serving.config.messages import MonitoringConfig
from serving.config.read_text_proto import read_text_proto

METRICS_PATH = "/monitoring/prometheus/metrics"  # TF Serving's own


def read_metrics_path(file: Path) -> str | None:
    """The path on the REST interface that a monitoring config names, or None where it enables none.

    Raises:
        UserError: the file cannot be read.
    """
    prometheus = read_text_proto(file, MonitoringConfig).prometheus_config
    return (prometheus.path or METRICS_PATH) if prometheus.enable else None
