"""Turns TFDV's anomalies into lines that a person can act on."""

from __future__ import annotations

from collections.abc import Mapping

from tensorflow_metadata.proto.v0 import anomalies_pb2


def describe(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[str]:
    """One line an anomaly: split, feature, what is wrong and the details TFDV gives.

    Args:
        anomalies: by split.
    """
    lines = []
    for split, found in anomalies.items():
        if found.data_missing:
            lines.append(f"{split}: whole set: there are no examples")
        if found.HasField("dataset_anomaly_info"):
            lines.append(_line(split, "whole set", found.dataset_anomaly_info))
        for feature, info in sorted(found.anomaly_info.items()):
            lines.append(_line(split, feature, info))
    return lines


def _line(split: str, subject: str, info: anomalies_pb2.AnomalyInfo) -> str:
    return f"{split}: {subject}: {info.short_description}: {info.description}"
