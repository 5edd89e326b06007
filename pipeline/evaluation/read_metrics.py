"""Reads what an Evaluator wrote."""

from __future__ import annotations

from pathlib import Path

import tensorflow_model_analysis as tfma

from pipeline import features
from pipeline.evaluation.metrics import IMAGES, METRICS


def read_metrics(evaluation: Path) -> dict[str, dict[str, float]]:
    """The metrics on validation and on test patients.

    Args:
        evaluation: folder of a ModelEvaluation artifact.

    Returns:
        By split, each of `METRICS` and the number of images; NaN where a metric is undefined, such as an
        AUC over one class.
    """
    result = tfma.load_eval_result(str(evaluation))
    found = {}
    for slice_key, outputs in result.slicing_metrics:
        if len(slice_key) == 1 and slice_key[0][0] == features.SPLIT:
            values = outputs[""][""]
            found[slice_key[0][1]] = {
                name: float(values[name].get("doubleValue", "nan")) for name in (IMAGES, *METRICS)
            }
    return found
