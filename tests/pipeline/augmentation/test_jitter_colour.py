"""Brightness, contrast and saturation move within their bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.augmentation.jitter_colour import jitter_colour

GREY = np.full((4, 4, 3), 128, "float32")


@given(strength=st.floats(0, 0.5), seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_a_grey_image_stays_grey_and_within_the_strength(strength: float, seed: int) -> None:
    found = jitter_colour(GREY, strength=strength, seed=(0, seed)).numpy()
    np.testing.assert_allclose(found, found[0, 0, 0], atol=1e-3)
    assert np.abs(found - 128).max() <= min(127.0, 255 * strength) + 1.001


def test_contrast_and_saturation_move_too() -> None:
    pixels = np.random.default_rng(0).uniform(100, 156, (8, 8, 3)).astype("float32")
    spreads, colours = set(), set()
    for seed in range(5):
        found = jitter_colour(pixels, strength=0.2, seed=(0, seed)).numpy()
        spreads.add(round(float(found.mean(axis=-1).std()), 2))
        colours.add(round(float(found.std(axis=-1).mean()), 2))
    assert len(spreads) > 3 and len(colours) > 3
