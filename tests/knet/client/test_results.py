"""Predictions and their aggregation by patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.client import PatientPrediction, by_patient
from knet.client.results import Prediction
from knet.evaluation.patient_metrics import PatientSample


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
    sample = PatientSample(
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
