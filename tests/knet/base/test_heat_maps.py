"""Colour lies where the heat is, and nowhere else."""

from __future__ import annotations

import numpy as np
from PIL import Image

from knet.base.heat_maps import overlay, thumbnail


def test_the_hot_corner_becomes_green_and_the_cold_one_stays() -> None:
    image = Image.new("RGB", (70, 46), (200, 120, 180))
    laid = np.asarray(overlay(image, np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]])))
    assert laid.shape == (46, 70, 3)
    assert laid[0, 0, 0] < 100 and laid[0, 0, 1] > 150
    np.testing.assert_allclose(laid[-1, -1], (200, 120, 180), atol=2)


def test_a_heat_map_of_nothing_leaves_the_image() -> None:
    image = Image.effect_noise((20, 10), 50).convert("RGB")
    np.testing.assert_array_equal(np.asarray(overlay(image, np.zeros((2, 2)))), np.asarray(image))


def test_a_thumbnail_keeps_the_aspect_and_small_images() -> None:
    assert thumbnail(Image.new("RGB", (700, 460))).size == (480, 315)
    assert thumbnail(Image.new("L", (32, 40))).size == (32, 40)
    assert thumbnail(Image.new("L", (32, 40))).mode == "RGB"
