"""What changes about a training image from epoch to epoch."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.augmentation.jitter_colour import jitter_colour
from pipeline.augmentation.jitter_stain import jitter_stain
from pipeline.augmentation.turn_randomly import turn_randomly
from pipeline.config import RandomAugmentationConfig


def change_randomly(pixels: Any, *, settings: RandomAugmentationConfig, seed: Any) -> Any:
    """Turns an image and varies its stains and colours, as far as the settings say.

    Args:
        pixels: uint8 RGB [size, size, 3].
        settings: what, and how much.
        seed: int64 [2]; the same seed gives the same image.

    Returns:
        uint8 like the pixels.
    """
    turn, stain, colour = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    if settings.rotate:
        pixels = turn_randomly(pixels, seed=turn)
    if not settings.stain and not settings.colour:
        return pixels
    values = tf.cast(pixels, tf.float32)
    if settings.stain:
        values = jitter_stain(values, strength=settings.stain, seed=stain)
    if settings.colour:
        values = jitter_colour(values, strength=settings.colour, seed=colour)
    return tf.cast(tf.round(values), tf.uint8)
