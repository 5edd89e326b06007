"""What fails the gate."""

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
    measure_drift,
    table,
    validate_data,
)

CLASSES = ("benign", "malignant")
Look = Callable[..., ValidationReport]


@pytest.fixture
def look(statistics_of: Any, write_splits: Callable[..., Path], schema: Schema, tmp_path: Path) -> Look:
    """Judges three good splits, but for what is given."""

    def judge_with(*, anomalies: Any = None, now: Any = None, before: Any = None) -> ValidationReport:
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

    return judge_with


def test_good_data_pass(look: Look) -> None:
    assert look() == ValidationReport(findings=())


def test_every_kind_of_finding_is_listed(look: Look, statistics_of: Any) -> None:
    anomaly = Anomalies(anomaly_info={"slide": AnomalyInfo(short_description="Unexpected")})
    judgement = look(
        anomalies={"validation": anomaly},
        now={"test": statistics_of([0])},
        before={"train": statistics_of(mean=100)},
    )
    assert [(finding.split, finding.feature) for finding in judgement.findings] == [
        ("validation", "slide"),
        ("test", "label"),
        ("train", "image/mean_red"),
    ]


def test_without_a_previous_run_nothing_is_compared(look: Look, statistics_of: Any) -> None:
    assert look(now={"train": statistics_of(mean=100)}).drift == ()


def test_distances_are_told_of_good_data_too(look: Look) -> None:
    judgement = look(before={})
    assert (judgement.findings, len(judgement.drift)) == ((), 1)


def test_drift_is_looked_for_among_the_training_images_alone(look: Look, statistics_of: Any) -> None:
    assert look(before={"test": statistics_of(mean=100)}).findings == ()


def test_columns_are_aligned_under_their_header() -> None:
    findings = [Anomaly("validation", "label", "Out of range", "value: 2"), Anomaly("test", "x", "y", "z")]
    assert table(findings).splitlines() == [
        "split       feature  anomaly       details",
        "validation  label    Out of range  value: 2",
        "test        x        y             z",
    ]


def info(short: str, long: str) -> AnomalyInfo:
    return AnomalyInfo(short_description=short, description=long)


def test_no_anomalies_give_no_findings() -> None:
    assert find_anomalies({"train": Anomalies(), "test": Anomalies()}) == []


def test_a_finding_names_split_feature_and_details() -> None:
    anomalies = Anomalies(anomaly_info={"label": info("Out-of-range values", "value: 2")})
    assert find_anomalies({"test": anomalies}) == [
        Anomaly("test", "label", "Out-of-range values", "value: 2")
    ]


def test_findings_go_split_by_split_and_by_feature() -> None:
    anomalies = Anomalies(anomaly_info={"slide": info("b", ""), "label": info("a", "")})
    found = find_anomalies({"train": anomalies, "test": anomalies})
    assert [(finding.split, finding.feature) for finding in found] == [
        ("train", "label"),
        ("train", "slide"),
        ("test", "label"),
        ("test", "slide"),
    ]


def test_an_anomaly_of_the_whole_set_comes_first() -> None:
    anomalies = Anomalies(
        anomaly_info={"label": info("a", "")}, dataset_anomaly_info=info("Low num examples", "3 < 5")
    )
    assert find_anomalies({"train": anomalies})[0] == Anomaly(
        "train", "whole set", "Low num examples", "3 < 5"
    )


def test_an_empty_split_is_an_anomaly() -> None:
    (finding,) = find_anomalies({"test": Anomalies(data_missing=True)})
    assert (finding.split, finding.feature) == ("test", "whole set")


Make = Callable[..., DatasetFeatureStatisticsList]


def test_both_classes_in_every_split_give_no_finding(statistics_of: Make) -> None:
    statistics = {"train": statistics_of([0, 1]), "test": statistics_of([1, 0, 0])}
    assert find_missing_classes(statistics, classes=CLASSES) == []


def test_the_split_and_the_class_are_named(statistics_of: Make) -> None:
    statistics = {"train": statistics_of([0, 1]), "test": statistics_of([1])}
    (finding,) = find_missing_classes(statistics, classes=CLASSES)
    assert (finding.split, finding.feature) == ("test", "label")
    assert finding.details == "no example is benign (label 0)"


def test_a_split_without_examples_lacks_every_class() -> None:
    findings = find_missing_classes({"test": DatasetFeatureStatisticsList()}, classes=CLASSES)
    assert len(findings) == 2


def test_labels_that_were_taken_for_amounts_are_not_passed_over() -> None:
    statistics = DatasetFeatureStatisticsList()
    feature = statistics.datasets.add().features.add()
    feature.path.step.append("label")
    feature.num_stats.mean = 0.5
    (finding,) = find_missing_classes({"test": statistics}, classes=CLASSES)
    assert "is_categorical: true" in finding.details


@given(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=3))
def test_exactly_the_missing_ones_are_found(labels: list[set[int]]) -> None:
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
