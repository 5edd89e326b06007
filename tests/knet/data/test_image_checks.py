"""Validation of images, and the limit of unusable ones."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from knet.base.errors import UserError
from knet.data.image_checks import Quarantined, check_quarantine_rate, validate_image

Picture = Callable[..., bytes]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("size", [(700, 460), (700, 456), (224, 224), (32, 32)])
def test_validate_image_stores_8_bit_rgb_png_unchanged(picture: Picture, size: Any) -> None:
    content = picture(size=size, colour=(1, 2, 3))
    good = validate_image(content)
    assert good.encoded == content
    assert good.pixels.shape == (size[1], size[0], 3) and good.pixels.dtype == np.uint8
    assert (good.pixels == (1, 2, 3)).all()


def test_validate_image_stores_jpeg_unchanged(picture: Picture) -> None:
    content = picture(kind="JPEG")
    assert validate_image(content).encoded == content


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP"])
def test_validate_image_converts_other_formats_to_png(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    good = validate_image(buffer.getvalue())
    np.testing.assert_array_equal(good.pixels, pixels)
    assert good.encoded.startswith(SIGNATURE)
    np.testing.assert_array_equal(validate_image(good.encoded).pixels, pixels)


BAD = [Quarantined(f"{number}.png", "zero bytes") for number in range(5)]


@pytest.mark.parametrize("max_invalid_fraction", [0.0, 0.04])
def test_check_quarantine_rate_lists_files_and_remedy(max_invalid_fraction: float) -> None:
    with pytest.raises(UserError) as caught:
        check_quarantine_rate(BAD, images=95, max_invalid_fraction=max_invalid_fraction, location="/data")
    lines = str(caught.value).splitlines()
    assert lines[0] == "5 of 100 files in /data cannot be used:"
    assert lines[1:6] == [f"  {number}.png: zero bytes" for number in range(5)]
    assert lines[6].startswith("the log has all of them; fix or remove them, or allow more than ")
    assert lines[6].endswith(f"data.max_invalid_fraction={max_invalid_fraction:g}")


def test_check_quarantine_rate_accepts_the_limit() -> None:
    check_quarantine_rate(BAD, images=95, max_invalid_fraction=0.05, location="/data")


def test_check_quarantine_rate_accepts_none() -> None:
    check_quarantine_rate([], images=0, max_invalid_fraction=0.0, location="/data")
