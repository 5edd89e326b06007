"""Calibration of a trained model: temperature scaling, decision threshold and reliability diagram."""

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
    """Fit temperature and decision threshold on validation images.

    Without images of both classes the temperature is 1 and the threshold 0.5, unless it is configured.

    Args:
        logits: float [images, 2], the positive class second.
        labels: int [images], 0 or 1.
        settings: whether to fit the temperature, and the rule for the threshold.
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
    """Return the probability of the positive class, float32 [images], computed as in the served model.

    Args:
        logits: float [images, 2].
        temperature: divisor of the logits.
    """
    from scipy import special

    scores: NDArray[np.float32] = special.softmax(logits.astype(np.float32) / np.float32(temperature), axis=1)
    return scores[:, 1]


@dataclass(frozen=True)
class Calibration:
    """Fitted temperature and threshold, with their results on the validation images."""

    temperature: float
    threshold: float  # calibrated score at and above which an image is predicted positive
    confusion: tuple[tuple[int, int], tuple[int, int]]  # images by true class (rows) and predicted class
    before: Reliability  # at temperature 1
    after: Reliability  # at `temperature`


def choose_threshold(
    scores: NDArray[np.float32],
    labels: NDArray[np.integer],
    *,
    rule: Literal["youden", "sensitivity"] | float,
    target_sensitivity: float,
) -> float:
    """Choose the decision threshold: the score at and above which an image is predicted positive.

    Args:
        scores: float32 [images], probability of the positive class.
        labels: int [images], 0 or 1.
        rule: `youden` maximizes J = sensitivity + specificity - 1 (Youden, Cancer 3:32-35, 1950), with ties
            broken by sensitivity; `sensitivity` is the highest threshold that reaches the target; a number is
            returned unchanged.
        target_sensitivity: for the rule `sensitivity`, 0 to 1.

    Returns:
        A float32 value midway between two scores, so that rounding changes no decision; 0.5 if a class has no
        images.
    """
    if isinstance(rule, float):
        return rule
    positives, negatives = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positives) or not len(negatives):
        return 0.5
    values = np.unique(scores)
    true_positives = len(positives) - np.searchsorted(positives, values)
    true_negatives = np.searchsorted(negatives, values)
    if rule == "youden":
        # J times both counts: integers, so that equal values compare equal.
        best = int(np.argmax(true_positives * len(negatives) + true_negatives * len(positives)))
    else:
        best = int(np.flatnonzero(true_positives / len(positives) >= target_sensitivity)[-1])
    below = values[best - 1] if best else np.float32(0)
    middle = np.float32((float(below) + float(values[best])) / 2)
    return float(middle if middle > below else values[best])


# Perfectly separated validation images would drive the temperature to 0, all-wrong ones to infinity.
BOUNDS: Final = (0.1, 10.0)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Fit the temperature T of p = softmax(logits / T) (Guo et al., ICML 2017, section 4.2, equation 9).

    T minimizes the mean negative log-likelihood within `BOUNDS`. It changes neither the likelier class nor
    the order of the images.

    Args:
        logits: float [images, 2].
        labels: int [images], 0 or 1.

    Returns:
        T; 1 if a class has no images.
    """
    from scipy import optimize

    if len(np.unique(labels)) < 2:
        return 1.0
    margins = np.diff(logits.astype(float), axis=1)[:, 0] * np.where(labels == 1, 1, -1)

    def loss(inverse: float) -> float:  # convex in 1 / T
        return float(np.logaddexp(0, -inverse * margins).mean())

    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return 1 / min((1.0, float(found.x), low, high), key=loss)
