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
    flat = tf.reshape(tf.cast(pixels, tf.float32), [-1, size * size, 3])
    # Every image has the same number of pixels, so the mean over images is the mean over pixels.
    mean = tft.mean(tf.reduce_mean(flat, axis=1), reduce_instance_dims=False)
    mean_square = tft.mean(tf.reduce_mean(tf.square(flat), axis=1), reduce_instance_dims=False)
    std = tf.sqrt(tf.maximum(mean_square - tf.square(mean), 1.0))
    batch = tf.shape(pixels)[0]
    return {
        features.PIXELS: tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string),
        features.LABEL: inputs[features.LABEL][:, 0],
        features.PIXEL_MEAN: tf.tile(mean[None, :], [batch, 1]),
        features.PIXEL_STD: tf.tile(std[None, :], [batch, 1]),
    }
