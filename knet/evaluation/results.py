"""All figures of a run's candidates: every split and slice, with intervals, as a tree that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, Final

from knet.base import schema_names
from knet.evaluation.bootstrap import Estimate, estimate_metrics
from knet.evaluation.patient_metrics import PatientSample
from knet.evaluation.predictions import patient_sample
from knet.runs.record import CandidateRecord, RunRecord, TuningRecord

SPLITS: Final = ("validation", "test")


def candidate_results(
    frame: Any, *, classes: Sequence[str], slices: Sequence[str], resamples: int, seed: int
) -> dict[str, Any]:
    """A candidate's figures: its `threshold`, and under `splits` a list of slices for each split.

    The first slice is the whole split. Each has `slice` (column to value), `images` and `patients` by class,
    `confusion`, `metrics` (name to value, low and high of the 95 % interval; null where undefined), `classes`
    (precision, recall, F1 and support of each) and `notes`, which say what is absent or too few to show
    anything. A value that is in the other split alone is listed with no images.

    Args:
        frame: of `read_predictions`.
        classes: their names, in the order of the labels.
        slices: the configured columns.
        resamples: of the bootstrap.
        seed: likewise.
    """
    figures = {
        split: [
            {"slice": values, **_figures(part, classes=classes, resamples=resamples, seed=seed)}
            for values, part in _parts(frame, split=split, slices=slices)
        ]
        for split in SPLITS
    }
    return {"threshold": float(frame[schema_names.THRESHOLD].iloc[0]), "splits": figures}


def whole(results: Mapping[str, Any], split: str) -> dict[str, Estimate]:
    """The metrics of a whole split, from one candidate's results."""
    metrics = results["splits"][split][0]["metrics"]
    return {
        name: Estimate(**{key: math.nan if value is None else value for key, value in found.items()})
        for name, found in metrics.items()
    }


def estimate_tree(estimate: Estimate) -> dict[str, float | None]:
    """The three numbers as JSON has them: null where undefined."""
    return {key: None if math.isnan(value) else value for key, value in asdict(estimate).items()}


def _parts(frame: Any, *, split: str, slices: Sequence[str]) -> Iterator[tuple[dict[str, str], Any]]:
    """Every combination of values that any split has, with its rows of this one."""
    of_split = frame[frame[schema_names.SPLIT] == split]
    yield {}, of_split
    for columns in filter(None, map(list, slice_combinations(slices))):
        for values in sorted(set(frame[columns].itertuples(index=False, name=None))):
            yield dict(zip(columns, values, strict=True)), of_split[(of_split[columns] == values).all(axis=1)]


def _figures(part: Any, *, classes: Sequence[str], resamples: int, seed: int) -> dict[str, Any]:
    sample = patient_sample(part)
    confusion = sample.confusion()
    patients = {name: int((sample.positive == bool(label)).sum()) for label, name in enumerate(classes)}
    images = {name: int((sample.labels == label).sum()) for label, name in enumerate(classes)}
    estimates = estimate_metrics(sample, resamples=resamples, seed=seed)
    return {
        "images": images,
        "patients": patients,
        "confusion": confusion,
        "metrics": {name: estimate_tree(estimate) for name, estimate in estimates.items()},
        "classes": _by_class(confusion, classes),
        "notes": _notes(sample, patients),
    }


def _by_class(confusion: Mapping[str, int], classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    tn, fp, fn, tp = (
        confusion[name] for name in ("true_negatives", "false_positives", "false_negatives", "true_positives")
    )
    found = {}
    for name, right, wrongly_called, missed in ((classes[0], tn, fn, fp), (classes[1], tp, fp, fn)):
        found[name] = {
            "precision": _share(right, right + wrongly_called),
            "recall": _share(right, right + missed),
            "f1": _share(2 * right, 2 * right + wrongly_called + missed),
            "support": right + missed,
        }
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _notes(sample: PatientSample, patients: Mapping[str, int]) -> list[str]:
    if not len(sample.images):
        return ["absent: no image of this split"]
    notes = []
    for name, count in patients.items():
        if count == 0:
            notes.append(f"no {name} patient: what needs both classes is undefined")
        elif count == 1:
            notes.append(f"one {name} patient: the intervals do not show how much {name} patients differ")
    return notes


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


def slice_combinations(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns by whose values a split is divided: none, each, and each pair.

    Args:
        columns: the configured `data.slices`.
    """
    return [chosen for count in range(3) for chosen in combinations(columns, count)]
