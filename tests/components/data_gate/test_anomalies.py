"""Anomalies in words."""

from __future__ import annotations

from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo

from components.data_gate.anomalies import describe


def info(short: str, long: str) -> AnomalyInfo:
    return AnomalyInfo(short_description=short, description=long)


def test_no_anomalies_give_no_lines() -> None:
    assert describe({"train": Anomalies(), "test": Anomalies()}) == []


def test_a_line_names_split_feature_and_details() -> None:
    anomalies = Anomalies(anomaly_info={"label": info("Out-of-range values", "value: 2")})
    assert describe({"test": anomalies}) == ["test: label: Out-of-range values: value: 2"]


def test_lines_go_split_by_split_and_by_feature() -> None:
    anomalies = Anomalies(anomaly_info={"slide": info("b", ""), "label": info("a", "")})
    lines = describe({"train": anomalies, "test": anomalies})
    assert [line.split(": ")[:2] for line in lines] == [
        ["train", "label"],
        ["train", "slide"],
        ["test", "label"],
        ["test", "slide"],
    ]


def test_an_anomaly_of_the_whole_set_comes_first() -> None:
    anomalies = Anomalies(
        anomaly_info={"label": info("a", "")}, dataset_anomaly_info=info("Low num examples", "3 < 5")
    )
    assert describe({"train": anomalies})[0] == "train: whole set: Low num examples: 3 < 5"


def test_an_empty_split_is_an_anomaly() -> None:
    assert len(describe({"test": Anomalies(data_missing=True)})) == 1
