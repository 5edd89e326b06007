"""What the served model says of one image."""

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
    """The answer for one image.

    `label` is what the model calls the image, by the threshold that was locked when it was trained; `score`
    is the probability of the positive class (0 to 1), `probabilities` maps each class to its own, and
    `model_version` is the version that answered. `in_distribution` says whether the image is like those that
    the model was made for; where it is not, the rest is not to be relied on, and `reasons` says why, such as
    `blurred`. `distance` is how far the image is from those that were trained on. `threshold` is the score
    from which an image or a patient is called positive; None of a model exported before models said so.
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
        """The class that `score` is the probability of: the last of `probabilities`."""
        return list(self.probabilities)[-1]


@dataclass(frozen=True)
class Explanation:
    """What speaks for the label of one image, and where.

    `heat_map` holds rows of values from 0 to 1 over the whole image, as many as the last feature map has; all
    are 0 where nothing speaks for it. `label`, `score` and `model_version` are as a `Prediction` has them.
    """

    label: str
    score: float
    heat_map: tuple[tuple[float, ...], ...]
    model_version: int


@dataclass(frozen=True)
class VersionStatus:
    """`state` is START, LOADING, AVAILABLE, UNLOADING or END; `error` why the version is not there, if so."""

    version: int
    state: str
    error: str


_Answer = TypeVar("_Answer")


def unwrap(answer: _Answer | FailedPrediction, *, image: Image, number: int) -> _Answer:
    """The answer; raises UserError where there is none, which names the image's file or else its number."""
    if isinstance(answer, FailedPrediction):
        name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {number}"
        raise UserError(f"{name}: {answer.reason}")
    return answer


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
