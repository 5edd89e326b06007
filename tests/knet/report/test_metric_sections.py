"""The points of ROC and precision-recall curves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from knet.report.metric_sections import MOST, SHOWN, WORST, curve_points, images_to_show, patient_rows

SCORES, LABELS = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])


def test_a_small_case_is_as_by_hand() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.5)
    assert curves is not None
    assert curves.roc == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert set(curves.precision_recall) == {(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)}
    assert (curves.roc_at, curves.precision_recall_at) == ((0.5, 0.5), (0.5, 0.5))


def test_an_image_at_the_threshold_is_called_positive() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.8)
    assert curves is not None and curves.roc_at == (0.5, 0.5)


def test_where_nothing_is_called_positive_precision_is_undefined() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.95)
    assert curves is not None
    assert curves.roc_at == (0, 0) and math.isnan(curves.precision_recall_at[1])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_one_class_has_no_curves(labels: list[int]) -> None:
    assert curve_points(SCORES, np.array(labels), threshold=0.5) is None


def test_many_images_have_few_points_and_the_ends_stay() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20_000)
    curves = curve_points(generator.normal(labels, 1), labels, threshold=0.5)
    assert curves is not None
    assert len(curves.roc) <= MOST and len(curves.precision_recall) <= MOST
    assert (curves.roc[0], curves.roc[-1]) == ((0, 0), (1, 1))


def predictions(*rows: tuple[str, int, float]) -> Any:
    """Patient, label and score of each image, whose name is its number."""
    frame = pd.DataFrame(rows, columns=["patient", "label", "score"])
    return frame.assign(image=[f"{number}.png" for number in range(len(frame))], threshold=0.4)


def test_a_patient_s_images_are_counted() -> None:
    (row,) = patient_rows(predictions(("a", 1, 0.9), ("a", 1, 0.4), ("a", 1, 0.1), ("a", 1, 0.3)))
    assert (row.patient, row.images, row.right, row.share) == ("a", 4, 2, 0.5)
    assert (row.mean_score, row.decided) == (pytest.approx(0.425), 1)
    assert row.most_wrong == (("2.png", 0.1), ("3.png", 0.3))


def test_a_benign_patient_is_wrong_with_high_scores() -> None:
    (row,) = patient_rows(predictions(("a", 0, 0.9), ("a", 0, 0.2), ("a", 0, 0.95)))
    assert (row.right, row.decided) == (1, 1)
    assert [image for image, _ in row.most_wrong] == ["2.png", "0.png"]


def test_the_worst_patient_comes_first_and_of_equals_the_surest_mistake() -> None:
    rows = patient_rows(
        predictions(
            ("good", 1, 0.9), ("sure", 1, 0.1), ("unsure", 1, 0.3), ("half", 1, 0.9), ("half", 1, 0.1)
        )
    )
    assert [row.patient for row in rows] == ["sure", "unsure", "half", "good"]


def test_images_of_the_worst_patients_are_shown_and_not_too_many() -> None:
    rows = [
        (f"p{patient}", 1, 0.1 + image / 100) for patient in range(WORST + 2) for image in range(SHOWN + 2)
    ]
    shown = images_to_show(patient_rows(predictions(*rows)))
    assert len(shown) == WORST * SHOWN
    assert shown[0] == "0.png"


def test_of_a_model_without_mistakes_nothing_is_shown() -> None:
    assert images_to_show(patient_rows(predictions(("a", 1, 0.9), ("b", 0, 0.1)))) == []
