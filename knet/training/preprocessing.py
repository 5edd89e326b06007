"""Preprocessing function of Transform: decoded and resized images, and their pixel statistics."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from knet.base import schema_names
from knet.models.images import decode_images

_PASSED_THROUGH = (
    schema_names.LABEL,
    schema_names.PATH,
    schema_names.PATIENT,
    schema_names.TISSUE_FRACTION,
    schema_names.LAPLACIAN,
)


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Decode and resize each image, and add the pixel statistics of the train split.

    Args:
        inputs: dense features [batch, 1] of ingested examples.
        custom_config: `image_size`, height and width of the model's input, pixels.

    Returns:
        The features of a transformed example (see `knet.base.schema_names`), each [batch, ...].
    """
    pixels = decode_images(inputs[schema_names.IMAGE][:, 0], size=custom_config["image_size"])
    mean, std = _pixel_statistics(inputs)
    batch = tf.shape(pixels)[0]
    return {
        schema_names.PIXELS: tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string),
        **{name: inputs[name][:, 0] for name in _PASSED_THROUGH},
        schema_names.PIXEL_MEAN: tf.tile(mean[None, :], [batch, 1]),
        schema_names.PIXEL_STD: tf.tile(std[None, :], [batch, 1]),
    }


_COLOURS = ("red", "green", "blue")
_FIXED_POINT = 2**20  # resolution of the sums, per gray level; 9 million images fit an int64


def _pixel_statistics(inputs: dict[str, Any]) -> tuple[Any, Any]:
    """Return RGB means and standard deviations [3] of the ingested images, each image with equal weight.

    Computed from ExampleGen's statistics of each image, so that this pass over the data decodes none.
    """
    means, stds = (
        tf.cast(tf.concat([inputs[f"image/{name}_{colour}"] for colour in _COLOURS], axis=1), tf.float64)
        for name in ("mean", "std")
    )
    values = tf.concat([tf.ones_like(means[:, :1]), means, tf.square(stds) + tf.square(means)], axis=1)
    # Sums of integers are exact, so that the result is independent of the workers' order.
    integers = tf.cast(tf.round(values * _FIXED_POINT), tf.int64)
    sums = tf.cast(tft.sum(integers, reduce_instance_dims=False), tf.float64)
    mean, square = sums[1:4] / sums[0], sums[4:] / sums[0]
    std = tf.sqrt(tf.maximum(square - tf.square(mean), 1.0))
    return tf.cast(mean, tf.float32), tf.cast(std, tf.float32)
