"""Temperature and threshold together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from pipeline.calibration.calibrate import calibrate, calibrated_scores
from pipeline.config import CalibrationConfig


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Logits three times as large as they should be."""
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 2, 500)
    labels = (rng.random(500) < special.expit(margins)).astype(int)
    return np.stack([-1.5 * margins, 1.5 * margins], axis=1).astype("float32"), labels


def test_too_sure_a_model_becomes_reliable(sample: tuple[np.ndarray, np.ndarray]) -> None:
    found = calibrate(*sample, settings=CalibrationConfig())
    assert found.temperature == pytest.approx(3, rel=0.25)
    assert found.after.log_loss < found.before.log_loss
    assert found.after.calibration_error < found.before.calibration_error / 2


def test_the_confusion_is_at_the_threshold(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    found = calibrate(logits, labels, settings=CalibrationConfig(threshold="sensitivity"))
    called = calibrated_scores(logits, temperature=found.temperature) >= found.threshold
    (true_negative, false_positive), (false_negative, true_positive) = found.confusion
    assert true_positive == np.sum(called & (labels == 1)) and false_positive == np.sum(
        called & (labels == 0)
    )
    assert true_positive + false_negative == np.sum(labels) and true_negative + false_positive == np.sum(
        1 - labels
    )
    assert true_positive / (true_positive + false_negative) >= 0.95


def test_either_can_be_left_alone(sample: tuple[np.ndarray, np.ndarray]) -> None:
    found = calibrate(*sample, settings=CalibrationConfig(temperature=False, threshold=0.5))
    assert (found.temperature, found.threshold) == (1, 0.5)
    assert found.before == found.after


def test_one_class_leaves_everything_alone() -> None:
    found = calibrate(np.array([[0.0, 3.0]] * 4), np.ones(4, int), settings=CalibrationConfig())
    assert (found.temperature, found.threshold) == (1, 0.5)
    assert found.confusion == ((0, 0), (0, 4))
