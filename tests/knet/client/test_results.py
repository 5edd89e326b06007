"""Predictions and their aggregation by patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.client import PatientPrediction, by_patient
from knet.client.results import Prediction
from knet.evaluation.binary_metrics import BinarySample
from knet.evaluation.multiclass_metrics import MulticlassSample


def test_positive_class_is_that_of_score() -> None:
    prediction = Prediction("ductal", 0.25, {"ductal": 0.75, "lobular": 0.25}, 3, True, (), 1.5)
    assert prediction.positive_class == "lobular"
    assert prediction.probabilities[prediction.positive_class] == prediction.score


def prediction(
    score: float, *, threshold: float | None = 0.5, version: int = 7, flagged_ood: bool = False
) -> Prediction:
    label = "malignant" if score >= (threshold or 0.5) else "benign"
    probabilities = {"benign": 1 - score, "malignant": score}
    return Prediction(label, score, probabilities, version, not flagged_ood, (), 1.5, threshold)


def of_three(*probabilities: float, positive_score: float | None = None) -> Prediction:
    classes = dict(zip("abc", probabilities, strict=True))
    label = max(classes, key=lambda name: classes[name])
    threshold = None if positive_score is None else 0.5
    return Prediction(label, classes[label], classes, 7, True, (), 1.5, threshold, positive_score)


def test_positive_of_two_classes_and_of_a_group() -> None:
    assert [prediction(score).positive for score in (0.25, 0.5)] == [False, True]
    assert prediction(0.75, threshold=None).positive is True  # by the label of an older model
    of_group = [of_three(0.5, 0.25, 0.25, positive_score=score) for score in (0.25, 0.5)]
    assert [one.positive for one in of_group] == [False, True]
    without = of_three(0.5, 0.25, 0.25)
    assert (without.positive, without.positive_class) == (None, None)


def test_by_patient_of_three_classes_decides_by_mean_probabilities() -> None:
    said = [of_three(0.5, 0.375, 0.125), of_three(0.0, 0.5, 0.5), of_three(0.5, 0.375, 0.125)]
    (patient,) = by_patient([("p", one) for one in said])
    assert [one.label for one in said] == ["a", "b", "a"]
    assert patient == PatientPrediction(
        *("p", "b", None, 1.25 / 3, None, 3, 0, 7), {"a": 1 / 3, "b": 1.25 / 3, "c": 0.25}
    )


def test_by_patient_of_a_positive_group_averages_positive_scores() -> None:
    for scores, mean, positive in (((0.375, 0.875), 0.625, True), ((0.0, 0.75), 0.375, False)):
        said = [("p", of_three(0.25, 0.25, 0.5, positive_score=score)) for score in scores]
        (patient,) = by_patient(said)
        assert (patient.positive_score, patient.positive, patient.positive_share) == (mean, positive, 0.5)


@given(
    rows=st.lists(st.lists(st.integers(1, 64), min_size=3, max_size=3), min_size=1, max_size=8),
    seed=st.integers(0, 9),
)
def test_by_patient_of_three_classes_agrees_with_evaluation(rows: list[list[int]], seed: int) -> None:
    probabilities = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    patients = [str(number) for number in np.random.default_rng(seed).integers(0, 3, len(rows))]
    decided = by_patient(
        [(name, of_three(*row)) for name, row in zip(patients, probabilities.tolist(), strict=True)]
    )
    for one in decided:  # the two sum in different orders, so equal means may differ in their last digit
        first, second, _ = sorted((one.probabilities or {}).values(), reverse=True)
        assume(first - second > 1e-12)
    labels = {one.patient: "abc".index(one.label) for one in decided}
    sample = MulticlassSample(
        images=[f"{number}" for number in range(len(rows))],
        patients=patients,
        labels=[labels[name] for name in patients],  # an accuracy of 1 means that both agree
        probabilities=probabilities,
    )
    assert sample.metrics()["patient_decision_accuracy"] == 1


def test_by_patient_averages_scores() -> None:
    said = [("b", prediction(0.25)), ("a", prediction(0.875)), ("b", prediction(0.75, flagged_ood=True))]
    assert by_patient(said) == [
        PatientPrediction("a", "malignant", "malignant", 0.875, 1.0, 1, 0, 7),
        PatientPrediction("b", "malignant", "malignant", 0.5, 0.5, 2, 1, 7),
    ]
    assert by_patient([]) == []


@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8),
    threshold=st.floats(0, 1, width=32),
    seed=st.integers(0, 9),
)
def test_by_patient_agrees_with_evaluation(scores: list[float], threshold: float, seed: int) -> None:
    patients = [str(number) for number in np.random.default_rng(seed).integers(0, 3, len(scores))]
    pairs = zip(patients, scores, strict=True)
    decided = by_patient([(name, prediction(score, threshold=threshold)) for name, score in pairs])
    # The two sum in different orders, so a mean may differ in its last digit.
    assume(all(abs(one.mean_score - threshold) > 1e-12 or one.images == 1 for one in decided))
    positive = {one.patient: int(one.label == "malignant") for one in decided}
    sample = BinarySample(
        images=[f"{number}" for number in range(len(scores))],
        patients=patients,
        labels=[positive[name] for name in patients],  # an accuracy of 1 means that both agree
        scores=scores,
        threshold=threshold,
    )
    assert sample.metrics()["patient_decision_accuracy"] == 1


def test_by_patient_rejects_mixed_versions() -> None:
    with pytest.raises(UserError, match="predictions for patient a are of the versions 7, 8"):
        by_patient([("a", prediction(0.5)), ("a", prediction(0.5, version=8))])
    assert len(by_patient([("a", prediction(0.5)), ("b", prediction(0.5, version=8))])) == 2


def test_by_patient_rejects_version_without_threshold() -> None:
    with pytest.raises(UserError, match="version 7 of the model does not return the threshold"):
        by_patient([("a", prediction(0.5, threshold=None))])
