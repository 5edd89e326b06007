"""The table of candidates that the screen and the report show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.run_record import CandidateRecord, RunRecord

_SPLITS = {"validation": "val", "test": "test"}
_METRICS = {"accuracy": "accuracy", "balanced_accuracy": "balanced", "roc_auc": "AUC"}
SUMMARY_HEADER = (
    "candidate",
    "weights",
    "images",
    "parameters",
    *(f"{split} {metric}" for split in _SPLITS.values() for metric in _METRICS.values()),
    "seconds",
    "",
)


def summary_rows(record: RunRecord) -> list[Sequence[str]]:
    """One row a candidate under `SUMMARY_HEADER`, in the order of the configuration."""
    return [_row(name, candidate, record) for name, candidate in record.candidates.items()]


def _row(name: str, candidate: CandidateRecord, record: RunRecord) -> Sequence[str]:
    info = candidate.info
    metrics = [
        _figure(candidate.metrics.get(split, {}).get(metric)) for split in _SPLITS for metric in _METRICS
    ]
    return (
        name,
        info.weights,
        f"{info.train_images}",
        f"{info.parameters:,}",
        *metrics,
        f"{info.seconds:.0f}",
        "winner" if name == record.winner else "",
    )


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return "undefined" if math.isnan(value) else f"{value:.3f}"
