"""Reliability diagram and expected calibration error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from knet.models.reliability import (
    BINS,
    bin_residuals,
    expected_calibration_error,
    reliability,
    top_label_reliability,
)


def test_reliability_by_hand() -> None:
    found = reliability(np.array([0.25, 0.25, 0.75, 1.0]), np.array([0, 1, 1, 1]))
    assert [bin.images for bin in found.bins] == [0, 0, 2, 0, 0, 0, 0, 1, 0, 1]
    assert (found.bins[2].low, found.bins[2].high) == (0.2, 0.3)
    assert (found.bins[2].mean_score, found.bins[2].positive_share) == (0.25, 0.5)
    assert (found.bins[0].mean_score, found.bins[0].positive_share) == (None, None)
    assert found.calibration_error == pytest.approx((2 * 0.25 + 0.25 + 0) / 4)
    assert found.brier == pytest.approx((0.25**2 + 0.75**2 + 0.25**2) / 4)
    assert found.log_loss == pytest.approx(-(2 * math.log(0.75) + math.log(0.25)) / 4)


def test_reliability_log_loss_of_zero_probability_is_finite() -> None:
    assert reliability(np.array([0.0]), np.array([1])).log_loss == pytest.approx(-math.log(1e-7))


def test_reliability_of_calibrated_scores_has_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(int)
    assert reliability(scores, labels).calibration_error < 0.005


def test_reliability_without_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        reliability(np.array([]), np.array([], int))


def test_residuals_of_parts_add_up_to_the_error_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random(50), rng.integers(0, 2, 50)
    parts = bin_residuals(scores[:20], labels[:20]) + bin_residuals(scores[20:], labels[20:])
    assert expected_calibration_error(parts, 50) == pytest.approx(
        reliability(scores, labels).calibration_error
    )


def test_expected_calibration_error_without_images_is_undefined() -> None:
    found = expected_calibration_error(np.zeros((2, BINS)), np.array([0, 1]))
    assert np.isnan(found[0]) and found[1] == 0


def test_top_label_reliability_is_of_the_likeliest_class() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.75, 0.15], [0.5, 0.3, 0.2]])
    found = top_label_reliability(probabilities, np.array([0, 2, 0]))
    assert found.log_loss == pytest.approx(-np.log([0.7, 0.15, 0.5]).mean())
    squares = [0.3**2 + 0.2**2 + 0.1**2, 0.1**2 + 0.75**2 + 0.85**2, 0.5**2 + 0.3**2 + 0.2**2]
    assert found.brier == pytest.approx(np.mean(squares))
    # Two images are between 0.7 and 0.8, of which one is right, and one is between 0.5 and 0.6.
    assert found.calibration_error == pytest.approx((abs(1 - 0.7 - 0.75) + abs(1 - 0.5)) / 3)
