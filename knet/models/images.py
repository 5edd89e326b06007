"""Image operations in TensorFlow that training data and served models share: decode, measure, normalize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from knet.base import schema_names
from knet.base.image_scalars import GREY, TISSUE_DENSITY

# Signatures of the file formats.
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_HEADER = 26  # bytes of a PNG up to its colour type
_RGB_8 = b"\x08\x02"  # bit depth and colour type of a PNG


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
    return tf.map_fn(
        lambda one: _resize(_decode(one, schema_names.MAX_PIXELS)[0], size),
        encoded,
        fn_output_signature=tf.uint8,
    )


class Measurements(NamedTuple):
    """Measurements of images before resizing, each [batch]."""

    rgb: Any  # bool: 8-bit RGB without transparency, as ingestion accepts
    side: Any  # int32, the shorter one, pixels
    tissue: Any  # float32, `tissue_fraction`
    laplacian: Any  # float32, `laplacian_variance`


def decode_and_measure(
    encoded: Any, *, size: int, max_pixels: int = schema_names.MAX_PIXELS
) -> tuple[Any, Measurements]:
    """Decode, resize and measure images.

    Args:
        encoded: string [batch], as for `decode_images`.
        size: height and width of the result, pixels.
        max_pixels: of an image; the graph refuses larger ones.

    Returns:
        RGB, uint8 [batch, size, size, 3], and the measurements.
    """

    def decode_one(one: Any) -> tuple[Any, Measurements]:
        pixels, rgb = _decode(one, max_pixels)
        side = tf.reduce_min(tf.shape(pixels)[:2])
        measured = Measurements(rgb, side, tissue_fraction(pixels), laplacian_variance(pixels))
        return _resize(pixels, size), measured

    types = Measurements(tf.bool, tf.int32, tf.float32, tf.float32)
    # One image at a time: several large ones in a request would exhaust a server's memory.
    return tf.map_fn(decode_one, encoded, fn_output_signature=(tf.uint8, types), parallel_iterations=1)


def _decode(encoded: Any, max_pixels: int) -> tuple[Any, Any]:
    """Return the pixels of an image, uint8 [rows, columns, 3], and whether its file has 8-bit RGB, bool."""
    png, jpeg = tf.strings.substr(encoded, 0, 8) == _PNG, tf.strings.substr(encoded, 0, 3) == _JPEG
    # The decoders would also accept BMP and the first frame of a GIF.
    accepted = tf.debugging.Assert(png | jpeg, ["an image must be PNG or JPEG bytes"])
    with tf.control_dependencies([accepted]):
        count, rgb = tf.cond(png, lambda: _read_png_header(encoded), lambda: _read_jpeg_header(encoded))
    # A file of a few kilobytes may decompress to an image that exhausts the memory.
    bounded = tf.debugging.Assert(count <= max_pixels, [f"an image must have at most {max_pixels} pixels"])
    with tf.control_dependencies([bounded]):
        pixels = tf.cond(
            png,
            lambda: tf.io.decode_png(encoded, channels=3),
            # The default method is off by several levels at high qualities; this one gives Pillow's pixels.
            lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        )
    return tf.ensure_shape(pixels, [None, None, 3]), rgb


def _read_png_header(encoded: Any) -> tuple[Any, Any]:
    """Return width * height, 0 if the header is truncated, which decoding refuses, and whether it is RGB."""
    header = tf.strings.substr(encoded, 0, _HEADER) + _HEADER * b"\0"
    sides = tf.io.decode_raw(tf.strings.substr(header, 16, 8), tf.int32, little_endian=False)
    # Unsigned, and capped so that the product fits an int64.
    count = tf.reduce_prod(tf.minimum(tf.cast(sides, tf.int64) % 2**32, 2**31))
    # A colour that is transparent is stated before the pixels.
    start = tf.raw_ops.StringSplitV2(input=[encoded], sep="IDAT", maxsplit=1).values[:1]
    transparent = tf.size(tf.raw_ops.StringSplitV2(input=start, sep="tRNS").values) > 1
    return count, (tf.strings.substr(header, 24, 2) == _RGB_8) & ~transparent


def _read_jpeg_header(encoded: Any) -> tuple[Any, Any]:
    shape = tf.image.extract_jpeg_shape(encoded)
    return tf.reduce_prod(tf.cast(shape[:2], tf.int64)), shape[2] == 3


def _resize(pixels: Any, size: int) -> Any:
    resized = tf.image.resize(pixels, [size, size], method="bilinear")
    return tf.ensure_shape(tf.cast(tf.round(resized), tf.uint8), [size, size, 3])


_MAX_TISSUE_GREEN = 255 * 10**-TISSUE_DENSITY  # lighter pixels are background


def tissue_fraction(pixels: Any) -> Any:
    """Return the tissue fraction of an image, float32, 0 to 1.

    Args:
        pixels: RGB, uint8 [height, width, 3].
    """

    def count_tissue(strip: Any) -> list[Any]:
        return [tf.cast(strip[..., 1], tf.float32) <= _MAX_TISSUE_GREEN]

    (tissue,) = _sum_over_strips(pixels, count_tissue, count=1, overlap=0)
    return tf.cast(tissue / tf.cast(tf.reduce_prod(tf.shape(pixels)[:2]), tf.float64), tf.float32)


def laplacian_variance(pixels: Any) -> Any:
    """Return the variance of the Laplacian of the gray image, float32; 0 below 3 pixels per side.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.

    Args:
        pixels: RGB, uint8 [height, width, 3].
    """

    def powers_of_laplacian(strip: Any) -> list[Any]:
        grey = tf.tensordot(tf.cast(strip, tf.float32), tf.constant(GREY), axes=1)
        neighbours = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
        laplacian = tf.cast(neighbours - 4 * grey[1:-1, 1:-1], tf.float64)
        return [laplacian, tf.square(laplacian)]

    first, second = _sum_over_strips(pixels, powers_of_laplacian, count=2, overlap=2)
    count = tf.cast(tf.reduce_prod(tf.maximum(tf.shape(pixels)[:2] - 2, 0)), tf.float64)
    mean = tf.math.divide_no_nan(first, count)
    return tf.cast(tf.maximum(tf.math.divide_no_nan(second, count) - tf.square(mean), 0), tf.float32)


_STRIP = 128  # rows


def _sum_over_strips(pixels: Any, maps: Callable[[Any], list[Any]], *, count: int, overlap: int) -> list[Any]:
    """Return the sums of maps of an image, float64, which in memory are of a strip of rows at a time.

    Args:
        pixels: [height, width, 3].
        maps: of a strip; one row for each of its rows but `overlap`.
        count: number of maps.
        overlap: rows that strips share.
    """
    rows = tf.shape(pixels)[0] - overlap

    def add(start: Any, *sums: Any) -> tuple[Any, ...]:
        strip = pixels[start : start + _STRIP + overlap]
        added = [tf.reduce_sum(tf.cast(part, tf.float64)) for part in maps(strip)]
        return start + _STRIP, *(total + part for total, part in zip(sums, added, strict=True))

    zeros = [tf.zeros([], tf.float64)] * count
    _, *sums = tf.while_loop(lambda start, *_: start < rows, add, (0, *zeros), parallel_iterations=1)
    return sums


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
