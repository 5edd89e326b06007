"""The figures of a cross-validation, from what every arm says of every image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from pipeline.evaluation.bootstrap import Estimate, estimate_difference, estimate_metrics
from pipeline.evaluation.patient_sample import PatientSample
from pipeline.experiments.cross_validate import TestedFold

METRICS = {
    "accuracy": "image rate",
    "balanced_accuracy": "balanced accuracy",
    "patient_recognition_rate": "patient recognition rate",
    "patient_decision_accuracy": "patients decided rightly",
    "roc_auc": "ROC-AUC",
}


def summarise(
    folds: Sequence[TestedFold], *, patients: Mapping[str, str], arms: Sequence[str], against: str
) -> dict[str, Any]:
    """Metrics of each arm over all folds, with intervals, as JSON can hold them.

    Every image is tested once, by the model of its fold. Intervals are of a bootstrap over patients; a
    difference is taken within each resample.

    Args:
        folds: all of them.
        patients: of each image, by path.
        arms: their names.
        against: the arm that the others are compared with.
    """
    samples = {arm: _sample(folds, patients, arm) for arm in arms}
    counts = Counter(samples[against].labels.tolist())
    return {
        "images": sum(counts.values()),
        "patients": len(samples[against].patients),
        "majority_share": max(counts.values()) / sum(counts.values()),
        "against": against,
        "arms": {
            arm: {
                "metrics": {
                    name: _estimate(estimate)
                    for name, estimate in estimate_metrics(sample).items()
                    if name in METRICS
                },
                "difference": {
                    name: _estimate(estimate_difference(sample, samples[against], metric=name))
                    for name in ("balanced_accuracy", "roc_auc")
                },
                "folds": [_fold(fold, patients, arm) for fold in folds],
                "seconds": round(sum(fold.outcomes[arm].seconds for fold in folds), 1),
            }
            for arm, sample in samples.items()
        },
    }


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over folds."""
    return mean(values), stdev(values)


def _sample(folds: Sequence[TestedFold], patients: Mapping[str, str], arm: str) -> PatientSample:
    paths = [path for fold in folds for path in fold.paths]
    return PatientSample(
        images=paths,
        patients=[patients[path] for path in paths],
        labels=[label for fold in folds for label in fold.labels],
        scores=[score for fold in folds for score in fold.outcomes[arm].scores],
    )


def _fold(fold: TestedFold, patients: Mapping[str, str], arm: str) -> dict[str, Any]:
    """What was chosen on a fold's validation patients, and what it came to on its test patients."""
    metrics = _sample([fold], patients, arm).metrics()
    return {**fold.outcomes[arm].chosen, **{name: metrics[name] for name in METRICS}}


def _estimate(estimate: Estimate) -> list[float]:
    return [estimate.value, estimate.low, estimate.high]
