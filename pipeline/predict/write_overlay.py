"""Draws where the served model looked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import UserError
from pipeline.explanations.overlay import overlay
from serving.client import Client


def write_overlay(client: Client, image: Path, picture: Path) -> None:
    """Writes an image with its heat map over it, as PNG of the same size; makes the folder.

    Raises UserError as `Client.explain` does, and when the image cannot be drawn or the picture be written.
    """
    (explanation,) = client.explain([image])
    try:
        drawn = overlay(Image.open(image).convert("RGB"), np.array(explanation.heat_map))
        picture.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(picture)
    except OSError as error:
        raise UserError(f"the heat map of {image} cannot be drawn to {picture}: {error}") from error
