"""Anomalies in words."""

from __future__ import annotations

from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo

from components.data_gate.anomalies import find_anomalies
from components.data_gate.finding import Finding


def info(short: str, long: str) -> AnomalyInfo:
    return AnomalyInfo(short_description=short, description=long)


def test_no_anomalies_give_no_findings() -> None:
    assert find_anomalies({"train": Anomalies(), "test": Anomalies()}) == []


def test_a_finding_names_split_feature_and_details() -> None:
    anomalies = Anomalies(anomaly_info={"label": info("Out-of-range values", "value: 2")})
    assert find_anomalies({"test": anomalies}) == [
        Finding("test", "label", "Out-of-range values", "value: 2")
    ]


def test_findings_go_split_by_split_and_by_feature() -> None:
    anomalies = Anomalies(anomaly_info={"slide": info("b", ""), "label": info("a", "")})
    found = find_anomalies({"train": anomalies, "test": anomalies})
    assert [(finding.split, finding.feature) for finding in found] == [
        ("train", "label"),
        ("train", "slide"),
        ("test", "label"),
        ("test", "slide"),
    ]


def test_an_anomaly_of_the_whole_set_comes_first() -> None:
    anomalies = Anomalies(
        anomaly_info={"label": info("a", "")}, dataset_anomaly_info=info("Low num examples", "3 < 5")
    )
    assert find_anomalies({"train": anomalies})[0] == Finding(
        "train", "whole set", "Low num examples", "3 < 5"
    )


def test_an_empty_split_is_an_anomaly() -> None:
    (finding,) = find_anomalies({"test": Anomalies(data_missing=True)})
    assert (finding.split, finding.feature) == ("test", "whole set")
