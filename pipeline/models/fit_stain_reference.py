"""Fits what a normalisation of stains makes all images like."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.models.macenko_normalization import MacenkoNormalization
from pipeline.models.reinhard_normalization import ReinhardNormalization
from pipeline.models.stain_normalization import StainNormalization

STAIN_NORMALISATIONS: dict[str, type[StainNormalization]] = {
    "macenko": MacenkoNormalization,
    "reinhard": ReinhardNormalization,
}


def fit_stain_reference(name: str, batches: Any) -> list[float] | None:
    """The median of what is measured of each image; None where the name is `none`.

    Args:
        name: of a normalisation.
        batches: of (uint8 [batch, rows, columns, 3], anything), of the training images alone.

    Raises:
        UserError: no image shows the stains.
    """
    if name == "none":
        return None
    normalisation = STAIN_NORMALISATIONS[name]
    measured = []
    for pixels, _ in batches.as_numpy_iterator():
        values, usable = map(np.asarray, normalisation.measure(pixels.astype("float32")))
        measured.append(values[usable])
    found = np.concatenate(measured)
    if not len(found):
        raise UserError(
            f"image.stain_normalisation={name}: no training image shows two stains; set it to none"
        )
    return [float(value) for value in np.median(found, axis=0)]
