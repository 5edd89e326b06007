"""A reliability diagram and its figures, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.calibration.reliability import reliability


def test_by_hand() -> None:
    found = reliability(np.array([0.25, 0.25, 0.75, 1.0]), np.array([0, 1, 1, 1]))
    assert [bin.images for bin in found.bins] == [0, 0, 2, 0, 0, 0, 0, 1, 0, 1]
    assert (found.bins[2].low, found.bins[2].high) == (0.2, 0.3)
    assert (found.bins[2].mean_score, found.bins[2].positive_share) == (0.25, 0.5)
    assert (found.bins[0].mean_score, found.bins[0].positive_share) == (None, None)
    assert found.calibration_error == pytest.approx((2 * 0.25 + 0.25 + 0) / 4)
    assert found.brier == pytest.approx((0.25**2 + 0.75**2 + 0.25**2) / 4)
    assert found.log_loss == pytest.approx(-(2 * math.log(0.75) + math.log(0.25)) / 4)


def test_a_probability_of_zero_for_what_is_true_costs_a_finite_loss() -> None:
    assert reliability(np.array([0.0]), np.array([1])).log_loss == pytest.approx(-math.log(1e-7))


def test_probabilities_that_mean_what_they_say_have_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(200_000)
    labels = (rng.random(200_000) < scores).astype(int)
    assert reliability(scores, labels).calibration_error < 0.005


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="no images"):
        reliability(np.array([]), np.array([], int))
