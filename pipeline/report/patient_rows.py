"""How a model did on each patient, and which images show it at its worst."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline import features

WORST = 5  # patients whose images are shown
SHOWN = 4  # images of each


@dataclass(frozen=True)
class PatientRow:
    """One patient's images, and what was made of them."""

    patient: str
    label: int
    images: int
    right: int  # of them
    mean_score: float  # of the positive class
    decided: int  # the class that the mean score stands for
    most_wrong: tuple[
        tuple[str, float], ...
    ]  # image and score of those that were called wrongly, worst first

    @property
    def share(self) -> float:
        """Of the images that were called rightly."""
        return self.right / self.images


def patient_rows(predictions: Any) -> list[PatientRow]:
    """A row a patient, the worst first: with the smallest share of right images, then the surest mistake.

    Args:
        predictions: of one candidate on one split, as `read_predictions` gives them.
    """
    rows = [_row(str(patient), frame) for patient, frame in predictions.groupby(features.PATIENT)]
    return sorted(rows, key=lambda row: (row.share, -abs(row.mean_score - row.label), row.patient))


def images_to_show(rows: list[PatientRow]) -> list[str]:
    """The most wrong images of the worst patients."""
    return [image for row in rows[:WORST] for image, _ in row.most_wrong[:SHOWN]]


def _row(patient: str, frame: Any) -> PatientRow:
    label, threshold = int(frame[features.LABEL].iloc[0]), float(frame[features.THRESHOLD].iloc[0])
    scores = frame[features.SCORE]
    judged = frame.assign(off=(scores - label).abs(), right=(scores >= threshold) == (label == 1))
    wrong = judged[~judged["right"]].sort_values(["off", features.IMAGE_PATH], ascending=[False, True])
    mean = float(scores.mean())
    return PatientRow(
        patient=patient,
        label=label,
        images=len(frame),
        right=int(judged["right"].sum()),
        mean_score=mean,
        decided=int(mean >= threshold),
        most_wrong=tuple(
            zip(wrong[features.IMAGE_PATH].tolist(), map(float, wrong[features.SCORE]), strict=True)
        ),
    )
