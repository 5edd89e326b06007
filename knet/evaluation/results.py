"""All metrics of a candidate, on every split and slice with intervals, as JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from knet.base import schema_names
from knet.base.text import natural_key
from knet.evaluation.binary_metrics import BinarySample
from knet.evaluation.bootstrap import Estimate, estimate_metrics
from knet.evaluation.multiclass_metrics import MulticlassSample
from knet.evaluation.predictions import prediction_sample
from knet.evaluation.sample import Sample


def candidate_results(
    frame: Any,
    *,
    classes: Sequence[str],
    positive: Sequence[str] = (),
    slices: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Return a candidate's results on every split and slice.

    Args:
        frame: as `read_predictions` returns it.
        classes: class names, in the order of the labels.
        positive: names of the positive group of more than two classes; empty if there is none.
        slices: columns to slice by, `data.slices` of the configuration.
        resamples: number of resamples of the bootstrap.
        seed: random seed of the bootstrap.

    Returns:
        `threshold`, null without one, and `splits`: for each split a list of slices, the first of which is
        the whole split. A slice has

        - `slice`: its values by column;
        - `images`, `patients`: numbers by class;
        - `confusion`: as `BinarySample.confusion` returns it; of more than two classes a list of rows;
        - `metrics`: value, low and high of each; null where undefined;
        - `classes`: precision, recall, F1 and support by class; of more than two also the areas;
        - `group`: `confusion` of the positive group against the other classes, if there is one;
        - `notes`: absent data, and too few patients for an interval.

        Both splits list the same slices; one without images in a split is absent there.
    """
    bootstrap = {"resamples": resamples, "seed": seed}

    def slice_results(part: Any) -> dict[str, Any]:
        sample = prediction_sample(part, classes=classes, positive=positive)
        return _sample_results(sample, classes, bootstrap)

    results = {
        split: [
            {"slice": values, **slice_results(part)}
            for values, part in _slices(frame, split=split, columns=slices)
        ]
        for split in schema_names.EVALUATED_SPLITS
    }
    threshold = float(frame[schema_names.THRESHOLD].iloc[0])  # NaN without one
    return {"threshold": None if math.isnan(threshold) else threshold, "splits": results}


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
        values_found = set(frame[chosen].itertuples(index=False, name=None))
        for values in sorted(values_found, key=lambda values: [*map(natural_key, values)]):
            yield dict(zip(chosen, values, strict=True)), of_split[(of_split[chosen] == values).all(axis=1)]


def _sample_results(sample: Sample, classes: Sequence[str], bootstrap: Mapping[str, int]) -> dict[str, Any]:
    patients = sample.patient_counts(classes)
    estimates = estimate_metrics(sample, **bootstrap)
    if isinstance(sample, MulticlassSample):
        found = _class_results(sample, classes)
    else:
        assert isinstance(sample, BinarySample)
        confusion = sample.confusion()
        found = {"confusion": confusion, "classes": _class_report(confusion, classes)}
    return {
        "images": sample.image_counts(classes),
        "patients": patients,
        "metrics": {name: estimate_json(estimate) for name, estimate in estimates.items()},
        **found,
        "notes": _notes(sample, patients),
    }


def _class_results(sample: MulticlassSample, classes: Sequence[str]) -> dict[str, Any]:
    columns = {
        name: [None if math.isnan(value) else value for value in values.tolist()]
        for name, values in sample.class_report().items()
    }
    return {
        "confusion": sample.confusion().tolist(),
        "classes": {
            label: {name: values[row] for name, values in columns.items()}
            for row, label in enumerate(classes)
        },
        **({"group": {"confusion": sample.group.confusion()}} if sample.group else {}),
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


def _notes(sample: Sample, patients: Mapping[str, int]) -> list[str]:
    if not len(sample.images):
        return ["absent: no images in this split"]
    notes = []
    without = "metrics that need both classes are undefined"
    if len(patients) > 2:
        without = "its metrics are undefined, and means over the classes leave it out"
    for name, count in patients.items():
        if count == 0:
            notes.append(f"no {name} patient: {without}")
        elif count == 1:
            notes.append(
                f"one {name} patient: the intervals do not cover the variation between {name} patients"
            )
    return notes
