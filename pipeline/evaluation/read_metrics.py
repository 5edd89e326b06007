"""Reads what TFMA wrote."""

from __future__ import annotations

from pathlib import Path

import tensorflow_model_analysis as tfma

from pipeline.evaluation.metrics import CONFUSION

SliceKey = frozenset[tuple[str, str]]  # column and value; the split is one of them


def read_metrics(evaluation: Path) -> dict[SliceKey, dict[str, float]]:
    """The metrics of every slice.

    Args:
        evaluation: folder of a ModelEvaluation artifact.

    Returns:
        By slice, each metric but the confusion matrix; NaN where one is undefined, such as an AUC over one
        class.
    """
    result = tfma.load_eval_result(str(evaluation))
    return {
        frozenset((str(column), str(value)) for column, value in key): {
            name: float(value.get("doubleValue", "nan"))
            for name, value in outputs[""][""].items()
            if name != CONFUSION
        }
        for key, outputs in result.slicing_metrics
    }
