"""Every image ends with zero mean and unit deviation, whatever the others are."""

from __future__ import annotations

import numpy as np

from pipeline.models.global_contrast_normalization import GlobalContrastNormalization


def test_each_image_has_zero_mean_and_unit_deviation() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    normalised = np.asarray(GlobalContrastNormalization()(pixels))
    np.testing.assert_allclose(normalised.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(1, 2, 3)), 1, atol=1e-4)


def test_a_constant_image_becomes_zeros() -> None:
    pixels = np.full((1, 4, 4, 3), 200, dtype="float32")
    np.testing.assert_array_equal(GlobalContrastNormalization()(pixels), 0)
