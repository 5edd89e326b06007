"""Lays a heat map over its image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_LONGEST = 480  # pixels of a side; a page holds many
_COLOUR = (0.0, 200.0, 80.0)  # green, which neither stain has
_STRONGEST = 0.65  # share of the colour where the heat is 1


def thumbnail(image: Image.Image) -> Image.Image:
    """The image in RGB, at most 480 pixels a side."""
    small = image.convert("RGB")
    small.thumbnail((_LONGEST, _LONGEST))
    return small


def overlay(image: Image.Image, heat: NDArray[np.floating]) -> Image.Image:
    """Colours an image the more the hotter a place is.

    Args:
        image: RGB, of any size.
        heat: [rows, columns] over the whole image, 0 to 1.
    """
    smooth = Image.fromarray(heat.astype(np.float32)).resize(image.size, Image.Resampling.BICUBIC)
    share = _STRONGEST * np.clip(np.asarray(smooth), 0, 1)[..., None]
    return Image.fromarray(np.round((1 - share) * np.asarray(image) + share * _COLOUR).astype(np.uint8))
