"""The copies of a training image that are the same in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_KINDS = {
    "original": lambda pixels: pixels,
    "flip_horizontal": tf.image.flip_left_right,
    "flip_vertical": tf.image.flip_up_down,
    "rotate_90": lambda pixels: tf.image.rot90(pixels, 1),  # counter-clockwise
    "rotate_180": lambda pixels: tf.image.rot90(pixels, 2),
    "rotate_270": lambda pixels: tf.image.rot90(pixels, 3),
}


def fixed_copy(pixels: Any, copy: Any, *, kinds: Sequence[str]) -> Any:
    """One copy of an image, of those that `kinds` lists.

    Args:
        pixels: [size, size, 3].
        copy: int, its place among the kinds.
        kinds: their names.
    """
    branches = [lambda kind=kind: _KINDS[kind](pixels) for kind in kinds]
    return tf.ensure_shape(tf.switch_case(tf.cast(copy, tf.int32), branches), pixels.shape)
