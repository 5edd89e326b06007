"""Draws synthetic images that pack about as well as micrographs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image


def draw_images(count: int, *, width: int, height: int) -> Iterator[bytes]:
    """PNG files, each other than the others."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        coarse = rng.integers(60, 250, (height // 12 + 1, width // 12 + 1, 3), dtype=np.uint8)
        smooth = np.asarray(
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16
        )
        noisy = np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "PNG")
        yield buffer.getvalue()
