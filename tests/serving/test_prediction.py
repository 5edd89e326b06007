"""What is derived from an answer."""

from __future__ import annotations

from serving.prediction import Prediction


def test_the_positive_class_is_the_one_of_the_score() -> None:
    prediction = Prediction("ductal", 0.25, {"ductal": 0.75, "lobular": 0.25}, 3, True, (), 1.5)
    assert prediction.positive_class == "lobular"
    assert prediction.probabilities[prediction.positive_class] == prediction.score
