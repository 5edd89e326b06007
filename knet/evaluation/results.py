"""All metrics of a candidate, on every split and slice with intervals, as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from knet.base import schema_names
from knet.evaluation.bootstrap import Estimate, estimate_metrics
from knet.evaluation.patient_metrics import PatientSample
from knet.evaluation.predictions import patient_sample


def candidate_results(
    frame: Any, *, classes: Sequence[str], slices: Sequence[str], resamples: int, seed: int
) -> dict[str, Any]:
    """Return a candidate's results on every split and slice.

    Args:
        frame: as `read_predictions` returns it.
        classes: class names, in the order of the labels.
        slices: columns to slice by, `data.slices` of the configuration.
        resamples: number of resamples of the bootstrap.
        seed: random seed of the bootstrap.

    Returns:
        `threshold`, and `splits`: for each split a list of slices, the first of which is the whole split. A
        slice has

        - `slice`: its values by column;
        - `images`, `patients`: numbers by class;
        - `confusion`: as `PatientSample.confusion` returns it;
        - `metrics`: value, low and high of each; null where undefined;
        - `classes`: precision, recall, F1 and support by class;
        - `notes`: absent data, and too few patients for an interval.

        Both splits list the same slices; one without images in a split is absent there.
    """
    results = {
        split: [
            {"slice": values, **_slice_results(part, classes=classes, resamples=resamples, seed=seed)}
            for values, part in _slices(frame, split=split, columns=slices)
        ]
        for split in schema_names.EVALUATED_SPLITS
    }
    return {"threshold": float(frame[schema_names.THRESHOLD].iloc[0]), "splits": results}


def split_estimates(results: Mapping[str, Any], split: str) -> dict[str, Estimate]:
    """Return the metrics of a whole split, from one candidate's results."""
    metrics = results["splits"][split][0]["metrics"]
    return {
        name: Estimate(**{key: math.nan if value is None else value for key, value in found.items()})
        for name, found in metrics.items()
    }


def estimate_json(estimate: Estimate) -> dict[str, float | None]:
    """Return an estimate as JSON: `value`, `low` and `high`, null where undefined."""
    return {key: None if math.isnan(value) else value for key, value in asdict(estimate).items()}


def slice_combinations(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the columns that slices are made by: none (the whole split), each column, and each pair.

    Args:
        columns: `data.slices` of the configuration.
    """
    return [chosen for count in range(3) for chosen in combinations(columns, count)]


def _slices(frame: Any, *, split: str, columns: Sequence[str]) -> Iterator[tuple[dict[str, str], Any]]:
    """Yield every combination of values that any split has, with its rows of this split."""
    of_split = frame[frame[schema_names.SPLIT] == split]
    yield {}, of_split
    for chosen in filter(None, map(list, slice_combinations(columns))):
        for values in sorted(set(frame[chosen].itertuples(index=False, name=None))):
            yield dict(zip(chosen, values, strict=True)), of_split[(of_split[chosen] == values).all(axis=1)]


def _slice_results(part: Any, *, classes: Sequence[str], resamples: int, seed: int) -> dict[str, Any]:
    sample = patient_sample(part)
    confusion = sample.confusion()
    patients = {name: int((sample.positive == bool(label)).sum()) for label, name in enumerate(classes)}
    images = {name: int((sample.labels == label).sum()) for label, name in enumerate(classes)}
    estimates = estimate_metrics(sample, resamples=resamples, seed=seed)
    return {
        "images": images,
        "patients": patients,
        "confusion": confusion,
        "metrics": {name: estimate_json(estimate) for name, estimate in estimates.items()},
        "classes": _class_report(confusion, classes),
        "notes": _notes(sample, patients),
    }


def _class_report(confusion: Mapping[str, int], classes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    tn, fp, fn, tp = (
        confusion[name] for name in ("true_negatives", "false_positives", "false_negatives", "true_positives")
    )
    report = {}
    for name, correct, false, missed in ((classes[0], tn, fn, fp), (classes[1], tp, fp, fn)):
        report[name] = {
            "precision": _ratio(correct, correct + false),
            "recall": _ratio(correct, correct + missed),
            "f1": _ratio(2 * correct, 2 * correct + false + missed),
            "support": correct + missed,
        }
    return report


def _ratio(numerator: int, denominator: int) -> float | None:
    return numerator / denominator if denominator else None


def _notes(sample: PatientSample, patients: Mapping[str, int]) -> list[str]:
    if not len(sample.images):
        return ["absent: no images in this split"]
    notes = []
    for name, count in patients.items():
        if count == 0:
            notes.append(f"no {name} patient: metrics that need both classes are undefined")
        elif count == 1:
            notes.append(
                f"one {name} patient: the intervals do not cover the variation between {name} patients"
            )
    return notes
