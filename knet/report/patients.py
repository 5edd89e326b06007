"""Section of the report page on the test patients: a row per patient, and thumbnails of errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

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
    if not rows:
        return Section("patients", _PATIENTS_TITLE, missing="There are no test patients.")
    worst = [row for row in rows[:MAX_PATIENTS] if row.errors]
    return Section(
        "patients",
        _PATIENTS_TITLE,
        {
            "rows": rows,
            "classes": inputs.record.config["data"]["classes"],
            "worst": worst,
            "shown": MAX_IMAGES,
            "thumbnails": inputs.thumbnails,
        },
    )


MAX_PATIENTS: Final = 5  # whose images are shown
MAX_IMAGES: Final = 4  # of each patient


@dataclass(frozen=True)
class PatientRow:
    """Predictions for the images of a patient."""

    patient: str
    label: int
    images: int
    correct: int  # number of correctly classified images
    mean_score: float  # mean probability of the positive class
    predicted: int  # class by the mean score
    errors: tuple[tuple[str, float], ...]  # image and score of misclassified images, most confident first

    @property
    def share(self) -> float:
        """Share of correctly classified images."""
        return self.correct / self.images


def patient_rows(predictions: Any) -> list[PatientRow]:
    """Return a row per patient, the worst first: by share of correct images, then by error of the mean score.

    Args:
        predictions: one candidate's predictions on one split, as `read_predictions` returns them.
    """
    rows = [_patient_row(str(patient), frame) for patient, frame in predictions.groupby(schema_names.PATIENT)]
    return sorted(rows, key=lambda row: (row.share, -abs(row.mean_score - row.label), row.patient))


def images_to_show(rows: list[PatientRow]) -> list[str]:
    """Return the most confident errors of the worst patients: image paths."""
    return [image for row in rows[:MAX_PATIENTS] for image, _ in row.errors[:MAX_IMAGES]]


def _patient_row(patient: str, frame: Any) -> PatientRow:
    label, threshold = int(frame[schema_names.LABEL].iloc[0]), float(frame[schema_names.THRESHOLD].iloc[0])
    scores = frame[schema_names.SCORE]
    checked = frame.assign(error=(scores - label).abs(), correct=(scores >= threshold) == (label == 1))
    wrong = checked[~checked["correct"]].sort_values(
        ["error", schema_names.IMAGE_PATH], ascending=[False, True]
    )
    mean = float(scores.mean())
    return PatientRow(
        patient=patient,
        label=label,
        images=len(frame),
        correct=int(checked["correct"].sum()),
        mean_score=mean,
        predicted=int(mean >= threshold),
        errors=tuple(
            zip(wrong[schema_names.IMAGE_PATH].tolist(), map(float, wrong[schema_names.SCORE]), strict=True)
        ),
    )
