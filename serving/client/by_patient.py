"""What the answers say of patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import UserError
from serving.prediction import Prediction


@dataclass(frozen=True)
class PatientPrediction:
    """What is made of one patient's images.

    `mean_score` is the mean probability of `positive_class` over `images`, which the model's threshold turns
    into `label`, as the evaluation does; `positive_share` is the share of the images that were called
    positive, and `doubted` how many of them are not to be relied on.
    """

    patient: str
    label: str
    positive_class: str
    mean_score: float
    positive_share: float
    images: int
    doubted: int
    model_version: int


def by_patient(predictions: Iterable[tuple[str, Prediction]]) -> list[PatientPrediction]:
    """A decision a patient, sorted by patient.

    Args:
        predictions: each with the patient whose image it is of.

    Raises:
        UserError: a patient's images were answered by several versions, or by one that does not say its
            threshold; the text names patient and versions.
    """
    images: defaultdict[str, list[Prediction]] = defaultdict(list)
    for patient, prediction in predictions:
        images[patient].append(prediction)
    return [_decide(patient, images[patient]) for patient in sorted(images)]


def _decide(patient: str, predictions: Sequence[Prediction]) -> PatientPrediction:
    versions = sorted({prediction.model_version for prediction in predictions})
    if len(versions) > 1:
        raise UserError(
            f"the images of patient {patient} were answered by the versions {', '.join(map(str, versions))}, "
            "which decide differently: ask one version about all of them"
        )
    first = predictions[0]
    if first.threshold is None:
        raise UserError(
            f"version {first.model_version} of the model does not say from which score a patient is called "
            f"{first.positive_class}: ask a version that was trained since models say so"
        )
    mean = math.fsum(prediction.score for prediction in predictions) / len(predictions)
    negative, positive = first.probabilities
    return PatientPrediction(
        patient=patient,
        label=positive if mean >= first.threshold else negative,
        positive_class=positive,
        mean_score=mean,
        positive_share=sum(one.label == positive for one in predictions) / len(predictions),
        images=len(predictions),
        doubted=sum(not one.in_distribution for one in predictions),
        model_version=first.model_version,
    )
