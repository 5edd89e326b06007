"""Augmentation of training images: offline views, and random rotation, stain and color jitter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from knet.base.image_scalars import STAINS
from knet.models.settings import OfflineAugmentation
from knet.training.settings import RandomAugmentationConfig


def random_augment(pixels: Any, *, settings: RandomAugmentationConfig, seed: Any) -> Any:
    """Rotate an image and jitter its stains and colors, as configured.

    Args:
        pixels: RGB, uint8 [size, size, 3].
        settings: the augmentations and their strengths.
        seed: int64 [2]; the same seed gives the same image.

    Returns:
        RGB, uint8 [size, size, 3].
    """
    rotation, stain, colour = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    if settings.rotate:
        pixels = random_rot90(pixels, seed=rotation)
    if not settings.stain and not settings.colour:
        return pixels
    values = tf.cast(pixels, tf.float32)
    if settings.stain:
        values = jitter_stain(values, strength=settings.stain, seed=stain)
    if settings.colour:
        values = jitter_colour(values, strength=settings.colour, seed=colour)
    return tf.cast(tf.round(values), tf.uint8)


_VIEWS: dict[str, Callable[[Any], Any]] = {
    "original": lambda pixels: pixels,
    "flip_horizontal": tf.image.flip_left_right,
    "flip_vertical": tf.image.flip_up_down,
    "rotate_90": lambda pixels: tf.image.rot90(pixels, 1),  # counter-clockwise
    "rotate_180": lambda pixels: tf.image.rot90(pixels, 2),
    "rotate_270": lambda pixels: tf.image.rot90(pixels, 3),
}


def augmented_view(pixels: Any, view: Any, *, augmentations: Sequence[OfflineAugmentation]) -> Any:
    """Return one view of an image.

    Args:
        pixels: [size, size, 3].
        view: int, index into `augmentations`.
        augmentations: offline augmentations, one for each view.
    """
    branches = [lambda name=name: _VIEWS[name](pixels) for name in augmentations]
    return tf.ensure_shape(tf.switch_case(tf.cast(view, tf.int32), branches), pixels.shape)


def jitter_colour(pixels: Any, *, strength: float, seed: Any) -> Any:
    """Jitter brightness, contrast about the image's mean color, and saturation.

    Args:
        pixels: RGB, float32 [rows, columns, 3], 0 to 255.
        strength: s; brightness changes by up to 255 s, contrast and saturation by a factor of 1 - s to 1 + s.
        seed: int64 [2]; the same seed gives the same image.

    Returns:
        RGB, float32 [rows, columns, 3], 0 to 255.
    """
    shift, contrast, saturation = tf.unstack(tf.random.stateless_uniform([3], seed, -strength, strength))
    mean = tf.reduce_mean(pixels, axis=(0, 1), keepdims=True)
    changed = mean + (pixels - mean) * (1 + contrast)
    grey = tf.image.rgb_to_grayscale(changed)
    changed = grey + (changed - grey) * (1 + saturation)
    return tf.clip_by_value(changed + 255 * shift, 0, 255)


def jitter_stain(pixels: Any, *, strength: float, seed: Any) -> Any:
    """Scale and shift the amounts of hematoxylin, eosin and residual independently.

    Tellez et al., Whole-slide mitosis detection in H&E breast histology, IEEE TMI 37(9), 2018: s' = a s + b
    with a from 1 - strength to 1 + strength and b from -strength to strength, on decadic optical densities
    unmixed by the matrix of Ruifrok & Johnston (2001).

    Args:
        pixels: RGB, float32 [rows, columns, 3], 0 to 255; 0 counts as 1.
        strength: 0.05 is light, 0.2 strong in the paper.
        seed: int64 [2]; the same seed gives the same image.

    Returns:
        RGB, float32 [rows, columns, 3], 0 to 255.
    """
    change = tf.random.stateless_uniform([2, 3], seed, -strength, strength)
    density = -tf.math.log(tf.maximum(pixels, 1.0) / 255) / np.float32(np.log(10))
    stains = tf.tensordot(density, _UNMIX, 1) * (1 + change[0]) + change[1]
    return tf.clip_by_value(255 * tf.pow(10.0, -tf.tensordot(stains, _MIX, 1)), 0, 255)


_MIX = (STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)).astype(np.float32)
_UNMIX = np.linalg.inv(_MIX)


def random_rot90(pixels: Any, *, seed: Any) -> Any:
    """Rotate an image by 0, 90, 180 or 270 degrees, with equal probabilities.

    Args:
        pixels: [size, size, 3].
        seed: int64 [2]; the same seed gives the same rotation.
    """
    quarters = tf.random.stateless_uniform([], seed, 0, 4, tf.int32)
    return tf.ensure_shape(tf.image.rot90(pixels, quarters), pixels.shape)
