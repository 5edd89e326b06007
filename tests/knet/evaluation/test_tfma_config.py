"""TFMA's metrics are read from its messages and compared with ours."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import MetricsForSlice

from knet.base.errors import UserError
from knet.base.tfrecord import tf_record
from knet.evaluation.results import candidate_results
from knet.evaluation.tfma_config import check_agreement, read_metrics


@pytest.fixture
def message() -> MetricsForSlice:
    """The metrics of one slice, with keys of every type."""
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


def test_read_metrics_by_slice_and_name(tmp_path: Path, message: MetricsForSlice) -> None:
    content = tf_record(message.SerializeToString()) + tf_record(MetricsForSlice().SerializeToString())
    (tmp_path / "metrics-00000-of-00001.tfrecord").write_bytes(content)
    found = read_metrics(tmp_path)
    metrics = found.pop(frozenset({("split", "test"), ("year", "2014"), ("dose", "0.5")}))
    assert math.isnan(metrics.pop("recall")) and metrics == {"accuracy": 0.75, "roc_auc": 0.0}
    assert found == {frozenset(): {}}


def test_read_metrics_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"{tmp_path} holds no metrics-"):
        read_metrics(tmp_path)


def test_read_metrics_damaged_file_is_an_error(tmp_path: Path, message: MetricsForSlice) -> None:
    (tmp_path / "metrics-00000-of-00001.tfrecord").write_bytes(tf_record(message.SerializeToString())[:-1])
    with pytest.raises(UserError, match="metrics-00000-of-00001.tfrecord is damaged"):
        read_metrics(tmp_path)


@pytest.fixture
def results(make_predictions: Callable[..., Any]) -> dict[str, Any]:
    frame = make_predictions(right=0.7)
    frame = frame[(frame["split"] == "validation") | (frame["magnification"] != "200X")]
    return candidate_results(
        frame, classes=("benign", "malignant"), slices=("magnification",), resamples=10, seed=0
    )


@pytest.fixture
def tfma(results: dict[str, Any]) -> dict[Any, dict[str, float]]:
    """TFMA's metrics of the same predictions; it omits absent slices."""
    return {
        frozenset({("split", split), *part["slice"].items()}): {
            "images": float(sum(part["images"].values())),
            **{name: estimate["value"] for name, estimate in part["metrics"].items()},
        }
        for split, parts in results["splits"].items()
        for part in parts
        if sum(part["images"].values())
    }


def test_check_agreement_accepts_equal_metrics(
    results: dict[str, Any], tfma: dict[Any, dict[str, float]]
) -> None:
    check_agreement(results, tfma, candidate="vgg16")


@pytest.mark.parametrize(
    ("name", "value"), [("images", 5.0), ("accuracy", 0.123), ("patient_recognition_rate", math.nan)]
)
def test_check_agreement_difference_in_a_slice_is_an_error(
    results: dict[str, Any], tfma: dict[Any, dict[str, float]], name: str, value: float
) -> None:
    changed = copy.deepcopy(tfma)
    changed[frozenset({("split", "test"), ("magnification", "40X")})][name] = value
    with pytest.raises(ValueError, match=rf"vgg16, .*: TFMA's {name} is {value}"):
        check_agreement(results, changed, candidate="vgg16")


def test_check_agreement_slice_missing_in_tfma_is_an_error(
    results: dict[str, Any], tfma: dict[Any, dict[str, float]]
) -> None:
    del tfma[frozenset({("split", "validation"), ("magnification", "200X")})]
    with pytest.raises(ValueError, match="TFMA's images is 0"):
        check_agreement(results, tfma, candidate="vgg16")
