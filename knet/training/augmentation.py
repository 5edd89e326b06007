"""What changes about a training image from epoch to epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from knet.base.image_scalars import STAINS
from knet.training.settings import RandomAugmentationConfig


def random_augment(pixels: Any, *, settings: RandomAugmentationConfig, seed: Any) -> Any:
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
        pixels = random_rot90(pixels, seed=turn)
    if not settings.stain and not settings.colour:
        return pixels
    values = tf.cast(pixels, tf.float32)
    if settings.stain:
        values = jitter_stain(values, strength=settings.stain, seed=stain)
    if settings.colour:
        values = jitter_colour(values, strength=settings.colour, seed=colour)
    return tf.cast(tf.round(values), tf.uint8)


_KINDS = {
    "original": lambda pixels: pixels,
    "flip_horizontal": tf.image.flip_left_right,
    "flip_vertical": tf.image.flip_up_down,
    "rotate_90": lambda pixels: tf.image.rot90(pixels, 1),  # counter-clockwise
    "rotate_180": lambda pixels: tf.image.rot90(pixels, 2),
    "rotate_270": lambda pixels: tf.image.rot90(pixels, 3),
}


def augmented_view(pixels: Any, copy: Any, *, kinds: Sequence[str]) -> Any:
    """One copy of an image, of those that `kinds` lists.

    Args:
        pixels: [size, size, 3].
        copy: int, its place among the kinds.
        kinds: their names.
    """
    branches = [lambda kind=kind: _KINDS[kind](pixels) for kind in kinds]
    return tf.ensure_shape(tf.switch_case(tf.cast(copy, tf.int32), branches), pixels.shape)


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


_MIX = (STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)).astype(np.float32)
_UNMIX = np.linalg.inv(_MIX)


def jitter_stain(pixels: Any, *, strength: float, seed: Any) -> Any:
    """Scales and shifts the amounts of haematoxylin, eosin and residual, each in its own way.

    Tellez et al., Whole-slide mitosis detection in H&E breast histology, IEEE TMI 37(9), 2018: s' = a s + b
    with a from 1 - strength to 1 + strength and b from -strength to strength, decadic optical densities
    unmixed by Ruifrok & Johnston's matrix (2001).

    Args:
        pixels: float32 RGB [rows, columns, 3], 0 to 255; 0 is as dark as 1.
        strength: as above; 0.05 is called light, 0.2 strong.
        seed: int64 [2]; the same seed gives the same change.

    Returns:
        float32 like the pixels, 0 to 255.
    """
    change = tf.random.stateless_uniform([2, 3], seed, -strength, strength)
    density = -tf.math.log(tf.maximum(pixels, 1.0) / 255) / np.float32(np.log(10))
    stains = tf.tensordot(density, _UNMIX, 1) * (1 + change[0]) + change[1]
    return tf.clip_by_value(255 * tf.pow(10.0, -tf.tensordot(stains, _MIX, 1)), 0, 255)


def random_rot90(pixels: Any, *, seed: Any) -> Any:
    """Turns an image by 0, 90, 180 or 270 degrees, each as likely as the others.

    Args:
        pixels: [size, size, 3].
        seed: int64 [2]; the same seed gives the same turn.
    """
    quarters = tf.random.stateless_uniform([], seed, 0, 4, tf.int32)
    return tf.ensure_shape(tf.image.rot90(pixels, quarters), pixels.shape)
