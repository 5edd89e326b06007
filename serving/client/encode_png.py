"""Pixels as the bytes of a PNG file, with the standard library alone."""

from __future__ import annotations

import struct
import zlib
from typing import Any

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
