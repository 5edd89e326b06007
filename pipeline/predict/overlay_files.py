"""Where the heat map of each image is drawn."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def overlay_files(images: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """A PNG file for each image, below a folder as the images lie below what they have in common."""
    places = {image: image.absolute() for image in images}
    common = os.path.commonpath([place.parent for place in places.values()])
    return {
        image: folder / place.parent.relative_to(common) / f"{place.name}.heat.png"
        for image, place in places.items()
    }
