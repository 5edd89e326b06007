"""Calibration of a trained model: temperature scaling, decision threshold and reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from knet.models.reliability import Reliability, reliability, top_label_reliability
from knet.models.settings import CalibrationConfig


def calibrate(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    *,
    settings: CalibrationConfig,
    positive: Sequence[int] = (),
) -> Calibration:
    """Fit temperature and decision threshold on validation images.

    - Two classes: the second one is positive, and is predicted from the threshold on.
    - More classes: the likeliest one is predicted. The threshold is that of the positive group, if there is
      one; reliability is that of the likeliest class.

    With images of one class alone the temperature is 1, and without images of either side the threshold is
    0.5, unless it is configured.

    Args:
        logits: float [images, classes].
        labels: int [images], indices into the classes.
        settings: whether to fit the temperature, and the rule for the threshold.
        positive: labels of the positive group of more than two classes.
    """
    temperature = fit_temperature(logits, labels) if settings.temperature else 1.0
    probabilities = calibrated_probabilities(logits, temperature=temperature)
    uncalibrated = calibrated_probabilities(logits, temperature=1.0)
    count = logits.shape[1]
    group = (1,) if count == 2 else tuple(positive)
    threshold = None
    if group:
        scores = group_scores(probabilities, group)
        threshold = choose_threshold(
            scores,
            np.isin(labels, group).astype(int),
            rule=settings.threshold,
            target_sensitivity=settings.target_sensitivity,
        )
    if count == 2:
        predicted = (scores >= np.float32(threshold)).astype(int)
        before = reliability(group_scores(uncalibrated, group), labels)
        after = reliability(scores, labels)
    else:
        predicted = probabilities.argmax(axis=1)
        before, after = (top_label_reliability(one, labels) for one in (uncalibrated, probabilities))
    confusion = np.zeros((count, count), int)
    np.add.at(confusion, (labels, predicted), 1)
    return Calibration(
        temperature=temperature,
        threshold=threshold,
        confusion=tuple(map(tuple, confusion.tolist())),
        before=before,
        after=after,
    )


def calibrated_probabilities(logits: NDArray[np.floating], *, temperature: float) -> NDArray[np.float32]:
    """Return the probabilities, float32 [images, classes], computed as in the served model.

    Args:
        logits: float [images, classes].
        temperature: divisor of the logits.
    """
    from scipy import special

    probabilities: NDArray[np.float32] = special.softmax(
        logits.astype(np.float32) / np.float32(temperature), axis=1
    )
    return probabilities


def group_scores(probabilities: NDArray[np.floating], group: Sequence[int]) -> NDArray[np.float32]:
    """Return the probability of a group of classes, float32 [images], at most 1.

    Args:
        probabilities: float32 [images, classes].
        group: labels of the classes.
    """
    # The sum may exceed 1 by a rounding error.
    scores: NDArray[np.float32] = np.minimum(probabilities[:, list(group)].sum(axis=1), np.float32(1))
    return scores


@dataclass(frozen=True)
class Calibration:
    """Fitted temperature and threshold, with their results on the validation images."""

    temperature: float
    # Calibrated score at and above which an image is predicted positive; None without a positive group.
    threshold: float | None
    confusion: tuple[tuple[int, ...], ...]  # images by true class (rows) and predicted class
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

    T minimizes the mean negative log-likelihood within `BOUNDS`. It does not change the likeliest class.

    Args:
        logits: float [images, classes].
        labels: int [images], indices into the classes.

    Returns:
        T; 1 if only one class has images.
    """
    from scipy import optimize

    if len(np.unique(labels)) < 2:
        return 1.0
    logits = logits.astype(float)
    margins = logits - np.take_along_axis(logits, labels[:, None], axis=1)  # 0 for the label

    def loss(inverse: float) -> float:  # convex in 1 / T
        return float(np.logaddexp.reduce(inverse * margins, axis=1).mean())

    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return 1 / min((1.0, float(found.x), low, high), key=loss)
