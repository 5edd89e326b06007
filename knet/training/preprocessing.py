"""What Transform runs: decode, resize, and the statistics that normalisation needs."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from knet.base import schema_names
from knet.models.images import decode_images

_COLOURS = ("red", "green", "blue")
_AS_THEY_ARE = (
    schema_names.LABEL,
    schema_names.PATH,
    schema_names.PATIENT,
    schema_names.TISSUE_FRACTION,
    schema_names.LAPLACIAN,
)
_PARTS = 2**20  # of a grey level, in the sums of integers; 9 million images fit an int64


def preprocessing_fn(inputs: dict[str, Any], custom_config: dict[str, Any]) -> dict[str, Any]:
    """Makes one small uint8 image of each example; statistics come from the train split alone.

    Args:
        inputs: dense features [batch, 1] of ingested examples.
        custom_config: holds `image_size`, pixels per side.
    """
    pixels = decode_images(inputs[schema_names.IMAGE][:, 0], size=custom_config["image_size"])
    mean, std = _pixel_statistics(inputs)
    batch = tf.shape(pixels)[0]
    return {
        schema_names.PIXELS: tf.map_fn(tf.io.serialize_tensor, pixels, fn_output_signature=tf.string),
        **{name: inputs[name][:, 0] for name in _AS_THEY_ARE},
        schema_names.PIXEL_MEAN: tf.tile(mean[None, :], [batch, 1]),
        schema_names.PIXEL_STD: tf.tile(std[None, :], [batch, 1]),
    }


def _pixel_statistics(inputs: dict[str, Any]) -> tuple[Any, Any]:
    """RGB means and deviations [3] of the images as they were ingested, each image weighing alike.

    From what ExampleGen measured of each image, so that this pass over the data decodes none.
    """
    means, stds = (
        tf.cast(tf.concat([inputs[f"image/{name}_{colour}"] for colour in _COLOURS], axis=1), tf.float64)
        for name in ("mean", "std")
    )
    values = tf.concat([tf.ones_like(means[:, :1]), means, tf.square(stds) + tf.square(means)], axis=1)
    # Sums of integers are exact, so that the order in which several workers are done does not matter.
    whole = tf.cast(tf.round(values * _PARTS), tf.int64)
    sums = tf.cast(tft.sum(whole, reduce_instance_dims=False), tf.float64)
    mean, square = sums[1:4] / sums[0], sums[4:] / sums[0]
    std = tf.sqrt(tf.maximum(square - tf.square(mean), 1.0))
    return tf.cast(mean, tf.float32), tf.cast(std, tf.float32)
