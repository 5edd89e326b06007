"""Pictures inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pipeline.report.picture import picture, thumbnail


def opened(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded))


def test_a_large_image_becomes_small_and_keeps_its_shape(picture: Callable[..., bytes]) -> None:
    small = opened(thumbnail(picture(size=(700, 460)), longest=140))
    assert (small.format, small.size) == ("JPEG", (140, 92))


def test_a_small_image_is_not_enlarged(picture: Callable[..., bytes]) -> None:
    assert opened(thumbnail(picture(size=(40, 32)), longest=140)).size == (40, 32)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_any_mode_can_be_shown(mode: str, picture: Callable[..., bytes]) -> None:
    assert opened(thumbnail(picture(mode=mode), longest=20)).mode == "RGB"


def test_the_address_holds_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32), "red").save(tmp_path / "a.png")
    kind, _, content = picture(tmp_path / "a.png", longest=32).partition(",")
    assert kind == "data:image/jpeg;base64"
    assert opened(base64.b64decode(content)).size == (32, 16)
