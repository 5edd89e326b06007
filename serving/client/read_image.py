"""The bytes of an image file, whatever form the image is given in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

from serving.client.bad_image import BadImage
from serving.client.encode_png import encode_png

# The path of a PNG or JPEG file, the bytes of one, or uint8 [rows, columns, 3] in RGB.
Image: TypeAlias = Any

LARGEST = 60 * 1024 * 1024  # bytes of a file, which must fit in a message of 64 MiB


def read_image(image: Image) -> bytes | BadImage:
    """The bytes of a PNG or JPEG file, or why there are none.

    Args:
        image: as `Image` says; one that is known to be bad stays so.
    """
    if isinstance(image, BadImage):
        return image
    try:
        data = _bytes_of(image)
    except OSError as error:
        return BadImage(f"{error.strerror}; give a PNG or JPEG file")
    except TypeError as error:
        return BadImage(f"{error}; give a path, the bytes of a file or uint8 [rows, columns, 3]")
    if not data:
        return BadImage("is empty; give a PNG or JPEG file")
    if len(data) > LARGEST:
        return BadImage(f"has {len(data):,} bytes; give a file of at most {LARGEST:,}")
    return data


def _bytes_of(image: Image) -> bytes:
    if isinstance(image, (str, os.PathLike)):
        return Path(image).read_bytes()
    return bytes(image) if isinstance(image, (bytes, bytearray)) else encode_png(image)
