"""How far probabilities are what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.calibration import Reliability, ReliabilityBin

_BINS = 10
_LEAST = 1e-7  # of a probability, in its logarithm


def reliability(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> Reliability:
    """Compares scores with what the images are, in ten bins of equal width.

    Args:
        scores: [images], the probability of the positive class.
        labels: [images], 0 or 1.

    Raises:
        ValueError: there are no images.
    """
    if not len(scores):
        raise ValueError("no images to judge probabilities by")
    scores = scores.astype(float)
    places = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(places, weights=labels - scores, minlength=_BINS)
    true = np.where(labels == 1, scores, 1 - scores)
    return Reliability(
        log_loss=float(-np.log(np.maximum(true, _LEAST)).mean()),
        brier=float(np.square(scores - labels).mean()),
        calibration_error=float(np.abs(gaps).sum() / len(scores)),
        bins=tuple(_bin(place, scores[places == place], labels[places == place]) for place in range(_BINS)),
    )


def _bin(place: int, scores: NDArray[np.floating], labels: NDArray[np.integer]) -> ReliabilityBin:
    means = (float(scores.mean()), float(labels.mean())) if len(scores) else (None, None)
    return ReliabilityBin(place / _BINS, (place + 1) / _BINS, len(scores), *means)
