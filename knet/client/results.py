"""Results of a served model: predictions, explanations, and decisions by patient."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from knet.base.errors import UserError
from knet.client.images import FailedPrediction, Image


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        label: Predicted class: of two classes the positive one if `score` is `threshold` or more, of more the
            likeliest.
        score: Calibrated probability, 0 to 1: of two classes that of the positive one, of more that of the
            label.
        probabilities: Calibrated probability of each class, 0 to 1; of two the positive class is the last.
        model_version: Version of the model that answered.
        in_distribution: False flags the prediction as unreliable: the image is out of distribution.
        reasons: Reasons for the flag, such as `blurred`; empty without it.
        distance: Distance of the image from the training images.
        threshold: Lowest score of a positive image or patient, 0 to 1; of more than two classes the lowest
            `positive_score`. None if the model has no positive group, or was exported before models returned
            it.
        positive_score: Calibrated probability of the positive group of more than two classes, 0 to 1. None
            without one.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    model_version: int
    in_distribution: bool
    reasons: tuple[str, ...]
    distance: float
    threshold: float | None = None
    positive_score: float | None = None

    @property
    def positive_class(self) -> str | None:
        """The class whose probability is `score`, the second of two; None of more."""
        return list(self.probabilities)[-1] if len(self.probabilities) == 2 else None

    @property
    def positive(self) -> bool | None:
        """Whether the label is the positive one of two classes, or the positive group is predicted.

        None of more than two classes without a positive group.
        """
        if self.positive_class is not None:
            return self.label == self.positive_class
        if self.positive_score is None or self.threshold is None:
            return None
        return self.positive_score >= self.threshold


@dataclass(frozen=True)
class Explanation:
    """The heat map (Grad-CAM) of the predicted label of one image.

    Attributes:
        label: Predicted class, as in `Prediction`.
        score: Calibrated probability, as in `Prediction`.
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
        label: Predicted class: of two classes the positive one if `mean_score` is the model's threshold or
            more, of more the likeliest by `probabilities`.
        positive_class: Class whose probability `mean_score` is; None of more than two classes.
        mean_score: Of two classes the mean score of the images, of more the mean probability of the label, 0
            to 1.
        positive_share: Share of the images that are positive, 0 to 1; None of more than two classes without a
            positive group.
        images: Number of images.
        flagged_ood: Number of images flagged as out of distribution; they count in the means too.
        model_version: Version of the model that answered.
        probabilities: Mean probability of each of more than two classes, 0 to 1; None of two.
        positive_score: Mean of the images' `positive_score`, 0 to 1; None without a positive group.
        positive: Whether `positive_score` is the model's threshold or more; None without a positive group.
    """

    patient: str
    label: str
    positive_class: str | None
    mean_score: float
    positive_share: float | None
    images: int
    flagged_ood: int
    model_version: int
    probabilities: dict[str, float] | None = None
    positive_score: float | None = None
    positive: bool | None = None


def by_patient(predictions: Iterable[tuple[str, Prediction]]) -> list[PatientPrediction]:
    """Aggregate predictions for images by patient.

    Args:
        predictions: Pairs of a patient and the prediction for one of their images.

    Returns:
        A prediction for each patient, sorted by patient.

    Raises:
        UserError: The predictions for a patient are of several versions of the model, or of one of two
            classes that does not return its threshold.
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
    two_classes = first.positive_class is not None
    decision = _decide_between_two(predictions) if two_classes else _decide_between_more(predictions)
    positive = [prediction.positive for prediction in predictions]
    return PatientPrediction(
        patient=patient,
        positive_class=first.positive_class,
        positive_share=None if None in positive else positive.count(True) / len(positive),
        images=len(predictions),
        flagged_ood=sum(not one.in_distribution for one in predictions),
        model_version=first.model_version,
        **decision,
    )


def _decide_between_two(predictions: Sequence[Prediction]) -> dict[str, Any]:
    first = predictions[0]
    if first.threshold is None:
        raise UserError(
            f"version {first.model_version} of the model does not return the threshold for calling a patient "
            f"{first.positive_class}: use a version trained with the current release"
        )
    mean = _mean([prediction.score for prediction in predictions])
    negative, positive = first.probabilities
    return {"label": positive if mean >= first.threshold else negative, "mean_score": mean}


def _decide_between_more(predictions: Sequence[Prediction]) -> dict[str, Any]:
    first = predictions[0]
    means = {name: _mean([one.probabilities[name] for one in predictions]) for name in first.probabilities}
    label = max(means, key=lambda name: means[name])
    decision: dict[str, Any] = {"label": label, "mean_score": means[label], "probabilities": means}
    scores = [one.positive_score for one in predictions if one.positive_score is not None]
    if scores and first.threshold is not None:
        decision["positive_score"] = _mean(scores)
        decision["positive"] = decision["positive_score"] >= first.threshold
    return decision


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
