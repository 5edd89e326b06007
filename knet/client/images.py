"""Images of requests: reading, converting, encoding and finding them."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from knet.base.errors import UnusableError, UserError
from knet.base.image_formats import IMAGE_SUFFIXES, must_be_converted
from knet.base.system_files import is_system_file

# The path of an image file (PNG, JPEG, TIFF, BMP or WebP), the content of one as bytes, or a uint8 array
# [rows, columns, 3] in RGB.
Image: TypeAlias = Any

MAX_BYTES = 60 * 1024 * 1024  # of a PNG or JPEG file, which must fit into a message of 64 MiB


@dataclass(frozen=True)
class FailedPrediction:
    """The reason why an image has no prediction: it cannot be read, or the server rejected it."""

    reason: str


def check_is_several(images: Iterable[Image]) -> None:
    """Raise UserError if the argument for images is one image, over whose parts a client would iterate."""
    if isinstance(images, (str, bytes, bytearray, os.PathLike)) or getattr(images, "ndim", None) == 3:
        raise UserError(f"one image ({type(images).__name__}) stands where a list is expected: give [image]")


def read_image(image: Image) -> bytes | FailedPrediction:
    """Return an image as a server accepts it.

    Args:
        image: An `Image`; a FailedPrediction is returned as it is.

    Returns:
        The bytes of a PNG or JPEG file, or the reason why there are none. Other formats are converted to PNG,
        as at ingestion without loss.
    """
    content = read_content(image)
    if isinstance(content, FailedPrediction):
        return content
    encoded = _as_png(content) if must_be_converted(content) else content
    if isinstance(encoded, bytes) and len(encoded) > MAX_BYTES:
        return FailedPrediction(f"has {len(encoded):,} bytes; give a file of at most {MAX_BYTES:,}")
    return encoded


def read_content(image: Image) -> bytes | FailedPrediction:
    """Return the content of an image file as it is.

    Args:
        image: An `Image`, of which an array is encoded as PNG; a FailedPrediction is returned as it is.
    """
    if isinstance(image, FailedPrediction):
        return image
    try:
        data = _content(image)
    except OSError as error:
        return FailedPrediction(f"{error.strerror}; give a PNG or JPEG file")
    except TypeError as error:
        return FailedPrediction(f"{error}; give a path, the bytes of a file or uint8 [rows, columns, 3]")
    if not data:
        return FailedPrediction("is empty; give a PNG or JPEG file")
    return data


def _content(image: Image) -> bytes:
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    return bytes(image) if isinstance(image, (bytes, bytearray)) else encode_png(image)


def _as_png(content: bytes) -> bytes | FailedPrediction:
    try:
        from knet.base.image_files import as_png_or_jpeg, decode_image
    except ModuleNotFoundError:
        return FailedPrediction(
            "converting it to PNG needs Pillow: pip install pillow, or give a PNG or JPEG file"
        )
    try:
        return as_png_or_jpeg(content, decode_image(content))
    except UnusableError as error:
        return FailedPrediction(f"cannot be converted to PNG: {error}")


_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Bit depth, colour type (RGB), compression method, filter method, no interlacing.
_RGB_8: Final = (8, 2, 0, 0, 0)
_COMPRESSION_LEVEL: Final = 1  # most of the possible reduction, in a fraction of the time


def encode_png(pixels: Any) -> bytes:
    """Encode pixels losslessly (PNG, ISO/IEC 15948).

    Args:
        pixels: uint8 [rows, columns, 3] in RGB: a NumPy array or another object with the buffer protocol.

    Returns:
        The content of a PNG file.

    Raises:
        TypeError: The object has another type or shape; the message names it.
    """
    try:
        view = memoryview(pixels)
    except TypeError as error:
        raise TypeError(f"a {type(pixels).__name__} is not an array") from error
    shape = view.shape or ()
    if view.format != "B" or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise TypeError(f"an array of the format {view.format!r} and the shape {shape}")
    rows, columns, channels = shape
    data, width = view.tobytes(), columns * channels
    unfiltered = b"".join(b"\0" + data[start : start + width] for start in range(0, len(data), width))
    return b"".join(
        (
            _PNG_SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II5B", columns, rows, *_RGB_8)),
            _chunk(b"IDAT", zlib.compress(unfiltered, _COMPRESSION_LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def find_images(folder: Path) -> tuple[list[Path], list[Path]]:
    """Find the image files below a folder, by suffix; hidden and system files are ignored.

    Args:
        folder: Folder to search, with its subfolders.

    Returns:
        The images, and the other files, both sorted.

    Raises:
        UserError: A folder cannot be read, or there is no image.
    """
    images: list[Path] = []
    others: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=_raise_user_error):
        folders[:] = [name for name in folders if not is_system_file(f"{name}/file")]
        for name in (name for name in files if not is_system_file(name)):
            (images if name.lower().endswith(IMAGE_SUFFIXES) else others).append(Path(parent, name))
    if not images:
        raise UserError(
            f"{folder} holds no image file ({', '.join(IMAGE_SUFFIXES)}): give the folder that the images "
            "are in"
        )
    return sorted(images), sorted(others)


def _raise_user_error(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; give a folder that can be read") from error
