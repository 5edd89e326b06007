"""Encoding and finding images."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knet.base.errors import UserError
from knet.client import find_images
from knet.client.images import MAX_BYTES, FailedPrediction, encode_png, read_image
from knet.data.image_checks import validate_image


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 99), mirrored=st.booleans())
def test_encode_png_is_lossless(rows: int, columns: int, seed: int, mirrored: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    given_pixels = pixels[:, ::-1] if mirrored else pixels  # not contiguous
    picture = Image.open(io.BytesIO(encode_png(given_pixels)))
    picture.load()
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), given_pixels)


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (np.zeros((2, 3, 3)), r"an array of the format 'd' and the shape \(2, 3, 3\)"),
        (np.zeros((2, 3), np.uint8), r"the shape \(2, 3\)"),
        (np.zeros((2, 3, 4), np.uint8), r"the shape \(2, 3, 4\)"),
        (np.zeros((0, 3, 3), np.uint8), r"the shape \(0, 3, 3\)"),
        (7, "a int is not an array"),
        (None, "a NoneType is not an array"),
    ],
)
def test_encode_png_rejects_other_arrays(pixels: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        encode_png(pixels)


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((50, 40), 60).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


CONVERTED = {
    "TIFF": saved("TIFF"),
    "TIFF, LZW": saved("TIFF", compression="tiff_lzw"),
    "BigTIFF": saved("TIFF", big_tiff=True),
    "BMP": saved("BMP"),
    "WebP": saved("WEBP", lossless=True),
    "lossy WebP": saved("WEBP", quality=50),
}


@pytest.mark.parametrize("content", CONVERTED.values(), ids=CONVERTED)
def test_read_image_converts_other_formats_as_ingestion_does(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(content)  # the content decides, not the suffix
    encoded = read_image(tmp_path / "image")
    assert isinstance(encoded, bytes) and encoded == read_image(content) == validate_image(content).encoded
    with Image.open(io.BytesIO(content)) as before, Image.open(io.BytesIO(encoded)) as after:
        assert after.format == "PNG"
        np.testing.assert_array_equal(np.asarray(after), np.asarray(before))


def test_read_image_converts_real_tiff(shared_data: Path) -> None:
    paths = [*(shared_data / "ood").rglob("*.tif")]
    assert len(paths) == 8
    for path in paths:
        assert read_image(path) == validate_image(path.read_bytes()).encoded


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_read_image_leaves_png_and_jpeg_unchanged(kind: str, mode: str) -> None:
    content = saved(kind, mode)
    assert read_image(content) == content


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved("TIFF", "L"), "not 8-bit RGB but grey"),
        (saved("TIFF")[:200], "truncated or damaged (image file is truncated"),
        (saved("BMP")[:30], "truncated or damaged ("),
        (b"RIFF\0\0\0\0WEBP", "not an image, or damaged in its first bytes"),
    ],
)
def test_read_image_names_why_it_cannot_convert(content: bytes, reason: str) -> None:
    failed = read_image(content)
    assert isinstance(failed, FailedPrediction) and failed.reason.startswith(
        f"cannot be converted to PNG: {reason}"
    )


def test_read_image_limits_what_is_sent_not_what_is_converted(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (5000, 4300)).save(buffer, "BMP")
    assert len(buffer.getvalue()) > MAX_BYTES
    encoded = read_image(buffer.getvalue())
    assert isinstance(encoded, bytes) and len(encoded) < MAX_BYTES
    failed = read_image(bytes(MAX_BYTES + 1))
    assert failed == FailedPrediction("has 62,914,561 bytes; give a file of at most 62,914,560")


def test_read_image_without_pillow_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "knet.base.image_files", raising=False)
    reason = "converting it to PNG needs Pillow: pip install pillow, or give a PNG or JPEG file"
    assert read_image(CONVERTED["TIFF"]) == FailedPrediction(reason)
    assert read_image(b"\x89PNG") == b"\x89PNG"


def test_find_images_sorts_images_and_others(tmp_path: Path) -> None:
    for name in (
        "b/x.PNG",
        "b/c/y.jpeg",
        "a.jpg",
        "notes.txt",
        "c.tif",
        "d.WebP",
        ".hidden/z.png",
        "b/.z.png",
        "thumbs.db",
        "@eaDir/w.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    images, others = find_images(tmp_path)
    assert images == [tmp_path / name for name in ("a.jpg", "b/c/y.jpeg", "b/x.PNG", "c.tif", "d.WebP")]
    assert others == [tmp_path / "notes.txt"]


def test_find_images_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c.gif").touch()
    with pytest.raises(UserError, match=rf"{tmp_path} holds no image file \(\.png, .*\.webp\): give"):
        find_images(tmp_path)
    with pytest.raises(UserError, match=r"none: No such file or directory; give a folder that can be read"):
        find_images(tmp_path / "none")
