"""The metrics of every evaluation, and how TFMA is asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2

from pipeline import features

# Our names, and TFMA's classes for them. Precision, recall and F1 are of the positive class.
METRICS: Final = {
    "accuracy": "BinaryAccuracy",
    "balanced_accuracy": "BalancedAccuracy",
    "roc_auc": "AUC",
    "pr_auc": "AUCPrecisionRecall",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1Score",
}
IMAGES: Final = "images"  # how many images a slice has


def eval_config(*, slices: Sequence[str]) -> config_pb2.EvalConfig:
    """Every metric on every split, and within a split on every value of each of some columns."""
    metrics = [
        config_pb2.MetricConfig(class_name=tfma_class, config=f'{{"name": "{name}"}}')
        for name, tfma_class in METRICS.items()
    ]
    # Without any threshold the Evaluator would write no verdict at all.
    some_image = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": 1})
    )
    count = config_pb2.MetricConfig(
        class_name="ExampleCount", config=f'{{"name": "{IMAGES}"}}', threshold=some_image
    )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=features.EXAMPLES_SIGNATURE,
                prediction_key=features.SCORE,
                label_key=features.LABEL,
                model_type=tfma.TF_GENERIC,
            )
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=[count, *metrics])],
        slicing_specs=[
            config_pb2.SlicingSpec(feature_keys=[features.SPLIT]),
            *(config_pb2.SlicingSpec(feature_keys=[features.SPLIT, column]) for column in slices),
        ],
    )
