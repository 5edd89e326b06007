"""Finds the images of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pipeline.errors import UserError

SUFFIXES: Final = (".png", ".jpg", ".jpeg")  # in any case


def find_images(folder: Path) -> tuple[list[Path], int]:
    """The PNG and JPEG files in a folder and those below it, sorted, and how many other files there are.

    Hidden files and folders count for nothing. Raises UserError when a folder cannot be read, or when it
    holds no image.
    """
    images: list[Path] = []
    others = 0
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (name for name in files if not name.startswith(".")):
            if name.lower().endswith(SUFFIXES):
                images.append(Path(here, name))
            else:
                others += 1
    if not images:
        raise UserError(f"{folder} holds no PNG or JPEG file: give the folder that the images are in")
    return sorted(images), others


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}; give a folder that can be read") from error
