"""Heat maps over images, and thumbnails."""

from __future__ import annotations

import numpy as np
from PIL import Image

from knet.base.heat_maps import overlay, thumbnail


def test_overlay_is_green_only_where_heat_is() -> None:
    image = Image.new("RGB", (70, 46), (200, 120, 180))
    blended = np.asarray(overlay(image, np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]])))
    assert blended.shape == (46, 70, 3)
    assert blended[0, 0, 0] < 100 and blended[0, 0, 1] > 150
    np.testing.assert_allclose(blended[-1, -1], (200, 120, 180), atol=2)


def test_overlay_of_zero_heat_is_the_image() -> None:
    image = Image.effect_noise((20, 10), 50).convert("RGB")
    np.testing.assert_array_equal(np.asarray(overlay(image, np.zeros((2, 2)))), np.asarray(image))


def test_thumbnail_keeps_aspect_and_small_sizes() -> None:
    assert thumbnail(Image.new("RGB", (700, 460))).size == (480, 315)
    assert thumbnail(Image.new("L", (32, 40))).size == (32, 40)
    assert thumbnail(Image.new("L", (32, 40))).mode == "RGB"
