"""From an image file's bytes to pixels: one function for training data and serving, so that they agree."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline.models.measure_pixels import laplacian_variance, tissue_fraction

# What the files begin with.
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def decode_images(encoded: Any, *, size: int) -> Any:
    """Decodes and resizes images.

    Args:
        encoded: string [batch], PNG or JPEG bytes of any size. Others, and damaged ones, are an
            InvalidArgumentError when the graph runs.
        size: pixels per side of the result; bilinear, the aspect is not kept (as in the paper).

    Returns:
        uint8 [batch, size, size, 3], RGB.
    """
    return tf.map_fn(lambda one: _resize(_decode(one), size), encoded, fn_output_signature=tf.uint8)


def decode_and_measure(encoded: Any, *, size: int) -> tuple[Any, Any, Any]:
    """As `decode_images`, with `tissue_fraction` and `laplacian_variance` of each image at its own size."""

    def look(one: Any) -> tuple[Any, Any, Any]:
        pixels = _decode(one)
        return _resize(pixels, size), tissue_fraction(pixels), laplacian_variance(pixels)

    return tf.map_fn(look, encoded, fn_output_signature=(tf.uint8, tf.float32, tf.float32))


def _decode(encoded: Any) -> Any:
    accepted = (tf.strings.substr(encoded, 0, 8) == _PNG) | (tf.strings.substr(encoded, 0, 3) == _JPEG)
    # `decode_image` would take the first picture of a GIF, and BMP.
    with tf.control_dependencies([tf.debugging.Assert(accepted, ["an image must be PNG or JPEG bytes"])]):
        pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(pixels, [None, None, 3])


def _resize(pixels: Any, size: int) -> Any:
    resized = tf.image.resize(pixels, [size, size], method="bilinear")
    return tf.ensure_shape(tf.cast(tf.round(resized), tf.uint8), [size, size, 3])
