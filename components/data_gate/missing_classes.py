"""Finds splits in which a class has no example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tensorflow_metadata.proto.v0 import statistics_pb2

from components.data_gate.finding import Finding
from pipeline import features

_NOT_CATEGORICAL = "the schema must say int_domain { is_categorical: true } of it"


def find_missing_classes(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList], *, classes: Sequence[str]
) -> list[Finding]:
    """One finding a split and class without an example.

    Args:
        statistics: by split; their schema should call the label categorical.
        classes: their names; a label is an index into them.
    """
    findings = []
    for split, of_split in statistics.items():
        counts = _label_counts(of_split)
        if counts is None:
            findings.append(Finding(split, features.LABEL, "Labels not counted", _NOT_CATEGORICAL))
            continue
        findings += [
            Finding(split, features.LABEL, "Class without examples", f"no example is {name} (label {label})")
            for label, name in enumerate(classes)
            if not counts.get(str(label))
        ]
    return findings


def _label_counts(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float] | None:
    """The number of examples by label, or None where it was not counted."""
    for dataset in statistics.datasets:
        for feature in dataset.features:
            if list(feature.path.step) == [features.LABEL]:
                if feature.HasField("num_stats"):
                    return None
                buckets = feature.string_stats.rank_histogram.buckets
                return {bucket.label: bucket.sample_count for bucket in buckets}
    return {}
