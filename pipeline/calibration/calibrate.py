"""Fits temperature and decision threshold of a trained model on validation images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from pipeline.calibration.calibration import Calibration
from pipeline.calibration.choose_threshold import choose_threshold
from pipeline.calibration.fit_temperature import fit_temperature
from pipeline.calibration.reliability import reliability
from pipeline.config import CalibrationConfig


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
    scores: NDArray[np.float32] = special.softmax(logits.astype(np.float32) / np.float32(temperature), axis=1)
    return scores[:, 1]
