"""Section of the report page on the test patients: a row per patient, and thumbnails of errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from knet.base import schema_names
from knet.report.inputs import Inputs, Section

_PATIENTS_TITLE = "Patients"


def patients(inputs: Inputs) -> Section:
    """Return a row per test patient, the worst first, and thumbnails of misclassified images."""
    name = inputs.record.winner
    if name is None or name not in inputs.predictions:
        return Section("patients", _PATIENTS_TITLE, missing="No winner was selected in this run.")
    predictions = inputs.predictions[name]
    rows = patient_rows(predictions[predictions[schema_names.SPLIT] == schema_names.TEST])
    two = len(inputs.classes) == 2
    if not rows:
        return Section("patients", _PATIENTS_TITLE, missing="There are no test patients.")
    worst = [row for row in rows[:MAX_PATIENTS] if row.errors]
    return Section(
        "patients",
        _PATIENTS_TITLE,
        {
            "rows": rows,
            "classes": inputs.classes,
            "scored": inputs.classes[1] if two else "the true class",  # by `PatientRow.mean_score`
            "pictured": inputs.classes[1] if two else "the predicted class",  # by the score of an error
            "worst": worst,
            "shown": MAX_IMAGES,
            "thumbnails": inputs.thumbnails,
        },
    )


MAX_PATIENTS: Final = 5  # whose images are shown
MAX_IMAGES: Final = 4  # of each patient


@dataclass(frozen=True)
class Error:
    """A misclassified image."""

    image: str
    predicted: int
    score: float  # as in the predictions: of the positive one of two classes, else of the predicted class


@dataclass(frozen=True)
class PatientRow:
    """Predictions for the images of a patient; of more than two classes, for its images of one of them."""

    patient: str
    label: int
    images: int
    correct: int  # number of correctly classified images
    mean_score: float  # mean probability of the positive one of two classes, else of the label
    predicted: int  # class by the mean probabilities
    errors: tuple[Error, ...]  # misclassified images, the most confident first

    @property
    def share(self) -> float:
        """Share of correctly classified images."""
        return self.correct / self.images


def patient_rows(predictions: Any) -> list[PatientRow]:
    """Return a row per patient, the worst first: by share of correct images, then by the error of the mean.

    A patient with images of several classes has a row for each.

    Args:
        predictions: one candidate's predictions on one split, as `read_predictions` returns them.
    """
    rows = [
        _patient_row(str(patient), int(label), frame)
        for (patient, label), frame in predictions.groupby([schema_names.PATIENT, schema_names.LABEL])
    ]
    two = schema_names.PROBABILITIES not in predictions

    def error(row: PatientRow) -> float:
        return abs(row.mean_score - row.label) if two else 1 - row.mean_score

    return sorted(rows, key=lambda row: (row.share, -error(row), row.patient, row.label))


def images_to_show(rows: list[PatientRow]) -> list[str]:
    """Return the most confident errors of the worst patients: image paths."""
    return [error.image for row in rows[:MAX_PATIENTS] for error in row.errors[:MAX_IMAGES]]


def _patient_row(patient: str, label: int, frame: Any) -> PatientRow:
    scores = frame[schema_names.SCORE]
    if schema_names.PROBABILITIES in frame:
        probabilities = np.stack(frame[schema_names.PROBABILITIES]).astype(float)
        mean = float(probabilities[:, label].mean())
        predicted = probabilities.argmax(axis=1)
        called = int(probabilities.mean(axis=0).argmax())
        checked = frame.assign(error=1 - probabilities[:, label], predicted=predicted)
    else:
        threshold = float(frame[schema_names.THRESHOLD].iloc[0])
        mean = float(scores.mean())
        called = int(mean >= threshold)
        checked = frame.assign(error=(scores - label).abs(), predicted=(scores >= threshold).astype(int))
    wrong = checked[checked["predicted"] != label].sort_values(
        ["error", schema_names.IMAGE_PATH], ascending=[False, True]
    )
    columns = (wrong[name].tolist() for name in (schema_names.IMAGE_PATH, "predicted", schema_names.SCORE))
    return PatientRow(
        patient=patient,
        label=label,
        images=len(frame),
        correct=len(frame) - len(wrong),
        mean_score=mean,
        predicted=called,
        errors=tuple(Error(*values) for values in zip(*columns, strict=True)),
    )
