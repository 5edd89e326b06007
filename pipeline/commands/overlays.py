"""Heat maps of a served model, drawn over the images."""

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
    """Writer of PNG files, one for each classified image: the image with its heat map, in full size."""

    def __init__(self, client: Client, images: Iterable[Path], folder: Path) -> None:
        """Create a writer.

        Args:
            client: Client to request heat maps from.
            images: Images that may be drawn.
            folder: Folder for the PNG files, created by the first.
        """
        self._client = client
        pairs = overlay_files(images, folder).items()
        self._files = {file_name(image): (image, picture) for image, picture in pairs}

    def draw(self, prediction: FilePrediction) -> None:
        """Request an image's heat map and write its PNG file; images without prediction are skipped.

        Raises:
            UserError: The server cannot be used, the image cannot be decoded, or the file cannot be written.
        """
        if not isinstance(prediction.result, Prediction):
            return
        image, picture = self._files[prediction.image]
        (explanation,) = self._client.explain([image])
        try:
            drawn = overlay(Image.open(image).convert("RGB"), np.array(explanation.heat_map))
            picture.parent.mkdir(parents=True, exist_ok=True)
            drawn.save(picture)
        except OSError as error:
            raise UserError(
                f"the heat map of {image} cannot be drawn to {picture} ({error}): give a folder that can be "
                "written, and images that Pillow can read"
            ) from error

    def draw_missing(self, predictions: Iterable[FilePrediction]) -> None:
        """Write the PNG files that do not exist."""
        for prediction in predictions:
            if not self._files[prediction.image][1].is_file():
                self.draw(prediction)


def overlay_files(images: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """Return the PNG file for each image: its path relative to the images' common parent, below a folder."""
    absolute = {image: image.absolute() for image in images}
    common = os.path.commonpath([path.parent for path in absolute.values()])
    return {
        image: folder / path.parent.relative_to(common) / f"{path.name}.heat.png"
        for image, path in absolute.items()
    }
