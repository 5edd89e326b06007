"""Drift since the previous run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from components.data_gate.drift import Distance, find_drift, measure_drift

Make = Callable[..., DatasetFeatureStatisticsList]


def test_equal_statistics_are_no_distance_apart(statistics_of: Make, schema: Schema) -> None:
    assert measure_drift(statistics_of(), previous=statistics_of(), schema=schema) == [
        Distance("image/mean_red", 0.0, 0.2)
    ]


def test_another_sample_of_the_same_images_did_not_drift(statistics_of: Make, schema: Schema) -> None:
    (distance,) = measure_drift(statistics_of(), previous=statistics_of(seed=1), schema=schema)
    assert distance.value is not None and 0 < distance.value < 0.2
    assert find_drift([distance], split="train") == []


def test_images_two_deviations_brighter_drifted(statistics_of: Make, schema: Schema) -> None:
    (distance,) = measure_drift(statistics_of(mean=200), previous=statistics_of(mean=180), schema=schema)
    (finding,) = find_drift([distance], split="train")
    assert (finding.split, finding.feature) == ("train", "image/mean_red")
    assert finding.details.endswith("above the threshold 0.2")


@pytest.mark.parametrize("side", ["now", "before"])
def test_a_feature_that_one_side_lacks_is_found_and_not_passed_over(
    statistics_of: Make, schema: Schema, side: str
) -> None:
    whole, lacking = statistics_of(), statistics_of()
    kept = [f for f in lacking.datasets[0].features if list(f.path.step) != ["image/mean_red"]]
    del lacking.datasets[0].features[:]
    lacking.datasets[0].features.extend(kept)
    now, before = (lacking, whole) if side == "now" else (whole, lacking)
    (finding,) = find_drift(measure_drift(now, previous=before, schema=schema), split="train")
    assert finding.details.startswith("cannot be compared")


def test_a_schema_without_comparators_is_a_finding(statistics_of: Make) -> None:
    distances = measure_drift(statistics_of(), previous=statistics_of(mean=0), schema=Schema())
    (finding,) = find_drift(distances, split="train")
    assert finding.details == "the schema has no drift_comparator"
