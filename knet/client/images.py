"""The bytes of an image file, whatever form the image is given in."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from knet.base.errors import UserError

# The path of a PNG or JPEG file, the bytes of one, or uint8 [rows, columns, 3] in RGB.
Image: TypeAlias = Any

LARGEST = 60 * 1024 * 1024  # bytes of a file, which must fit in a message of 64 MiB


def read_image(image: Image) -> bytes | FailedPrediction:
    """The bytes of a PNG or JPEG file, or why there are none.

    Args:
        image: as `Image` says; one that is known to be bad stays so.
    """
    if isinstance(image, FailedPrediction):
        return image
    try:
        data = _bytes_of(image)
    except OSError as error:
        return FailedPrediction(f"{error.strerror}; give a PNG or JPEG file")
    except TypeError as error:
        return FailedPrediction(f"{error}; give a path, the bytes of a file or uint8 [rows, columns, 3]")
    if not data:
        return FailedPrediction("is empty; give a PNG or JPEG file")
    if len(data) > LARGEST:
        return FailedPrediction(f"has {len(data):,} bytes; give a file of at most {LARGEST:,}")
    return data


def _bytes_of(image: Image) -> bytes:
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    return bytes(image) if isinstance(image, (bytes, bytearray)) else encode_png(image)


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB_8 = (8, 2, 0, 0, 0)  # bits, colour type, then the only compression and filter there are, no interlacing
_LEVEL = 1  # of compression: most of what there is to save, in a fraction of the time


def encode_png(pixels: Any) -> bytes:
    """The pixels without loss (PNG, ISO/IEC 15948).

    Args:
        pixels: uint8 [rows, columns, 3], RGB; a NumPy array, or whatever else has the buffer protocol.

    Raises:
        TypeError: it is something else; the text says what.
    """
    try:
        view = memoryview(pixels)
    except TypeError as error:
        raise TypeError(f"a {type(pixels).__name__} is not an array") from error
    shape = view.shape or ()
    if view.format != "B" or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise TypeError(f"an array of the form {view.format!r} and the shape {shape}")
    rows, columns, channels = shape
    data, width = view.tobytes(), columns * channels
    unfiltered = b"".join(b"\0" + data[start : start + width] for start in range(0, len(data), width))
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", struct.pack(">II5B", columns, rows, *_RGB_8)),
            _chunk(b"IDAT", zlib.compress(unfiltered, _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


SUFFIXES: Final = (".png", ".jpg", ".jpeg")  # in any case


def find_images(folder: Path) -> tuple[list[Path], int]:
    """The PNG and JPEG files in a folder and those below it, sorted, and how many other files there are.

    Hidden files and folders count for nothing. Raises UserError when a folder cannot be read, or when it
    holds no image.
    """
    images: list[Path] = []
    others = 0
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (name for name in files if not name.startswith(".")):
            if name.lower().endswith(SUFFIXES):
                images.append(Path(here, name))
            else:
                others += 1
    if not images:
        raise UserError(f"{folder} holds no PNG or JPEG file: give the folder that the images are in")
    return sorted(images), others


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; give a folder that can be read") from error


@dataclass(frozen=True)
class FailedPrediction:
    """An image that cannot be read or that the server refused; the rest of its request was answered."""

    reason: str
