"""Validation of image files: decode once, quarantine what is unusable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from knet.base.errors import UserError
from knet.base.image_files import as_png_or_jpeg, decode_image
from knet.base.text import list_problems


@dataclass(frozen=True, order=True)
class Quarantined:
    """A file that is not ingested, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class ValidImage:
    """A decoded image that can be ingested."""

    pixels: NDArray[np.uint8]  # RGB [height, width, 3]
    encoded: bytes  # PNG or JPEG: the file itself if it is one of these, else a lossless PNG


def validate_image(content: bytes) -> ValidImage:
    """Decode and validate an image file.

    Args:
        content: Bytes of a PNG, JPEG, TIFF, BMP or WebP file.

    Raises:
        UnusableError: The file is not a complete, upright 8-bit RGB image of an accepted size; the message is
            the reason.
    """
    image = decode_image(content)
    return ValidImage(np.asarray(image), as_png_or_jpeg(content, image))


def check_quarantine_rate(
    quarantined: Sequence[Quarantined], *, images: int, max_invalid_fraction: float, location: object
) -> None:
    """Log the quarantined files, and check that they are few enough.

    Args:
        quarantined: The unusable files.
        images: Number of usable files.
        max_invalid_fraction: Highest accepted fraction of unusable files (`data.max_invalid_fraction`).
        location: Path of the data, for the message.

    Raises:
        UserError: The fraction is higher; the message lists the first files with their reasons.
    """
    for file in quarantined:
        logging.getLogger(__name__).warning("quarantined %s: %s", file.path, file.reason)
    total = len(quarantined) + images
    if not quarantined or len(quarantined) / total <= max_invalid_fraction:
        return
    problems = [f"{file.path}: {file.reason}" for file in quarantined]
    raise UserError(
        list_problems(f"{len(quarantined)} of {total} files in {location} cannot be used", problems)
        + "\nthe log has all of them; fix or remove them, or allow more than "
        f"data.max_invalid_fraction={max_invalid_fraction:g}"
    )
