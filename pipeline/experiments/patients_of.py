"""Whose each image is."""

from __future__ import annotations

from components.breakhis_example_gen.catalog import read_catalog
from pipeline.config import Config
from pipeline.run_record import Data


def patients_of(config: Config, data: Data) -> dict[str, str]:
    """The patient of each image, by path."""
    catalog = read_catalog(data.source, root=data.root, classes=config.data.classes)
    return {image.path: image.patient for image in catalog.images}
