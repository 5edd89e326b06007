"""Turns an image by a quarter turn or more: tissue has no upside."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def turn_randomly(pixels: Any, *, seed: Any) -> Any:
    """Turns an image by 0, 90, 180 or 270 degrees, each as likely as the others.

    Args:
        pixels: [size, size, 3].
        seed: int64 [2]; the same seed gives the same turn.
    """
    quarters = tf.random.stateless_uniform([], seed, 0, 4, tf.int32)
    return tf.ensure_shape(tf.image.rot90(pixels, quarters), pixels.shape)
