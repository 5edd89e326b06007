"""The table of candidates that the screen and the report show."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.run_record import CandidateRecord, RunRecord, TuningRecord

# Of each, split, metric and title. Patients is the patient recognition rate, with its 95 % interval.
_RATE = "patient_recognition_rate"
_FIGURES = (
    ("validation", "accuracy", "val accuracy"),
    ("validation", "balanced_accuracy", "val balanced"),
    ("validation", "roc_auc", "val AUC"),
    ("test", _RATE, "test patients"),
    ("test", "balanced_accuracy", "test balanced"),
    ("test", "roc_auc", "test AUC"),
)
SUMMARY_HEADER = (
    "candidate",
    "weights",
    "images",
    "parameters",
    *(title for _, _, title in _FIGURES),
    "seconds",
    "",
)


def summary_rows(record: RunRecord) -> list[Sequence[str]]:
    """One row a candidate under `SUMMARY_HEADER`, in the order of the configuration."""
    return [_row(name, candidate, record) for name, candidate in record.candidates.items()]


def tuning_line(tuning: TuningRecord) -> str:
    """What a search chose, and how it compares with the paper's values."""
    values = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in tuning.values.items())
    paper = "failed" if tuning.paper_score is None else f"{tuning.paper_score:.4g}"
    source = "the paper's values" if tuning.trial == 0 else f"trial {tuning.trial}"
    failed = f", {tuning.failed} of them failed" if tuning.failed else ""
    return (
        f"tuned on {tuning.candidate}: {values} ({source}, {tuning.trials} trials{failed}; "
        f"{tuning.objective} {tuning.score:.4g}, the paper's values {paper})"
    )


def _row(name: str, candidate: CandidateRecord, record: RunRecord) -> Sequence[str]:
    info = candidate.info
    metrics = [_figure(candidate, split, metric) for split, metric, _ in _FIGURES]
    return (
        name,
        info.weights,
        f"{info.train_images}",
        f"{info.parameters:,}",
        *metrics,
        f"{info.seconds:.0f}",
        "winner" if name == record.winner else "",
    )


def _figure(candidate: CandidateRecord, split: str, metric: str) -> str:
    value = candidate.metrics.get(split, {}).get(metric)
    if value is None:
        return ""
    if math.isnan(value):
        return "undefined"
    if metric != _RATE:
        return f"{value:.3f}"
    low, high = candidate.intervals[split][metric]
    return f"{value:.2f} ({low:.2f}-{high:.2f})"
