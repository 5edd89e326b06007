"""Metrics by hand, by scikit-learn and for any weighting of the patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from knet.evaluation.binary_metrics import METRICS, BinarySample


def sample_of(rows: Sequence[tuple[str, int, float]], **settings: Any) -> BinarySample:
    """A sample of rows of patient, label and score."""
    return BinarySample(
        images=[f"image {number:04}" for number in range(len(rows))],
        patients=[row[0] for row in rows],
        labels=[row[1] for row in rows],
        scores=[row[2] for row in rows],
        **settings,
    )


# Two benign patients and two malignant ones, one of which has a single image.
HAND_WORKED = (
    ("a", 0, 0.1), ("a", 0, 0.6), ("a", 0, 0.2), ("a", 0, 0.3),  # 3 of 4 correct; mean 0.3, correct
    ("b", 0, 0.7), ("b", 0, 0.4),  # 1 of 2 correct; mean 0.55, wrong
    ("c", 1, 0.9), ("c", 1, 0.2), ("c", 1, 0.6),  # 2 of 3 correct; mean 0.567, correct
    ("d", 1, 0.3),  # wrong
)  # fmt: skip


@st.composite
def samples(draw: st.DrawFn) -> list[tuple[str, int, float]]:
    """Rows of a few patients of both classes, with many equal scores."""
    score = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    rows = []
    for number, label in enumerate([0, 1, *draw(st.lists(st.sampled_from([0, 1]), max_size=4))]):
        scores = draw(st.lists(score, min_size=1, max_size=5))
        rows += [(f"patient {number}", label, value) for value in scores]
    return rows


def test_metrics_equal_hand_computed_values() -> None:
    sample = sample_of(HAND_WORKED)
    assert sample.confusion() == {
        "true_negatives": 4,
        "false_positives": 2,
        "false_negatives": 2,
        "true_positives": 2,
    }
    assert sample.metrics() == pytest.approx(
        {
            "accuracy": 6 / 10,
            "balanced_accuracy": (2 / 4 + 4 / 6) / 2,
            "precision": 2 / 4,
            "recall": 2 / 4,
            "specificity": 4 / 6,
            "f1": 1 / 2,
            # of 24 pairs: 0.9 beats 6, 0.6 beats 4 and ties 1, 0.3 beats 2 and ties 1, 0.2 beats 1 and ties 1
            "roc_auc": (6 + 4.5 + 2.5 + 1.5) / 24,
            # precision where recall rises: 1/1, then 2/4 (0.6 is in both), 3/7 (0.3) and 4/9 (0.2)
            "pr_auc": (1 / 1 + 2 / 4 + 3 / 7 + 4 / 9) / 4,
            # by tenths: 0.1 | 0.2, 0.2+ | 0.3, 0.3+ | 0.4 | 0.6, 0.6+ | 0.7 | 0.9+
            "calibration_error": (0.1 + 0.6 + 0.4 + 0.4 + 0.2 + 0.7 + 0.1) / 10,
            "brier": (0.01 + 0.36 + 0.04 + 0.09 + 0.49 + 0.16 + 0.01 + 0.64 + 0.16 + 0.49) / 10,
            "patient_recognition_rate": (3 / 4 + 1 / 2 + 2 / 3 + 0) / 4,
            "patient_decision_accuracy": 2 / 4,
        }
    )


def test_threshold_changes_decisions_alone() -> None:
    at_half, lower = (sample_of(HAND_WORKED, threshold=t).metrics() for t in (0.5, 0.25))
    assert lower["recall"] == 3 / 4 and lower["specificity"] == 2 / 6
    assert lower["patient_decision_accuracy"] == 2 / 4  # d becomes correct, a becomes wrong
    for name in ("roc_auc", "pr_auc", "brier", "calibration_error"):
        assert lower[name] == at_half[name]


def test_score_at_threshold_is_positive() -> None:
    found = sample_of([("a", 0, 0.5), ("b", 1, 0.5)]).metrics()
    assert found["recall"] == 1 and found["specificity"] == 0


@given(samples())
def test_metrics_equal_scikit_learn(rows: list[tuple[str, int, float]]) -> None:
    labels, scores = [row[1] for row in rows], [row[2] for row in rows]
    decided = [score >= 0.5 for score in scores]
    found = sample_of(rows).metrics()
    assert found["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, decided))
    assert found["balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, decided)
    )
    assert found["f1"] == pytest.approx(sklearn_metrics.f1_score(labels, decided))
    assert found["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores))
    assert found["pr_auc"] == pytest.approx(sklearn_metrics.average_precision_score(labels, scores))
    assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(labels, scores))


@given(samples())
def test_patient_metrics_are_means_over_patients(rows: list[tuple[str, int, float]]) -> None:
    of_patient = defaultdict(list)
    for patient, label, score in rows:
        of_patient[patient, label].append(score)
    rates = [np.mean([(s >= 0.5) == label for s in scores]) for (_, label), scores in of_patient.items()]
    decisions = [(np.mean(scores) >= 0.5) == label for (_, label), scores in of_patient.items()]
    found = sample_of(rows).metrics()
    assert found["patient_recognition_rate"] == pytest.approx(np.mean(rates))
    assert found["patient_decision_accuracy"] == pytest.approx(np.mean(decisions))


@given(samples(), st.randoms(use_true_random=False))
def test_metrics_do_not_depend_on_image_order(rows: list[tuple[str, int, float]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    assert sample_of(shuffled).metrics() == pytest.approx(sample_of(rows).metrics(), nan_ok=True)


@given(samples(), st.data())
def test_weighted_metrics_equal_those_of_repeated_patients(
    rows: list[tuple[str, int, float]], data: st.DataObject
) -> None:
    sample = sample_of(rows)
    count = len(sample.patients)
    weights = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    copies = [
        (f"{patient} copy {copy}", label, score)
        for patient, label, score in rows
        for copy in range(weights[list(sample.patients).index(patient)])
    ]
    weighted = sample.weighted_metrics(np.array([weights, np.ones_like(weights)]))
    assert {n: v[0] for n, v in weighted.items()} == pytest.approx(sample_of(copies).metrics(), nan_ok=True)
    assert {n: v[1] for n, v in weighted.items()} == pytest.approx(sample.metrics(), nan_ok=True)


@given(samples())
def test_defined_metrics_are_between_zero_and_one(rows: list[tuple[str, int, float]]) -> None:
    assert all(math.isnan(v) or -1e-12 <= v <= 1 + 1e-12 for v in sample_of(rows).metrics().values())


@pytest.mark.parametrize(
    ("label", "undefined"),
    [
        (0, {"balanced_accuracy", "recall", "roc_auc", "pr_auc"}),
        (1, {"balanced_accuracy", "specificity", "roc_auc", "pr_auc"}),
    ],
)
def test_metrics_over_one_class_are_undefined_where_both_are_needed(label: int, undefined: set[str]) -> None:
    found = sample_of([("a", label, 0.2), ("b", label, 0.8)]).metrics()
    assert {name for name, value in found.items() if math.isnan(value)} == undefined


def test_precision_without_positive_predictions_is_undefined() -> None:
    found = sample_of([("a", 0, 0.2), ("b", 1, 0.3)]).metrics()
    assert math.isnan(found["precision"]) and found["f1"] == 0


def test_metrics_without_images_are_undefined() -> None:
    sample = sample_of([])
    assert set(sample.metrics()) == set(METRICS)
    assert all(math.isnan(value) for value in sample.metrics().values())
    assert sum(sample.confusion().values()) == 0


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1])
def test_sample_score_that_is_no_probability_is_an_error(score: float) -> None:
    with pytest.raises(ValueError, match="not a probability"):
        sample_of([("a", 0, 0.5), ("b", 1, score)])


def test_sample_duplicate_image_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="occurs twice"):
        BinarySample(images=["x", "x"], patients=["a", "b"], labels=[0, 1], scores=[0.5, 0.5])


def test_sample_patient_of_both_classes_is_an_error() -> None:
    with pytest.raises(ValueError, match="both classes"):
        sample_of([("a", 0, 0.5), ("a", 1, 0.5)])


def test_thresholds_of_several_folds_decide_their_images() -> None:
    def sample(threshold: Any) -> BinarySample:
        return BinarySample(
            images=list("abcd"),
            patients=["1", "1", "2", "2"],
            labels=[0, 0, 1, 1],
            scores=[0.2, 0.4, 0.3, 0.3],
            threshold=threshold,
        )

    metrics = sample(np.array([0.5, 0.5, 0.25, 0.25])).metrics()
    assert metrics["accuracy"] == metrics["patient_decision_accuracy"] == 1.0
    assert sample(0.5).metrics()["accuracy"] == 0.5
    np.testing.assert_equal(sample(np.full(4, 0.5)).metrics(), sample(0.5).metrics())


def test_patient_with_images_of_both_classes_is_decided_by_class() -> None:
    sample = BinarySample(
        images=["1", "2", "3", "4", "5"],
        patients=["a", "a", "a", "b", "c"],
        labels=[1, 1, 0, 0, 1],
        scores=[0.9, 0.3, 0.7, 0.2, 0.8],
        mixed_patients=True,
    )
    assert sample.strata.tolist() == [2, 0, 1]
    # a: positive by its mean of 0.6, which is right; its negative image is decided positive, which is wrong
    assert sample.metrics()["patient_decision_accuracy"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert sample.metrics()["patient_recognition_rate"] == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert sample.patient_counts(("normal", "tumor")) == {"normal": 2, "tumor": 2}
    assert sample.image_counts(("normal", "tumor")) == {"normal": 2, "tumor": 3}
