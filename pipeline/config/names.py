"""Names of backbones, metrics and augmentations in the configuration."""

from __future__ import annotations

from typing import Literal

BackboneName = Literal["mobilenet", "vgg16", "resnet50", "resnet101", "resnet152", "efficientnetv2b0"]
# The paper's backbones: the default candidates.
PAPER_BACKBONES: tuple[BackboneName, ...] = ("mobilenet", "vgg16", "resnet50", "resnet101", "resnet152")
# Names of pipeline.evaluation.patient_sample.METRICS that are better when larger.
MetricName = Literal[
    "accuracy",
    "balanced_accuracy",
    "roc_auc",
    "pr_auc",
    "precision",
    "recall",
    "specificity",
    "f1",
    "patient_recognition_rate",
    "patient_decision_accuracy",
]
FixedCopy = Literal["original", "flip_horizontal", "flip_vertical", "rotate_90", "rotate_180", "rotate_270"]
