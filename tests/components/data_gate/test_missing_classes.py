"""Splits in which a class has no example."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatisticsList

from components.data_gate.missing_classes import find_missing_classes

CLASSES = ("benign", "malignant")
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
