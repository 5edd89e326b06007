"""Rows and images of the section on patients."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from knet.report.patients import MAX_IMAGES, MAX_PATIENTS, Error, images_to_show, patient_rows


def predictions(*rows: tuple[str, int, float]) -> Any:
    """Return predictions of rows of patient, label and score; image names are numbers."""
    frame = pd.DataFrame(rows, columns=["patient", "label", "score"])
    return frame.assign(image=[f"{number}.png" for number in range(len(frame))], threshold=0.4)


def test_patient_rows_count_images() -> None:
    (row,) = patient_rows(predictions(("a", 1, 0.9), ("a", 1, 0.4), ("a", 1, 0.1), ("a", 1, 0.3)))
    assert (row.patient, row.images, row.correct, row.share) == ("a", 4, 2, 0.5)
    assert (row.mean_score, row.predicted) == (pytest.approx(0.425), 1)
    assert row.errors == (Error("2.png", 0, 0.1), Error("3.png", 0, 0.3))


def test_patient_rows_errors_of_benign_patient_are_high_scores() -> None:
    (row,) = patient_rows(predictions(("a", 0, 0.9), ("a", 0, 0.2), ("a", 0, 0.95)))
    assert (row.correct, row.predicted) == (1, 1)
    assert [error.image for error in row.errors] == ["2.png", "0.png"]


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


def test_patient_rows_of_three_classes_have_a_row_for_each_class_of_a_patient() -> None:
    frame = predictions(("a", 0, 0.6), ("a", 0, 0.5), ("a", 2, 0.5), ("b", 1, 0.8))
    frame["probabilities"] = [[0.6, 0.3, 0.1], [0.4, 0.1, 0.5], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]]
    rows = patient_rows(frame)
    assert [(row.patient, row.label, row.predicted) for row in rows] == [
        ("a", 2, 1),
        ("a", 0, 0),
        ("b", 1, 1),
    ]
    assert [row.correct for row in rows] == [0, 1, 1]
    assert [row.mean_score for row in rows] == pytest.approx([0.3, 0.5, 0.8])
    assert rows[0].errors == (Error("2.png", 1, 0.5),)
    assert rows[1].errors == (Error("1.png", 2, 0.5),)
