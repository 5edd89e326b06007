"""Draws where the served model looked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from knet.base.errors import UserError
from knet.base.heat_maps import overlay
from knet.client import Client, FilePrediction, Prediction, file_name


class Overlays:
    """A PNG file for each image that was answered: the image with its heat map over it, in its own size."""

    def __init__(self, client: Client, images: Iterable[Path], folder: Path) -> None:
        """Takes whom to ask for heat maps, of which images, and the folder, which is made."""
        self._client = client
        pairs = overlay_files(images, folder).items()
        self._files = {file_name(image): (image, picture) for image, picture in pairs}

    def draw(self, answer: FilePrediction) -> None:
        """Writes one, in place of what is there.

        Raises UserError as `Client.explain` does, and when an image cannot be drawn or a picture be written.
        """
        if not isinstance(answer.answer, Prediction):
            return
        image, picture = self._files[answer.image]
        (explanation,) = self._client.explain([image])
        try:
            drawn = overlay(Image.open(image).convert("RGB"), np.array(explanation.heat_map))
            picture.parent.mkdir(parents=True, exist_ok=True)
            drawn.save(picture)
        except OSError as error:
            raise UserError(f"the heat map of {image} cannot be drawn to {picture}: {error}") from error

    def draw_missing(self, answers: Iterable[FilePrediction]) -> None:
        """Writes those that are not there."""
        for answer in answers:
            if not self._files[answer.image][1].is_file():
                self.draw(answer)


def overlay_files(images: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """A PNG file for each image, below a folder as the images lie below what they have in common."""
    places = {image: image.absolute() for image in images}
    common = os.path.commonpath([place.parent for place in places.values()])
    return {
        image: folder / place.parent.relative_to(common) / f"{place.name}.heat.png"
        for image, place in places.items()
    }
