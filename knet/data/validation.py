"""Validation of a run's data: schema anomalies, missing classes and drift."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TypeVar

from google.protobuf import message, text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from knet.base import artifact_files, schema_names

# Drift is measured on the training images: validation and test are small enough to drift by chance.
_DRIFT_SPLIT = schema_names.TRAIN


@dataclass(frozen=True)
class Anomaly:
    """A problem of the data."""

    split: str
    feature: str  # or `whole set`
    anomaly: str  # short description
    details: str


@dataclass(frozen=True)
class Distance:
    """Distance between two distributions of a feature."""

    feature: str
    value: float | None  # approximate Jensen-Shannon divergence, 0 to 1; None if it cannot be measured
    threshold: float

    @property
    def drifted(self) -> bool:
        """True if the distance is above the threshold, or unknown."""
        return self.value is None or self.value > self.threshold


@dataclass(frozen=True)
class ValidationReport:
    """Anomalies of the data, and drift of the training images since the previous run."""

    anomalies: tuple[Anomaly, ...]
    drift: tuple[Distance, ...] = ()  # empty without a previous run

    def to_json(self) -> str:
        """Serialise for the report's folder."""
        return json.dumps(asdict(self), indent=2)


def validate_data(
    *, anomalies: Path, statistics: Path, schema: Path, previous: Path | None, classes: Sequence[str]
) -> ValidationReport:
    """Find anomalies of the schema, missing classes and drift.

    Args:
        anomalies: Folder written by ExampleValidator.
        statistics: Folder written by StatisticsGen.
        schema: Text file of the schema.
        previous: StatisticsGen's folder of the previous run; None skips the measurement of drift.
        classes: Class names in the order of the labels.
    """
    current = read_statistics(statistics)
    found = [*find_anomalies(read_anomalies(anomalies)), *find_missing_classes(current, classes=classes)]
    if previous is None:
        return ValidationReport(tuple(found))
    drift = measure_drift(
        current[_DRIFT_SPLIT],
        previous=read_statistics(previous)[_DRIFT_SPLIT],
        schema=text_format.Parse(schema.read_text(encoding="utf-8"), schema_pb2.Schema()),
    )
    return ValidationReport((*found, *find_drift(drift, split=_DRIFT_SPLIT)), tuple(drift))


def passed_report(drift: Mapping[str, float], *, schema: Path) -> ValidationReport:
    """Restore the report on data that passed, for which nothing is measured again.

    Args:
        drift: Distance of each feature in DataGate's verdict; empty without a previous run.
        schema: Text file of the schema, with the thresholds.
    """
    read = text_format.Parse(schema.read_text(encoding="utf-8"), schema_pb2.Schema())
    return ValidationReport((), tuple(_distances(drift, schema=read, kind="drift")) if drift else ())


ANOMALY_COLUMNS = ("split", "feature", "anomaly", "details")


def format_anomalies(anomalies: Sequence[Anomaly]) -> str:
    """Format anomalies as a table of aligned columns with a header."""
    rows = [ANOMALY_COLUMNS, *map(astuple, anomalies)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(ANOMALY_COLUMNS) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)


def find_anomalies(anomalies: Mapping[str, anomalies_pb2.Anomalies]) -> list[Anomaly]:
    """List TFDV's anomalies, split by split and by feature.

    Args:
        anomalies: Anomalies by split.
    """
    found = []
    for split, of_split in anomalies.items():
        if of_split.data_missing:
            found.append(Anomaly(split, "whole set", "No examples", "there are no examples"))
        if of_split.HasField("dataset_anomaly_info"):
            found.append(_anomaly(split, "whole set", of_split.dataset_anomaly_info))
        for feature, info in sorted(of_split.anomaly_info.items()):
            found.append(_anomaly(split, feature, info))
    return found


def _anomaly(split: str, feature: str, info: anomalies_pb2.AnomalyInfo) -> Anomaly:
    return Anomaly(split, feature, info.short_description, info.description)


_NOT_CATEGORICAL = "the schema must have int_domain { is_categorical: true } for it"


def find_missing_classes(
    statistics: Mapping[str, statistics_pb2.DatasetFeatureStatisticsList], *, classes: Sequence[str]
) -> list[Anomaly]:
    """Find splits without an example of a class.

    Args:
        statistics: Statistics by split, made with a schema in which the label is categorical.
        classes: Class names in the order of the labels.
    """
    found = []
    for split, of_split in statistics.items():
        counts = _label_counts(of_split)
        if counts is None:
            found.append(Anomaly(split, schema_names.LABEL, "Labels not counted", _NOT_CATEGORICAL))
            continue
        found += [
            Anomaly(
                split, schema_names.LABEL, "Class without examples", f"no example is {name} (label {label})"
            )
            for label, name in enumerate(classes)
            if not counts.get(str(label))
        ]
    return found


def _label_counts(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float] | None:
    """Return the number of examples by label, or None if the statistics lack it."""
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
    """Measure the drift of each feature with a `drift_comparator`, in the order of the schema.

    TFDV compares histograms of ten buckets, realigned to common boundaries.

    Args:
        statistics: Statistics of one split.
        previous: Statistics of the same split in the previous run.
        schema: Schema whose comparators are Jensen-Shannon divergences.
    """
    import tensorflow_data_validation as tfdv

    compared = tfdv.validate_statistics(statistics, schema, previous_statistics=previous)
    return _distances(_measured(compared, kind="drift"), schema=schema, kind="drift")


def measure_skew(
    training: statistics_pb2.DatasetFeatureStatisticsList,
    *,
    served: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Distance]:
    """Measure the skew of each feature with a `skew_comparator`, in the order of the schema.

    Args:
        training: Statistics of the images that the model was trained on.
        served: Statistics of the images that were served.
        schema: Schema whose comparators are Jensen-Shannon divergences.
    """
    import tensorflow_data_validation as tfdv

    compared = tfdv.validate_statistics(training, schema, serving_statistics=served)
    return _distances(_measured(compared, kind="skew"), schema=schema, kind="skew")


def _measured(compared: anomalies_pb2.Anomalies, *, kind: str) -> dict[str, float]:
    return {
        ".".join(info.path.step): measured[0].value
        for info in compared.drift_skew_info
        if (measured := getattr(info, f"{kind}_measurements"))
    }


def _distances(values: Mapping[str, float], *, schema: schema_pb2.Schema, kind: str) -> list[Distance]:
    return [
        Distance(
            feature=feature.name,
            # TFDV skips a feature that either side lacks, or reports it as an anomaly only.
            value=values.get(feature.name),
            threshold=getattr(feature, f"{kind}_comparator").jensen_shannon_divergence.threshold,
        )
        for feature in schema.feature
        if feature.HasField(f"{kind}_comparator")
    ]


def find_drift(distances: Sequence[Distance], *, split: str) -> list[Anomaly]:
    """List the features that drifted; a schema without comparators is an anomaly too."""
    if not distances:
        return [Anomaly(split, "whole set", "Drift not measured", "the schema has no drift_comparator")]
    return [
        Anomaly(split, distance.feature, "Drift since the previous run", _details(distance))
        for distance in distances
        if distance.drifted
    ]


def _details(distance: Distance) -> str:
    if distance.value is None:
        return "cannot be compared: the statistics of this or the previous run lack it"
    return f"Jensen-Shannon divergence {distance.value:.3f}, above the threshold {distance.threshold:g}"


_Message = TypeVar("_Message", bound=message.Message)


def read_statistics(folder: Path) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """Read StatisticsGen's folder: statistics by split, train first."""
    return _read(folder, artifact_files.STATISTICS, statistics_pb2.DatasetFeatureStatisticsList)


def read_anomalies(folder: Path) -> dict[str, anomalies_pb2.Anomalies]:
    """Read ExampleValidator's folder: anomalies by split, train first."""
    return _read(folder, artifact_files.ANOMALIES, anomalies_pb2.Anomalies)


def _read(folder: Path, name: str, kind: type[_Message]) -> dict[str, _Message]:
    return {
        split: kind.FromString((folder / artifact_files.split_folder(split) / name).read_bytes())
        for split in schema_names.SPLITS
    }
