"""Compares images with those before them: of this run with the previous one, and served with trained on."""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2

from components.data_gate.finding import Finding


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
    compared = tfdv.validate_statistics(statistics, schema, previous_statistics=previous)
    return _distances(compared, schema=schema, of="drift")


def measure_skew(
    training: statistics_pb2.DatasetFeatureStatisticsList,
    *,
    served: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Distance]:
    """As `measure_drift`, by `skew_comparator`: of served images from those that were trained on."""
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


def find_drift(distances: list[Distance], *, split: str) -> list[Finding]:
    """One finding a feature that drifted, or one if the schema has nothing compared."""
    if not distances:
        return [Finding(split, "whole set", "Drift not measured", "the schema has no drift_comparator")]
    return [
        Finding(split, distance.feature, "Drift since the previous run", _details(distance))
        for distance in distances
        if distance.drifted
    ]


def _details(distance: Distance) -> str:
    if distance.value is None:
        return "cannot be compared: this run's or the previous run's statistics lack it"
    return f"Jensen-Shannon divergence {distance.value:.3f}, above the threshold {distance.threshold:g}"
