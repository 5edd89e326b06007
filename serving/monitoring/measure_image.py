"""Measures an image that a served model is asked about, as ingestion measured the training images."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.breakhis_example_gen.image_scalars import image_scalars
from components.breakhis_example_gen.quality import examine
from components.breakhis_example_gen.quarantine import UnusableError
from pipeline import features


@dataclass(frozen=True)
class Measured:
    """The features of an ingested example that a served image has too; or the reason why it has none."""

    values: dict[str, float] = field(default_factory=dict)  # by feature: width, height and IMAGE_SCALARS
    unusable: str | None = None


def measure_image(content: bytes) -> Measured:
    """Decodes and measures an image file with ingestion's own functions.

    A model may answer for images that ingestion would have refused, such as grey ones: nothing in the
    training data compares with these.
    """
    try:
        pixels = examine(content).pixels
    except UnusableError as error:
        return Measured(unusable=str(error))
    height, width, _ = pixels.shape
    return Measured({features.WIDTH: width, features.HEIGHT: height, **image_scalars(pixels)})
