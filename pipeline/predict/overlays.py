"""Draws where the served model looked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.errors import UserError
from pipeline.explanations.overlay import overlay
from pipeline.predict.overlay_files import overlay_files
from serving.client import Client, FileAnswer, Prediction, file_name


class Overlays:
    """A PNG file for each image that was answered: the image with its heat map over it, in its own size."""

    def __init__(self, client: Client, images: Iterable[Path], folder: Path) -> None:
        """Takes whom to ask for heat maps, of which images, and the folder, which is made."""
        self._client = client
        pairs = overlay_files(images, folder).items()
        self._files = {file_name(image): (image, picture) for image, picture in pairs}

    def draw(self, answer: FileAnswer) -> None:
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

    def draw_missing(self, answers: Iterable[FileAnswer]) -> None:
        """Writes those that are not there."""
        for answer in answers:
            if not self._files[answer.image][1].is_file():
                self.draw(answer)
