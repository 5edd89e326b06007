"""Reliability diagram and expected calibration error of probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 10  # of equal width, from 0 to 1
_MIN_PROBABILITY = 1e-7  # keeps the logarithm finite


@dataclass(frozen=True)
class ReliabilityBin:
    """The images with scores from `low` up to `high`."""

    low: float
    high: float
    images: int
    mean_score: float | None  # None for an empty bin
    positive_share: float | None  # None for an empty bin


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram with its summary scores."""

    log_loss: float  # nats per image
    brier: float  # mean squared error of the score
    calibration_error: float  # expected calibration error over `BINS` bins
    bins: tuple[ReliabilityBin, ...]


def reliability(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Reliability:
    """Compare scores with labels in `BINS` bins of equal width.

    Args:
        scores: probability of the positive class, float [images], 0 to 1.
        labels: true classes, int [images], 0 or 1.

    Raises:
        ValueError: there are no images.
    """
    if not len(scores):
        raise ValueError("reliability needs at least one image")
    scores = scores.astype(float)
    bins = bin_indices(scores)
    true = np.where(labels == 1, scores, 1 - scores)
    return Reliability(
        log_loss=float(-np.log(np.maximum(true, _MIN_PROBABILITY)).mean()),
        brier=float(np.square(scores - labels).mean()),
        calibration_error=float(expected_calibration_error(bin_residuals(scores, labels), len(scores))),
        bins=tuple(_bin(index, scores[bins == index], labels[bins == index]) for index in range(BINS)),
    )


def top_label_reliability(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Reliability:
    """Compare the probability of the likeliest class with how often it is the true one.

    The Brier score is the mean over images of the sum over classes (Brier, 1950), so up to 2.

    Args:
        probabilities: float [images, classes].
        labels: true classes, int [images], indices into the classes.

    Raises:
        ValueError: there are no images.
    """
    correct = (probabilities.argmax(axis=1) == labels).astype(int)
    of_top = reliability(probabilities.max(axis=1), correct)
    probabilities = probabilities.astype(float)
    true = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
    squares = np.square(probabilities).sum(axis=1) - 2 * true + 1
    return replace(
        of_top,
        log_loss=float(-np.log(np.maximum(true, _MIN_PROBABILITY)).mean()),
        brier=float(squares.mean()),
    )


def bin_indices(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Return the bin of each score, int [images]; a score of 1 is in the last bin."""
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)


def bin_residuals(scores: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of label minus score in each bin, float64 [bins].

    Residuals of disjoint sets of images add up, so they can be combined before the error is computed.
    """
    residuals: NDArray[Any] = np.bincount(bin_indices(scores), weights=labels - scores, minlength=BINS)
    return residuals


def expected_calibration_error(residuals: NDArray[Any], images: Any) -> NDArray[np.float64]:
    """Return the expected calibration error (Naeini et al., AAAI 2015); NaN without images.

    It is the mean over images of the distance between mean score and share of positives in their bin.

    Args:
        residuals: sums of label minus score, float [..., bins].
        images: number of images, [...].
    """
    total = np.asarray(images, dtype=float)
    return np.divide(
        np.abs(residuals).sum(axis=-1), total, out=np.full(total.shape, np.nan), where=total != 0
    )


def _bin(index: int, scores: NDArray[Any], labels: NDArray[Any]) -> ReliabilityBin:
    means = (float(scores.mean()), float(labels.mean())) if len(scores) else (None, None)
    return ReliabilityBin(index / BINS, (index + 1) / BINS, len(scores), *means)
