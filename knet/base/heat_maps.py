"""Heat maps drawn over images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COLOUR = (0.0, 200.0, 80.0)  # green, the colour of neither stain
_MAX_OPACITY = 0.65  # where the heat is 1


def overlay(image: Image.Image, heat: NDArray[np.floating]) -> Image.Image:
    """Blend a heat map over an image, in green, the more opaque the higher the heat.

    Args:
        image: RGB image of any size.
        heat: Float array [rows, columns] that covers the whole image, 0 to 1; resized to the image.

    Returns:
        An RGB image of the same size.
    """
    smooth = Image.fromarray(heat.astype(np.float32)).resize(image.size, Image.Resampling.BICUBIC)
    opacity = _MAX_OPACITY * np.clip(np.asarray(smooth), 0, 1)[..., None]
    blended = (1 - opacity) * np.asarray(image) + opacity * _COLOUR
    return Image.fromarray(np.round(blended).astype(np.uint8))


_MAX_SIDE = 480  # pixels; a page holds many thumbnails


def thumbnail(image: Image.Image) -> Image.Image:
    """Return a copy in RGB whose longer side has at most 480 pixels."""
    small = image.convert("RGB")
    small.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return small
