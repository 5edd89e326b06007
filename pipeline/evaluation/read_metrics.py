"""Reads what TFMA wrote by its messages alone: TFMA itself takes seconds to import."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from tensorflow_model_analysis.proto.metrics_for_slice_pb2 import MetricsForSlice

from components.breakhis_example_gen.read_tf_records import read_tf_records
from pipeline.errors import UserError

# Of the metrics, how many images a slice has, and what is no number.
IMAGES: Final = "images"
CONFUSION: Final = "confusion"

SliceKey = frozenset[tuple[str, str]]  # column and value; the split is one of them


def read_metrics(evaluation: Path) -> dict[SliceKey, dict[str, float]]:
    """The metrics of every slice.

    Args:
        evaluation: folder of a ModelEvaluation artifact.

    Returns:
        By slice, each metric but the confusion matrix; NaN where one is undefined, such as a recall without
        positive images.

    Raises:
        UserError: a file is damaged, or there is none.
    """
    files = sorted(evaluation.glob("metrics-*.tfrecord"))
    if not files:
        raise UserError(f"{evaluation} holds no metrics-*.tfrecord: run again into a new output folder")
    slices = [MetricsForSlice.FromString(record) for file in files for record in read_tf_records(file)]
    return {_slice_key(one): _numbers(one) for one in slices}


def _slice_key(one: Any) -> SliceKey:
    parts = one.slice_key.single_slice_keys
    return frozenset((part.column, _text(getattr(part, part.WhichOneof("kind")))) for part in parts)


def _text(value: bytes | int | float) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _numbers(one: Any) -> dict[str, float]:
    return {
        pair.key.name: pair.value.double_value.value if pair.value.HasField("double_value") else math.nan
        for pair in one.metric_keys_and_values
        if pair.key.name != CONFUSION
    }
