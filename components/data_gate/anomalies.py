"""Turns TFDV's anomalies into findings that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2

from components.data_gate.finding import Finding


def find_anomalies(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[Finding]:
    """One finding an anomaly, split by split and by feature, in TFDV's words.

    Args:
        anomalies: by split.
    """
    findings = []
    for split, found in anomalies.items():
        if found.data_missing:
            findings.append(Finding(split, "whole set", "No examples", "there are no examples"))
        if found.HasField("dataset_anomaly_info"):
            findings.append(_finding(split, "whole set", found.dataset_anomaly_info))
        for feature, info in sorted(found.anomaly_info.items()):
            findings.append(_finding(split, feature, info))
    return findings


def _finding(split: str, subject: str, info: anomalies_pb2.AnomalyInfo) -> Finding:
    return Finding(split, subject, info.short_description, info.description)
