"""Anomalies, missing classes and drift."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from knet.base.schema_names import SPLITS
from knet.data.validation import (
    Anomaly,
    Distance,
    ValidationReport,
    find_anomalies,
    find_drift,
    find_missing_classes,
    format_anomalies,
    measure_drift,
    validate_data,
)

CLASSES = ("benign", "malignant")
Validate = Callable[..., ValidationReport]


@pytest.fixture
def validate(
    statistics_of: Any, write_splits: Callable[..., Path], schema: Schema, tmp_path: Path
) -> Validate:
    """Validates three splits without anomalies, except what is given."""

    def run(*, anomalies: Any = None, now: Any = None, before: Any = None) -> ValidationReport:
        good = dict.fromkeys(SPLITS, statistics_of())
        file = tmp_path / "schema.pbtxt"
        file.write_text(text_format.MessageToString(schema), encoding="utf-8")
        return validate_data(
            anomalies=write_splits({**dict.fromkeys(SPLITS, Anomalies()), **(anomalies or {})}),
            statistics=write_splits({**good, **(now or {})}),
            schema=file,
            previous=None if before is None else write_splits({**good, **before}),
            classes=CLASSES,
        )

    return run


def test_validate_data_without_anomalies(validate: Validate) -> None:
    assert validate() == ValidationReport(anomalies=())


def test_validate_data_lists_every_kind_of_anomaly(validate: Validate, statistics_of: Any) -> None:
    anomaly = Anomalies(anomaly_info={"slide": AnomalyInfo(short_description="Unexpected")})
    report = validate(
        anomalies={"validation": anomaly},
        now={"test": statistics_of([0])},
        before={"train": statistics_of(mean=100)},
    )
    assert [(anomaly.split, anomaly.feature) for anomaly in report.anomalies] == [
        ("validation", "slide"),
        ("test", "label"),
        ("train", "image/mean_red"),
    ]


def test_validate_data_without_previous_run_has_no_drift(validate: Validate, statistics_of: Any) -> None:
    assert validate(now={"train": statistics_of(mean=100)}).drift == ()


def test_validate_data_has_distances_without_anomalies(validate: Validate) -> None:
    report = validate(before={})
    assert (report.anomalies, len(report.drift)) == ((), 1)


def test_validate_data_compares_training_images_only(validate: Validate, statistics_of: Any) -> None:
    assert validate(before={"test": statistics_of(mean=100)}).anomalies == ()


def test_format_anomalies_aligns_columns() -> None:
    anomalies = [Anomaly("validation", "label", "Out of range", "value: 2"), Anomaly("test", "x", "y", "z")]
    assert format_anomalies(anomalies).splitlines() == [
        "split       feature  anomaly       details",
        "validation  label    Out of range  value: 2",
        "test        x        y             z",
    ]


def info(short: str, long: str) -> AnomalyInfo:
    return AnomalyInfo(short_description=short, description=long)


def test_find_anomalies_of_none() -> None:
    assert find_anomalies({"train": Anomalies(), "test": Anomalies()}) == []


def test_find_anomalies_names_split_feature_and_details() -> None:
    anomalies = Anomalies(anomaly_info={"label": info("Out-of-range values", "value: 2")})
    assert find_anomalies({"test": anomalies}) == [
        Anomaly("test", "label", "Out-of-range values", "value: 2")
    ]


def test_find_anomalies_is_ordered_by_split_and_feature() -> None:
    anomalies = Anomalies(anomaly_info={"slide": info("b", ""), "label": info("a", "")})
    found = find_anomalies({"train": anomalies, "test": anomalies})
    assert [(anomaly.split, anomaly.feature) for anomaly in found] == [
        ("train", "label"),
        ("train", "slide"),
        ("test", "label"),
        ("test", "slide"),
    ]


def test_find_anomalies_starts_with_the_whole_set() -> None:
    anomalies = Anomalies(
        anomaly_info={"label": info("a", "")}, dataset_anomaly_info=info("Low num examples", "3 < 5")
    )
    assert find_anomalies({"train": anomalies})[0] == Anomaly(
        "train", "whole set", "Low num examples", "3 < 5"
    )


def test_find_anomalies_of_an_empty_split() -> None:
    (anomaly,) = find_anomalies({"test": Anomalies(data_missing=True)})
    assert (anomaly.split, anomaly.feature) == ("test", "whole set")


Make = Callable[..., DatasetFeatureStatisticsList]


def test_find_missing_classes_of_none(statistics_of: Make) -> None:
    statistics = {"train": statistics_of([0, 1]), "test": statistics_of([1, 0, 0])}
    assert find_missing_classes(statistics, classes=CLASSES) == []


def test_find_missing_classes_names_split_and_class(statistics_of: Make) -> None:
    statistics = {"train": statistics_of([0, 1]), "test": statistics_of([1])}
    (anomaly,) = find_missing_classes(statistics, classes=CLASSES)
    assert (anomaly.split, anomaly.feature) == ("test", "label")
    assert anomaly.details == "no example is benign (label 0)"


def test_find_missing_classes_of_a_split_without_examples() -> None:
    anomalies = find_missing_classes({"test": DatasetFeatureStatisticsList()}, classes=CLASSES)
    assert len(anomalies) == 2


def test_find_missing_classes_of_numeric_labels_is_an_anomaly() -> None:
    statistics = DatasetFeatureStatisticsList()
    feature = statistics.datasets.add().features.add()
    feature.path.step.append("label")
    feature.num_stats.mean = 0.5
    (anomaly,) = find_missing_classes({"test": statistics}, classes=CLASSES)
    assert "is_categorical: true" in anomaly.details


@given(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=3))
def test_find_missing_classes_finds_exactly_the_missing(labels: list[set[int]]) -> None:
    classes = ("a", "b", "c", "d")
    statistics = {str(split): _counted(present) for split, present in enumerate(labels)}
    found = {(f.split, f.details.split()[3]) for f in find_missing_classes(statistics, classes=classes)}
    assert found == {
        (str(split), name)
        for split, present in enumerate(labels)
        for label, name in enumerate(classes)
        if label not in present
    }


def _counted(labels: set[int]) -> DatasetFeatureStatisticsList:
    statistics = DatasetFeatureStatisticsList()
    feature = statistics.datasets.add().features.add()
    feature.path.step.append("label")
    for label in labels:
        feature.string_stats.rank_histogram.buckets.add(label=str(label), sample_count=1)
    return statistics


def test_measure_drift_of_equal_statistics_is_zero(statistics_of: Make, schema: Schema) -> None:
    assert measure_drift(statistics_of(), previous=statistics_of(), schema=schema) == [
        Distance("image/mean_red", 0.0, 0.2)
    ]


def test_measure_drift_of_another_sample_is_below_threshold(statistics_of: Make, schema: Schema) -> None:
    (distance,) = measure_drift(statistics_of(), previous=statistics_of(seed=1), schema=schema)
    assert distance.value is not None and 0 < distance.value < 0.2
    assert find_drift([distance], split="train") == []


def test_find_drift_of_images_two_deviations_brighter(statistics_of: Make, schema: Schema) -> None:
    (distance,) = measure_drift(statistics_of(mean=200), previous=statistics_of(mean=180), schema=schema)
    (anomaly,) = find_drift([distance], split="train")
    assert (anomaly.split, anomaly.feature) == ("train", "image/mean_red")
    assert anomaly.details.endswith("above the threshold 0.2")


@pytest.mark.parametrize("side", ["now", "before"])
def test_find_drift_of_a_feature_that_one_side_lacks(statistics_of: Make, schema: Schema, side: str) -> None:
    whole, lacking = statistics_of(), statistics_of()
    kept = [f for f in lacking.datasets[0].features if list(f.path.step) != ["image/mean_red"]]
    del lacking.datasets[0].features[:]
    lacking.datasets[0].features.extend(kept)
    now, before = (lacking, whole) if side == "now" else (whole, lacking)
    (anomaly,) = find_drift(measure_drift(now, previous=before, schema=schema), split="train")
    assert anomaly.details.startswith("cannot be compared")


def test_find_drift_without_comparators_is_an_anomaly(statistics_of: Make) -> None:
    distances = measure_drift(statistics_of(), previous=statistics_of(mean=0), schema=Schema())
    (anomaly,) = find_drift(distances, split="train")
    assert anomaly.details == "the schema has no drift_comparator"
