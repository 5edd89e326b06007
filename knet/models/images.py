"""Image operations in TensorFlow that training data and served models share: decode, measure, normalize."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from knet.base import schema_names
from knet.base.image_scalars import GREY, TISSUE_DENSITY

# Signatures of the file formats.
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_HEADER = 24  # bytes of a PNG up to its width and height


def decode_images(encoded: Any, *, size: int) -> Any:
    """Decode and resize images.

    The graph raises InvalidArgumentError for other formats, damaged files, and images of more than 64 million
    pixels, these before they are decoded.

    Args:
        encoded: string [batch], PNG or JPEG bytes of any size.
        size: height and width of the result, pixels; bilinear, without keeping the aspect ratio (as in the
            paper).

    Returns:
        RGB, uint8 [batch, size, size, 3].
    """
    return tf.map_fn(lambda one: _resize(_decode(one), size), encoded, fn_output_signature=tf.uint8)


def decode_and_measure(encoded: Any, *, size: int) -> tuple[Any, Any, Any]:
    """Decode, resize and measure images.

    Args:
        encoded: string [batch], as for `decode_images`.
        size: height and width of the result, pixels.

    Returns:
        RGB, uint8 [batch, size, size, 3]; `tissue_fraction` and `laplacian_variance`, float32 [batch], of the
        images before resizing.
    """

    def decode_one(one: Any) -> tuple[Any, Any, Any]:
        pixels = _decode(one)
        return _resize(pixels, size), tissue_fraction(pixels), laplacian_variance(pixels)

    return tf.map_fn(decode_one, encoded, fn_output_signature=(tf.uint8, tf.float32, tf.float32))


def _decode(encoded: Any) -> Any:
    png, jpeg = tf.strings.substr(encoded, 0, 8) == _PNG, tf.strings.substr(encoded, 0, 3) == _JPEG
    # `decode_image` would also accept BMP and the first frame of a GIF.
    accepted = tf.debugging.Assert(png | jpeg, ["an image must be PNG or JPEG bytes"])
    with tf.control_dependencies([accepted]):
        count = tf.cond(png, lambda: _png_pixels(encoded), lambda: _jpeg_pixels(encoded))
    # A file of a few kilobytes may decompress to an image that exhausts the memory.
    bounded = tf.debugging.Assert(
        count <= schema_names.MAX_PIXELS, [f"an image must have at most {schema_names.MAX_PIXELS} pixels"]
    )
    with tf.control_dependencies([bounded]):
        pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(pixels, [None, None, 3])


def _png_pixels(encoded: Any) -> Any:
    """Return width * height from the header; 0 if it is truncated, which decoding then refuses."""
    header = tf.strings.substr(encoded, 0, _HEADER) + _HEADER * b"\0"
    sides = tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)
    # Unsigned, and capped so that the product fits an int64.
    return tf.reduce_prod(tf.minimum(tf.cast(sides, tf.int64) % 2**32, 2**31))


def _jpeg_pixels(encoded: Any) -> Any:
    return tf.reduce_prod(tf.cast(tf.image.extract_jpeg_shape(encoded)[:2], tf.int64))


def _resize(pixels: Any, size: int) -> Any:
    resized = tf.image.resize(pixels, [size, size], method="bilinear")
    return tf.ensure_shape(tf.cast(tf.round(resized), tf.uint8), [size, size, 3])


_MAX_TISSUE_GREEN = 255 * 10**-TISSUE_DENSITY  # lighter pixels are background


def tissue_fraction(pixels: Any) -> Any:
    """Return the tissue fraction of an image, float32, 0 to 1.

    Args:
        pixels: RGB, uint8 [height, width, 3].
    """
    return tf.reduce_mean(tf.cast(tf.cast(pixels[..., 1], tf.float32) <= _MAX_TISSUE_GREEN, tf.float32))


def laplacian_variance(pixels: Any) -> Any:
    """Return the variance of the Laplacian of the gray image, float32; 0 below 3 pixels per side.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.

    Args:
        pixels: RGB, uint8 [height, width, 3].
    """
    grey = tf.tensordot(tf.cast(pixels, tf.float32), tf.constant(GREY), axes=1)
    neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    laplacian = tf.cast(neighbours - 4 * grey[1:-1, 1:-1], tf.float64)
    count = tf.cast(tf.size(laplacian), tf.float64)
    mean = tf.math.divide_no_nan(tf.reduce_sum(laplacian), count)
    variance = tf.math.divide_no_nan(tf.reduce_sum(tf.square(laplacian - mean)), count)
    return tf.cast(variance, tf.float32)


@keras.saving.register_keras_serializable("knet")
class GlobalContrastNormalization(keras.layers.Layer):
    """Normalize each image to mean 0 and standard deviation 1 over all its pixels and channels.

    Goodfellow et al., Deep Learning (2016), equation 12.3, with lambda 0. A constant image becomes all zeros.

    Input and output: [batch, rows, columns, channels].
    """

    def call(self, pixels: Any) -> Any:
        """Return the normalized images."""
        mean = ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
        deviation = ops.std(pixels, axis=(1, 2, 3), keepdims=True)
        return (pixels - mean) / ops.maximum(deviation, 1.0)  # a deviation below 1 of 255 is noise
