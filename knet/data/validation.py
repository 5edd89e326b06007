"""Judges the data of a run: everything that DataGate fails on, and the page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TypeVar

from google.protobuf import message, text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from knet.base import schema_names

# New patients reach every split alike, and the small ones would alarm by chance.
_COMPARED = "train"


@dataclass(frozen=True)
class Anomaly:
    """What was found, and where."""

    split: str
    feature: str  # or `whole set`
    anomaly: str  # in a few words
    details: str


@dataclass(frozen=True)
class Distance:
    """How far a feature's distribution moved."""

    feature: str
    value: float | None  # approximate Jensen-Shannon divergence, 0 to 1; None where it has no value
    threshold: float

    @property
    def drifted(self) -> bool:
        """Whether it moved too far, or nobody knows how far."""
        return self.value is None or self.value > self.threshold


@dataclass(frozen=True)
class ValidationReport:
    """What is wrong, and how far the training images moved since the previous run."""

    findings: tuple[Anomaly, ...]
    drift: tuple[Distance, ...] = ()  # empty where there was nothing to compare with


def validate_data(
    *, anomalies: Path, statistics: Path, schema: Path, previous: Path | None, classes: Sequence[str]
) -> ValidationReport:
    """Looks for anomalies, splits in which a class is missing, and drift.

    Args:
        anomalies: ExampleValidator's folder.
        statistics: StatisticsGen's folder.
        schema: the schema's text file.
        previous: StatisticsGen's folder of the previous run; None compares with nothing.
        classes: their names, in the order of the labels.
    """
    now = read_statistics(statistics)
    findings = [*find_anomalies(read_anomalies(anomalies)), *find_missing_classes(now, classes=classes)]
    if previous is None:
        return ValidationReport(tuple(findings))
    drift = measure_drift(
        now[_COMPARED],
        previous=read_statistics(previous)[_COMPARED],
        schema=text_format.Parse(schema.read_text(encoding="utf-8"), schema_pb2.Schema()),
    )
    return ValidationReport((*findings, *find_drift(drift, split=_COMPARED)), tuple(drift))


HEADER = ("split", "feature", "anomaly", "details")


def table(findings: Sequence[Anomaly]) -> str:
    """The findings as lines of aligned columns under a header; the last column runs as long as it must."""
    rows = [HEADER, *(astuple(finding) for finding in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)


def find_anomalies(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[Anomaly]:
    """One finding an anomaly, split by split and by feature, in TFDV's words.

    Args:
        anomalies: by split.
    """
    findings = []
    for split, found in anomalies.items():
        if found.data_missing:
            findings.append(Anomaly(split, "whole set", "No examples", "there are no examples"))
        if found.HasField("dataset_anomaly_info"):
            findings.append(_finding(split, "whole set", found.dataset_anomaly_info))
        for feature, info in sorted(found.anomaly_info.items()):
            findings.append(_finding(split, feature, info))
    return findings


def _finding(split: str, subject: str, info: anomalies_pb2.AnomalyInfo) -> Anomaly:
    return Anomaly(split, subject, info.short_description, info.description)


_NOT_CATEGORICAL = "the schema must say int_domain { is_categorical: true } of it"


def find_missing_classes(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList], *, classes: Sequence[str]
) -> list[Anomaly]:
    """One finding a split and class without an example.

    Args:
        statistics: by split; their schema should call the label categorical.
        classes: their names; a label is an index into them.
    """
    findings = []
    for split, of_split in statistics.items():
        counts = _label_counts(of_split)
        if counts is None:
            findings.append(Anomaly(split, schema_names.LABEL, "Labels not counted", _NOT_CATEGORICAL))
            continue
        findings += [
            Anomaly(
                split, schema_names.LABEL, "Class without examples", f"no example is {name} (label {label})"
            )
            for label, name in enumerate(classes)
            if not counts.get(str(label))
        ]
    return findings


def _label_counts(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float] | None:
    """The number of examples by label, or None where it was not counted."""
    for dataset in statistics.datasets:
        for feature in dataset.features:
            if list(feature.path.step) == [schema_names.LABEL]:
                if feature.HasField("num_stats"):
                    return None
                buckets = feature.string_stats.rank_histogram.buckets
                return {bucket.label: bucket.sample_count for bucket in buckets}
    return {}


def measure_drift(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    *,
    previous: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Distance]:
    """The distance of every feature for which the schema has a `drift_comparator`, in the schema's order.

    TFDV compares histograms of ten buckets each, put on common boundaries.

    Args:
        statistics: of one split.
        previous: of the same split in the previous run.
        schema: its comparators are Jensen-Shannon divergences.
    """
    import tensorflow_data_validation as tfdv

    compared = tfdv.validate_statistics(statistics, schema, previous_statistics=previous)
    return _distances(compared, schema=schema, of="drift")


def measure_skew(
    training: statistics_pb2.DatasetFeatureStatisticsList,
    *,
    served: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Distance]:
    """As `measure_drift`, by `skew_comparator`: of served images from those that were trained on."""
    import tensorflow_data_validation as tfdv

    compared = tfdv.validate_statistics(training, schema, serving_statistics=served)
    return _distances(compared, schema=schema, of="skew")


def _distances(compared: anomalies_pb2.Anomalies, *, schema: schema_pb2.Schema, of: str) -> list[Distance]:
    values = {
        ".".join(info.path.step): measured[0].value
        for info in compared.drift_skew_info
        if (measured := getattr(info, f"{of}_measurements"))
    }
    return [
        Distance(
            feature=feature.name,
            # TFDV passes over a feature that either side lacks, or says so in an anomaly only.
            value=values.get(feature.name),
            threshold=getattr(feature, f"{of}_comparator").jensen_shannon_divergence.threshold,
        )
        for feature in schema.feature
        if feature.HasField(f"{of}_comparator")
    ]


def find_drift(distances: list[Distance], *, split: str) -> list[Anomaly]:
    """One finding a feature that drifted, or one if the schema has nothing compared."""
    if not distances:
        return [Anomaly(split, "whole set", "Drift not measured", "the schema has no drift_comparator")]
    return [
        Anomaly(split, distance.feature, "Drift since the previous run", _details(distance))
        for distance in distances
        if distance.drifted
    ]


def _details(distance: Distance) -> str:
    if distance.value is None:
        return "cannot be compared: this run's or the previous run's statistics lack it"
    return f"Jensen-Shannon divergence {distance.value:.3f}, above the threshold {distance.threshold:g}"


_PREFIX = "Split-"
_Message = TypeVar("_Message", bound=message.Message)


def read_statistics(folder: Path) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """By split, training first."""
    return _read(folder, "FeatureStats.pb", statistics_pb2.DatasetFeatureStatisticsList)


def read_anomalies(folder: Path) -> dict[str, anomalies_pb2.Anomalies]:
    """By split, training first."""
    return _read(folder, "SchemaDiff.pb", anomalies_pb2.Anomalies)


def _read(folder: Path, name: str, kind: type[_Message]) -> dict[str, _Message]:
    return {
        split: kind.FromString((folder / f"{_PREFIX}{split}" / name).read_bytes())
        for split in schema_names.SPLITS
    }
