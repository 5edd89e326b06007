"""Fits temperature and decision threshold of a trained model on validation images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from knet.models.reliability import Reliability, reliability
from knet.models.settings import CalibrationConfig


def calibrate(
    logits: NDArray[np.floating], labels: NDArray[np.integer], *, settings: CalibrationConfig
) -> Calibration:
    """Fits on validation; a class without images leaves the temperature at 1 and the threshold at 0.5.

    Args:
        logits: [images, 2].
        labels: [images], 0 or 1.
        settings: what is fitted, and how the threshold is chosen.
    """
    temperature = fit_temperature(logits, labels) if settings.temperature else 1.0
    scores = calibrated_scores(logits, temperature=temperature)
    threshold = choose_threshold(
        scores, labels, rule=settings.threshold, target_sensitivity=settings.target_sensitivity
    )
    confusion = np.zeros((2, 2), int)
    np.add.at(confusion, (labels, (scores >= np.float32(threshold)).astype(int)), 1)
    (true_negative, false_positive), (false_negative, true_positive) = confusion.tolist()
    return Calibration(
        temperature=temperature,
        threshold=threshold,
        confusion=((true_negative, false_positive), (false_negative, true_positive)),
        before=reliability(calibrated_scores(logits, temperature=1.0), labels),
        after=reliability(scores, labels),
    )


def calibrated_scores(logits: NDArray[np.floating], *, temperature: float) -> NDArray[np.float32]:
    """The probability of the positive class [images], as the served model gives it."""
    from scipy import special

    scores: NDArray[np.float32] = special.softmax(logits.astype(np.float32) / np.float32(temperature), axis=1)
    return scores[:, 1]


@dataclass(frozen=True)
class Calibration:
    """How a model's logits become an answer, and how that fares on the images it was fitted on."""

    temperature: float
    threshold: float  # the calibrated score from which an image is called positive
    confusion: tuple[tuple[int, int], tuple[int, int]]  # rows are true classes, columns what they are called
    before: Reliability  # at temperature 1
    after: Reliability


def choose_threshold(
    scores: NDArray[np.float32],
    labels: NDArray[np.integer],
    *,
    rule: Literal["youden", "sensitivity"] | float,
    target_sensitivity: float,
) -> float:
    """The decision threshold: the score from which an image is called positive.

    Args:
        scores: [images], the probability of the positive class.
        labels: [images], 0 or 1.
        rule: `youden` maximises sensitivity + specificity - 1 (Youden, Cancer 3:32-35, 1950), of several the
            most sensitive; `sensitivity` takes the highest that reaches the target; a number is taken as it
            is.
        target_sensitivity: for the rule of that name.

    Returns:
        Half way between two scores where it was chosen, so that rounding changes no decision, as a float32;
        0.5 where a class has no images to choose by.
    """
    if isinstance(rule, float):
        return rule
    positives, negatives = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positives) or not len(negatives):
        return 0.5
    values = np.unique(scores)
    found = len(positives) - np.searchsorted(positives, values)
    spared = np.searchsorted(negatives, values)
    if rule == "youden":
        # In whole images, so that ties are ties.
        best = int(np.argmax(found * len(negatives) + spared * len(positives)))
    else:
        best = int(np.flatnonzero(found / len(positives) >= target_sensitivity)[-1])
    below = values[best - 1] if best else np.float32(0)
    middle = np.float32((float(below) + float(values[best])) / 2)
    return float(middle if middle > below else values[best])


# Logits of images that are all told apart would otherwise ask for a temperature of 0.
BOUNDS: Final = (0.1, 10.0)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature by which logits are divided before the softmax (Guo et al., ICML 2017, section 4.2).

    It minimises the negative log-likelihood within `BOUNDS`. Which class is likelier, and the order of the
    images, do not depend on it.

    Args:
        logits: [images, 2].
        labels: [images], 0 or 1.

    Returns:
        The temperature; 1 where there are no images of one of the classes, which would say nothing.
    """
    from scipy import optimize

    if len(np.unique(labels)) < 2:
        return 1.0
    margins = np.diff(logits.astype(float), axis=1)[:, 0] * np.where(labels == 1, 1, -1)

    def loss(sharpness: float) -> float:  # convex in 1 / temperature
        return float(np.logaddexp(0, -sharpness * margins).mean())

    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return 1 / min((1.0, float(found.x), low, high), key=loss)
