"""Metrics are read as TFMA's messages hold them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import MetricsForSlice

from components.breakhis_example_gen.tf_record import tf_record
from pipeline.errors import UserError
from pipeline.evaluation.read_metrics import read_metrics


@pytest.fixture
def message() -> MetricsForSlice:
    """Of one slice, with keys of every type."""
    one = MetricsForSlice()
    for column, value in {"split": b"test", "year": 2014, "dose": 0.5}.items():
        key = one.slice_key.single_slice_keys.add(column=column)
        kinds = {bytes: "bytes_value", int: "int64_value", float: "float_value"}
        setattr(key, kinds[type(value)], value)
    for name, value in {"accuracy": 0.75, "roc_auc": 0.0, "recall": math.nan}.items():
        one.metric_keys_and_values.add(key={"name": name}).value.double_value.value = value
    confusion = one.metric_keys_and_values.add(key={"name": "confusion"}).value
    confusion.confusion_matrix_at_thresholds.matrices.add(threshold=0.5)
    return one


def test_numbers_are_by_slice_and_name(tmp_path: Path, message: MetricsForSlice) -> None:
    content = tf_record(message.SerializeToString()) + tf_record(MetricsForSlice().SerializeToString())
    (tmp_path / "metrics-00000-of-00001.tfrecord").write_bytes(content)
    found = read_metrics(tmp_path)
    metrics = found.pop(frozenset({("split", "test"), ("year", "2014"), ("dose", "0.5")}))
    assert math.isnan(metrics.pop("recall")) and metrics == {"accuracy": 0.75, "roc_auc": 0.0}
    assert found == {frozenset(): {}}


def test_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} holds no metrics-"):
        read_metrics(tmp_path)


def test_a_damaged_file_is_an_error(tmp_path: Path, message: MetricsForSlice) -> None:
    (tmp_path / "metrics-00000-of-00001.tfrecord").write_bytes(tf_record(message.SerializeToString())[:-1])
    with pytest.raises(UserError, match="metrics-00000-of-00001.tfrecord is damaged"):
        read_metrics(tmp_path)
