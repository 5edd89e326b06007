"""How a model did on each patient."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pipeline.report.patient_rows import SHOWN, WORST, images_to_show, patient_rows


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
