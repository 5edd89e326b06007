"""What Transform runs: decode, resize, and the statistics that normalisation needs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from pipeline import features
from pipeline.models.decode_image import decode_images


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Makes one small uint8 image of each example; statistics come from the train split alone.

    Args:
        inputs: dense features [batch, 1] of ingested examples.
        custom_config: holds `image_size`, pixels per side.
    """
    size = custom_config["image_size"]
    pixels = decode_images(inputs[features.IMAGE][:, 0], size=size)
    batch = tf.shape(pixels)[0]
    # Sums of integers: they are exact, so that the order in which several workers are done does not matter.
    values = tf.cast(tf.reshape(pixels, [-1, size * size, 3]), tf.int64)
    count = tft.sum(tf.fill([batch], tf.constant(size * size, tf.int64)))
    mean = tft.sum(tf.reduce_sum(values, axis=1), reduce_instance_dims=False) / count
    mean_square = tft.sum(tf.reduce_sum(tf.square(values), axis=1), reduce_instance_dims=False) / count
    std = tf.cast(tf.sqrt(tf.maximum(mean_square - tf.square(mean), 1.0)), tf.float32)
    mean = tf.cast(mean, tf.float32)
    return {
        features.PIXELS: tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string),
        features.LABEL: inputs[features.LABEL][:, 0],
        features.PATH: inputs[features.PATH][:, 0],
        features.PIXEL_MEAN: tf.tile(mean[None, :], [batch, 1]),
        features.PIXEL_STD: tf.tile(std[None, :], [batch, 1]),
    }
