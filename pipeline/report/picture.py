"""Pictures inside the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image


def thumbnail(encoded: bytes, *, longest: int) -> bytes:
    """An image file as a JPEG with at most `longest` pixels a side."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    image.thumbnail((longest, longest))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def data_url(jpeg: bytes) -> str:
    """A JPEG as an address that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def picture(file: Path, *, longest: int) -> str:
    """An image file made small, as an address that holds it."""
    return data_url(thumbnail(file.read_bytes(), longest=longest))
