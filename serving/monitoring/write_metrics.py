"""Hands what came of a log to Prometheus, by a file that its node exporter reads."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from pipeline.write_whole import write_whole
from serving.monitoring.monitor import Monitored


def write_metrics(path: Path, monitored: Monitored) -> None:
    """Writes gauges in Prometheus' text format, whole or not at all.

    Args:
        path: whose name must end with `.prom` for the node exporter's textfile collector.
        monitored: what they say.
    """
    registry = CollectorRegistry()
    findings = Gauge(
        "knet_monitor_findings", "What is not as it was at training.", ["version"], registry=registry
    )
    doubted = Gauge(
        "knet_monitor_doubted_share", "Share of images that are doubted.", ["version"], registry=registry
    )
    distance = Gauge(
        "knet_monitor_distance",
        "Jensen-Shannon divergence from training images; of score and distance from evaluated images.",
        ["version", "feature"],
        registry=registry,
    )
    Gauge("knet_monitor_broken_lines", "Lines of the log that were passed over.", registry=registry).set(
        len(monitored.broken)
    )
    Gauge(
        "knet_monitor_last_run_timestamp_seconds", "When the log was last judged.", registry=registry
    ).set_to_current_time()
    for judgement in monitored.judgements:
        findings.labels(judgement.version).set(len(judgement.findings))
        doubted.labels(judgement.version).set(judgement.doubted)
        for measured in judgement.skew:
            if measured.value is not None:
                distance.labels(judgement.version, measured.feature).set(measured.value)
        for answer in judgement.answers:
            distance.labels(judgement.version, answer.name).set(answer.value)
    write_whole(path, generate_latest(registry).decode())
