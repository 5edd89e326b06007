"""Tissue and sharpness of an image within a graph, as `image_scalars` measured them at ingestion."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from components.breakhis_example_gen.image_scalars import GREY, TISSUE_DENSITY

_LIGHTEST_TISSUE = 255 * 10**-TISSUE_DENSITY  # green


def tissue_fraction(pixels: Any) -> Any:
    """The share of tissue, float32 from 0 to 1, of RGB pixels uint8 [height, width, 3]."""
    return tf.reduce_mean(tf.cast(tf.cast(pixels[..., 1], tf.float32) <= _LIGHTEST_TISSUE, tf.float32))


def laplacian_variance(pixels: Any) -> Any:
    """The variance of the Laplacian, float32, of RGB pixels uint8 [height, width, 3].

    Images below 3 pixels a side have none; it is 0 there.
    """
    grey = tf.tensordot(tf.cast(pixels, tf.float32), tf.constant(GREY), axes=1)
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = tf.cast(neighbours - 4 * grey[1:-1, 1:-1], tf.float64)
    count = tf.cast(tf.size(laplacian), tf.float64)
    mean = tf.math.divide_no_nan(tf.reduce_sum(laplacian), count)
    variance = tf.math.divide_no_nan(tf.reduce_sum(tf.square(laplacian - mean)), count)
    return tf.cast(variance, tf.float32)
