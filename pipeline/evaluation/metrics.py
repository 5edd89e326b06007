"""How TFMA is asked for the metrics of every evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from pipeline import features
from pipeline.evaluation import tfma_calibration_error, tfma_patient_metrics
from pipeline.evaluation.read_metrics import CONFUSION, IMAGES
from pipeline.evaluation.slices import slice_combinations

# Our names, and TFMA's classes for them. Precision, recall and F1 are of the positive class.
_DECISIONS: Final = {
    "balanced_accuracy": "BalancedAccuracy",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1Score",
    CONFUSION: "ConfusionMatrixAtThresholds",
}
_AREAS: Final = {"roc_auc": "AUC", "pr_auc": "AUCPrecisionRecall"}
# TFMA's 10,000 take 40 ms a slice, which is more than all else together; the report's areas are exact.
_THRESHOLDS: Final = 1_000
_BY_PATIENT: Final = {
    IMAGES: "ImageCount",
    "patient_recognition_rate": "PatientRecognitionRate",
    "patient_decision_accuracy": "PatientDecisionAccuracy",
}


def eval_config(*, slices: Sequence[str], threshold: float) -> config_pb2.EvalConfig:
    """Every metric on every split, and within a split on the values of some columns and of their pairs.

    Args:
        slices: the columns.
        threshold: the score from which an image is called positive.
    """
    above = float(np.nextafter(np.float32(threshold), np.float32(-1)))  # TFMA's is exclusive
    metrics = [
        _metric("BinaryAccuracy", "accuracy", threshold=above),
        *(_metric(tfma_class, name, thresholds=[above]) for name, tfma_class in _DECISIONS.items()),
        *(_metric(area, name, num_thresholds=_THRESHOLDS) for name, area in _AREAS.items()),
        _metric("MeanSquaredError", "brier"),
        _metric("CalibrationError", "calibration_error", tfma_calibration_error),
        *(_metric(own, name, tfma_patient_metrics, threshold=threshold) for name, own in _BY_PATIENT.items()),
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=features.EXAMPLES_SIGNATURE,
                prediction_key=features.SCORE,
                label_key=features.LABEL,
                model_type=tfma.TF_GENERIC,
            )
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=[features.SPLIT, *columns])
            for columns in slice_combinations(slices)
        ],
    )


def _metric(class_name: str, name: str, module: Any = None, **settings: Any) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(
        class_name=class_name,
        module=module.__name__ if module else "",
        config=json.dumps({"name": name, **settings}),
    )
