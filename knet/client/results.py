"""Results of a served model: predictions, explanations, and decisions by patient."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from knet.base.errors import UserError
from knet.client.images import FailedPrediction, Image


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        label: Predicted class: the positive one if `score` is `threshold` or more.
        score: Calibrated probability of the positive class, 0 to 1.
        probabilities: Calibrated probability of each class, 0 to 1; the positive class is the last.
        model_version: Version of the model that answered.
        in_distribution: False flags the prediction as unreliable: the image is out of distribution.
        reasons: Reasons for the flag, such as `blurred`; empty without it.
        distance: Distance of the image from the training images.
        threshold: Lowest score of a positive image or patient, 0 to 1. None if the model was exported before
            models returned it.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    model_version: int
    in_distribution: bool
    reasons: tuple[str, ...]
    distance: float
    threshold: float | None = None

    @property
    def positive_class(self) -> str:
        """The class whose probability is `score`."""
        return list(self.probabilities)[-1]


@dataclass(frozen=True)
class Explanation:
    """The heat map (Grad-CAM) of the predicted label of one image.

    Attributes:
        label: Predicted class, as in `Prediction`.
        score: Calibrated probability of the positive class, 0 to 1.
        heat_map: Rows of values over the whole image, 0 to 1, in the resolution of the last feature map;
            all 0 if no region supports the label.
        model_version: Version of the model that answered.
    """

    label: str
    score: float
    heat_map: tuple[tuple[float, ...], ...]
    model_version: int


@dataclass(frozen=True)
class VersionStatus:
    """The status of one version of a served model.

    Attributes:
        version: Number of the version.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: Reason why the version is not available, else empty.
    """

    version: int
    state: str
    error: str


_Result = TypeVar("_Result")


def unwrap(result: _Result | FailedPrediction, *, image: Image, index: int) -> _Result:
    """Return a result unless it is a FailedPrediction.

    Args:
        result: Result for one image.
        image: The image, whose path the error names.
        index: Index of the image in its request, which the error names for an image without path.

    Raises:
        UserError: The result is a FailedPrediction.
    """
    if isinstance(result, FailedPrediction):
        name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {index}"
        raise UserError(f"{name}: {result.reason}")
    return result


@dataclass(frozen=True)
class PatientPrediction:
    """The prediction for one patient, from the predictions for their images.

    Attributes:
        patient: Identifier of the patient.
        label: Predicted class: the positive one if `mean_score` is the model's threshold or more.
        positive_class: Class whose probability `mean_score` is.
        mean_score: Mean score of the images, 0 to 1.
        positive_share: Share of the images with a positive label, 0 to 1.
        images: Number of images.
        flagged_ood: Number of images flagged as out of distribution; they count in the mean too.
        model_version: Version of the model that answered.
    """

    patient: str
    label: str
    positive_class: str
    mean_score: float
    positive_share: float
    images: int
    flagged_ood: int
    model_version: int


def by_patient(predictions: Iterable[tuple[str, Prediction]]) -> list[PatientPrediction]:
    """Aggregate predictions for images by patient.

    Args:
        predictions: Pairs of a patient and the prediction for one of their images.

    Returns:
        A prediction for each patient, sorted by patient.

    Raises:
        UserError: The predictions for a patient are of several versions of the model, or of one that does not
            return its threshold.
    """
    by_name: defaultdict[str, list[Prediction]] = defaultdict(list)
    for patient, prediction in predictions:
        by_name[patient].append(prediction)
    return [_aggregate(patient, by_name[patient]) for patient in sorted(by_name)]


def _aggregate(patient: str, predictions: Sequence[Prediction]) -> PatientPrediction:
    versions = sorted({prediction.model_version for prediction in predictions})
    if len(versions) > 1:
        raise UserError(
            f"the predictions for patient {patient} are of the versions {', '.join(map(str, versions))}, "
            "whose thresholds may differ: predict all images with one version"
        )
    first = predictions[0]
    if first.threshold is None:
        raise UserError(
            f"version {first.model_version} of the model does not return the threshold for calling a patient "
            f"{first.positive_class}: use a version trained with the current release"
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
        flagged_ood=sum(not one.in_distribution for one in predictions),
        model_version=first.model_version,
    )
