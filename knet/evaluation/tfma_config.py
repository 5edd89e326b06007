"""TFMA's EvalConfig, its metrics of every slice, and their agreement with our own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import MetricsForSlice

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.tfrecord import read_tf_records
from knet.evaluation import tfma_metrics
from knet.evaluation.results import slice_combinations

CONFUSION: Final = "confusion"  # name of the confusion matrix, the one metric that is no number
IMAGES: Final = "images"  # name of the number of images of a slice

# TFMA's classes by our names. Precision, recall and F1 are of the positive class.
_THRESHOLD_METRICS: Final = {
    "balanced_accuracy": "BalancedAccuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1Score",
    CONFUSION: "ConfusionMatrixAtThresholds",
}
_AREAS: Final = {"roc_auc": "AUC", "pr_auc": "AUCPrecisionRecall"}
# TFMA's default of 10,000 takes 40 ms per slice, more than all else together; the report's areas are exact.
_AREA_THRESHOLDS: Final = 1_000
# Our classes in `tfma_metrics`.
_PATIENT_METRICS: Final = {
    IMAGES: "ImageCount",
    "patient_recognition_rate": "PatientRecognitionRate",
    "patient_decision_accuracy": "PatientDecisionAccuracy",
}


def eval_config(
    *, slices: Sequence[str], threshold: float | None, classes: Sequence[str], positive: Sequence[str] = ()
) -> config_pb2.EvalConfig:
    """Return the configuration: every metric on every split and slice.

    Args:
        slices: columns whose values, and pairs of values, are slices of a split.
        threshold: score from which an image is classified as the positive one of two classes, or as one of
            the positive group; None without one.
        classes: names in the order of the labels.
        positive: names of the positive group of more than two classes; empty if there is none.
    """
    if len(classes) == 2:
        assert threshold is not None
        metrics, prediction = _binary_metrics(threshold), schema_names.SCORE
    else:
        settings = {"classes": list(classes), "positive": list(positive), "threshold": threshold}
        metrics = [_metric("ClassMetrics", "multiclass_metrics", tfma_metrics, **settings)]
        prediction = schema_names.PROBABILITIES
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=schema_names.EXAMPLES_SIGNATURE,
                prediction_key=prediction,
                label_key=schema_names.LABEL,
                model_type=tfma.TF_GENERIC,
            )
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=[schema_names.SPLIT, *columns])
            for columns in slice_combinations(slices)
        ],
    )


def _binary_metrics(threshold: float) -> list[config_pb2.MetricConfig]:
    below = float(np.nextafter(np.float32(threshold), np.float32(-1)))  # TFMA's thresholds are exclusive
    return [
        _metric("BinaryAccuracy", "accuracy", threshold=below),
        *(_metric(tfma_class, name, thresholds=[below]) for name, tfma_class in _THRESHOLD_METRICS.items()),
        *(_metric(area, name, num_thresholds=_AREA_THRESHOLDS) for name, area in _AREAS.items()),
        _metric("MeanSquaredError", "brier"),
        _metric("CalibrationError", "calibration_error", tfma_metrics),
        *(_metric(ours, name, tfma_metrics, threshold=threshold) for name, ours in _PATIENT_METRICS.items()),
    ]


def _metric(class_name: str, name: str, module: Any = None, **settings: Any) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        module=module.__name__ if module else "",
        config=json.dumps({"name": name, **settings}),
    )


SliceKey = frozenset[tuple[str, str]]  # columns and values, the split among them


def read_metrics(evaluation: Path) -> dict[SliceKey, dict[str, float]]:
    """Read TFMA's metrics of every slice.

    Args:
        evaluation: folder of a ModelEvaluation artifact.

    Returns:
        By slice, each metric but the confusion matrix; NaN where one is undefined, such as recall without
        positive images.

    Raises:
        UserError: a file is damaged, or there is none.
    """
    files = sorted(evaluation.glob("metrics-*.tfrecord"))
    if not files:
        raise UserError(f"{evaluation} holds no metrics-*.tfrecord: run again into a new output folder")
    slices = [MetricsForSlice.FromString(record) for file in files for record in read_tf_records(file)]
    return {_slice_key(message): _numbers(message) for message in slices}


def _slice_key(message: Any) -> SliceKey:
    parts = message.slice_key.single_slice_keys
    return frozenset((part.column, _text(getattr(part, part.WhichOneof("kind")))) for part in parts)


def _text(value: bytes | int | float) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _numbers(message: Any) -> dict[str, float]:
    return {
        pair.key.name: pair.value.double_value.value if pair.value.HasField("double_value") else math.nan
        for pair in message.metric_keys_and_values
        if pair.key.name != CONFUSION
    }


_COMPARED: Final = ("accuracy", "patient_recognition_rate", "positive_accuracy")  # the last of a group
_TOLERANCE = 1e-6


def check_agreement(
    results: Mapping[str, Any], tfma: Mapping[SliceKey, Mapping[str, float]], *, candidate: str
) -> None:
    """Compare number of images, accuracy and patient recognition rate of every slice.

    TFMA's metrics and the predictions are two outputs of one inference pass: the check detects rows that one
    of them lost.

    Args:
        results: as `candidate_results` returns them.
        tfma: as `read_metrics` returns them.
        candidate: name, for the message.

    Raises:
        ValueError: they differ; the text names candidate, slice and both values.
    """
    for split, parts in results["splits"].items():
        for part in parts:
            key = frozenset({(schema_names.SPLIT, split), *part["slice"].items()})
            found = tfma.get(key, {IMAGES: 0.0})
            expected = {
                IMAGES: sum(part["images"].values()),
                **{name: part["metrics"][name]["value"] for name in _COMPARED if name in part["metrics"]},
            }
            for name, value in expected.items():
                if not _same(found.get(name), value):
                    raise ValueError(
                        f"{candidate}, {dict(key)}: TFMA's {name} is {found.get(name)}, but {value} by the "
                        "predictions"
                    )


def _same(first: float | None, second: float | None) -> bool:
    if first is None or math.isnan(first) or second is None:
        return second is None and (first is None or math.isnan(first))
    return abs(first - second) < _TOLERANCE
