"""Curves and patients of the metric sections."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from knet.report.metric_sections import (
    MAX_IMAGES,
    MAX_PATIENTS,
    MAX_POINTS,
    curve_points,
    images_to_show,
    patient_rows,
)

SCORES, LABELS = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])


def test_curve_points_by_hand() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.5)
    assert curves is not None
    assert curves.roc == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert set(curves.precision_recall) == {(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)}
    assert (curves.roc_at, curves.precision_recall_at) == ((0.5, 0.5), (0.5, 0.5))


def test_curve_points_score_at_threshold_is_positive() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.8)
    assert curves is not None and curves.roc_at == (0.5, 0.5)


def test_curve_points_precision_without_positive_predictions_is_nan() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.95)
    assert curves is not None
    assert curves.roc_at == (0, 0) and math.isnan(curves.precision_recall_at[1])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_curve_points_of_one_class_are_none(labels: list[int]) -> None:
    assert curve_points(SCORES, np.array(labels), threshold=0.5) is None


def test_curve_points_of_many_images_are_thinned_with_both_ends() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20_000)
    curves = curve_points(generator.normal(labels, 1), labels, threshold=0.5)
    assert curves is not None
    assert len(curves.roc) <= MAX_POINTS and len(curves.precision_recall) <= MAX_POINTS
    assert (curves.roc[0], curves.roc[-1]) == ((0, 0), (1, 1))


def predictions(*rows: tuple[str, int, float]) -> Any:
    """Return predictions of rows of patient, label and score; image names are numbers."""
    frame = pd.DataFrame(rows, columns=["patient", "label", "score"])
    return frame.assign(image=[f"{number}.png" for number in range(len(frame))], threshold=0.4)


def test_patient_rows_count_images() -> None:
    (row,) = patient_rows(predictions(("a", 1, 0.9), ("a", 1, 0.4), ("a", 1, 0.1), ("a", 1, 0.3)))
    assert (row.patient, row.images, row.correct, row.share) == ("a", 4, 2, 0.5)
    assert (row.mean_score, row.predicted) == (pytest.approx(0.425), 1)
    assert row.errors == (("2.png", 0.1), ("3.png", 0.3))


def test_patient_rows_errors_of_benign_patient_are_high_scores() -> None:
    (row,) = patient_rows(predictions(("a", 0, 0.9), ("a", 0, 0.2), ("a", 0, 0.95)))
    assert (row.correct, row.predicted) == (1, 1)
    assert [image for image, _ in row.errors] == ["2.png", "0.png"]


def test_patient_rows_worst_first_then_most_confident_error() -> None:
    rows = patient_rows(
        predictions(
            ("good", 1, 0.9), ("sure", 1, 0.1), ("unsure", 1, 0.3), ("half", 1, 0.9), ("half", 1, 0.1)
        )
    )
    assert [row.patient for row in rows] == ["sure", "unsure", "half", "good"]


def test_images_to_show_are_limited() -> None:
    rows = [
        (f"p{patient}", 1, 0.1 + image / 100)
        for patient in range(MAX_PATIENTS + 2)
        for image in range(MAX_IMAGES + 2)
    ]
    shown = images_to_show(patient_rows(predictions(*rows)))
    assert len(shown) == MAX_PATIENTS * MAX_IMAGES
    assert shown[0] == "0.png"


def test_images_to_show_without_errors_are_none() -> None:
    assert images_to_show(patient_rows(predictions(("a", 1, 0.9), ("b", 0, 0.1)))) == []
