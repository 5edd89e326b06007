"""Drift of the answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import features
from serving.monitoring.answer_drift import bucket_edges, count, divergence, measure_answer_drift


def test_divergence_is_0_of_equal_and_1_of_disjoint_histograms() -> None:
    assert divergence(np.array([3.0, 1.0]), np.array([6.0, 2.0])) == pytest.approx(0, abs=1e-12)
    assert divergence(np.array([3.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(1)


def test_divergence_is_jensen_and_shannons() -> None:
    p, q = np.array([0.5, 0.5]), np.array([0.25, 0.75])
    middle = (p + q) / 2
    by_hand = (sum(p * np.log2(p / middle)) + sum(q * np.log2(q / middle))) / 2
    assert divergence(p, q) == pytest.approx(by_hand)


def test_values_beyond_what_was_evaluated_count_in_the_last_buckets(predictions: pd.DataFrame) -> None:
    edges = bucket_edges(features.DISTANCE, predictions)
    assert (edges[0], edges[-1]) == pytest.approx(
        (predictions[features.DISTANCE].min(), predictions[features.DISTANCE].max())
    )
    counts = count([-1, 1e9, float("nan"), float("inf")], edges)
    assert counts.tolist() == [1, *[0] * 8, 3]
    assert bucket_edges(features.SCORE, predictions).tolist() == pytest.approx(np.arange(11) / 10)


def test_the_same_kind_of_images_did_not_drift(predictions: pd.DataFrame, answers: Any) -> None:
    found = measure_answer_drift(answers(), predictions=predictions)
    assert [answer.name for answer in found] == [features.SCORE, features.DISTANCE]
    for answer in found:
        assert answer.threshold is not None and 0 < answer.value < answer.threshold < 0.2
        assert not answer.drifted


def test_another_mixture_or_a_bolder_model_drifted(predictions: pd.DataFrame, answers: Any) -> None:
    for scores in ((0.8, 0.8), (0.02, 0.98), (0.5, 0.5)):
        score, distance = measure_answer_drift(answers(scores=scores), predictions=predictions)
        assert (score.drifted, distance.drifted) == (True, False)


def test_images_farther_from_those_trained_on_drifted(predictions: pd.DataFrame, answers: Any) -> None:
    score, distance = measure_answer_drift(answers(distance=12.0), predictions=predictions)
    assert (score.drifted, distance.drifted) == (False, True)


def test_patients_who_differ_allow_a_larger_distance(predictions: pd.DataFrame, answers: Any) -> None:
    number = predictions[features.PATIENT].str[-1].astype(int)
    differing = predictions.assign(**{features.SCORE: (predictions[features.SCORE] + number / 10) % 1})
    alike, apart = (
        measure_answer_drift(answers(), predictions=frame)[0].threshold for frame in (predictions, differing)
    )
    assert alike is not None and apart is not None and apart > 2 * alike


def test_a_model_that_says_the_same_of_every_patient_may_say_so_of_nearly_every_served_image(
    predictions: pd.DataFrame, answers: Any
) -> None:
    frame = answers().assign(**{features.SCORE: 0.55})
    frame.loc[0, features.SCORE] = 0.65
    found, _ = measure_answer_drift(frame, predictions=predictions.assign(**{features.SCORE: 0.55}))
    assert found.threshold == 0.05 and 0 < found.value < 0.05


def test_too_few_patients_are_not_judged(predictions: pd.DataFrame, answers: Any) -> None:
    few = predictions[predictions[features.PATIENT].isin(["patient-0", "patient-1", "patient-2"])]
    for answer in measure_answer_drift(answers(scores=(0.99, 0.99), distance=99.0), predictions=few):
        assert (answer.threshold, answer.drifted) == (None, False) and answer.value > 0.4


def test_predictions_of_before_there_were_distances_are_compared_by_score(
    predictions: pd.DataFrame, answers: Any
) -> None:
    (score,) = measure_answer_drift(answers(), predictions=predictions.drop(columns=features.DISTANCE))
    assert score.name == features.SCORE
