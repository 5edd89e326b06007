"""Rows and images of the section on patients."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from knet.report.patients import MAX_IMAGES, MAX_PATIENTS, images_to_show, patient_rows


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
