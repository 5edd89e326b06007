"""Insists on an answer to every image."""

from __future__ import annotations

import os
from typing import TypeVar

from pipeline.errors import UserError
from serving.client.bad_image import BadImage
from serving.client.read_image import Image

_Answer = TypeVar("_Answer")


def require(answer: _Answer | BadImage, *, image: Image, number: int) -> _Answer:
    """The answer; raises UserError where there is none, which names the image's file or else its number."""
    if isinstance(answer, BadImage):
        name = os.fspath(image) if isinstance(image, (str, os.PathLike)) else f"image {number}"
        raise UserError(f"{name}: {answer.reason}")
    return answer
