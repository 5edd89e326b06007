"""Varies brightness, contrast and saturation, as lamps and cameras do."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def jitter_colour(pixels: Any, *, strength: float, seed: Any) -> Any:
    """Varies brightness, contrast about the image's mean colour, and saturation.

    Args:
        pixels: float32 RGB [rows, columns, 3], 0 to 255.
        strength: s; brightness moves by up to 255 s, contrast and saturation by a factor from 1 - s to 1 + s.
        seed: int64 [2]; the same seed gives the same change.

    Returns:
        float32 like the pixels, 0 to 255.
    """
    shift, contrast, saturation = tf.unstack(tf.random.stateless_uniform([3], seed, -strength, strength))
    mean = tf.reduce_mean(pixels, axis=(0, 1), keepdims=True)
    changed = mean + (pixels - mean) * (1 + contrast)
    grey = tf.image.rgb_to_grayscale(changed)
    changed = grey + (changed - grey) * (1 + saturation)
    return tf.clip_by_value(changed + 255 * shift, 0, 255)
