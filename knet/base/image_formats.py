"""Formats of image files that are ingested, and that clients send: their suffixes and first bytes."""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")  # Pillow's names
STORED_FORMATS: Final = ("PNG", "JPEG")  # stored and sent unchanged: a served model decodes them
IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")  # of FORMATS, in any case

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of both byte orders, up to 4 GiB and above


def must_be_converted(content: bytes) -> bool:
    """Return whether a file is one of FORMATS, by its first bytes, that a served model does not decode."""
    is_webp = content.startswith(b"RIFF") and content[8:12] == b"WEBP"
    return is_webp or content.startswith((*_TIFF, b"BM"))
