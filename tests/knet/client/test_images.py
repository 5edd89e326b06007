"""Encoding and finding images."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from knet.base.errors import UserError
from knet.client import find_images
from knet.client.images import encode_png


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


def test_find_images_sorts_images_and_counts_others(tmp_path: Path) -> None:
    for name in (
        "b/x.PNG",
        "b/c/y.jpeg",
        "a.jpg",
        "notes.txt",
        "c.tif",
        ".hidden/z.png",
        "b/.z.png",
        "thumbs.db",
        "@eaDir/w.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    images, others = find_images(tmp_path)
    assert images == [tmp_path / name for name in ("a.jpg", "b/c/y.jpeg", "b/x.PNG")]
    assert others == 2


def test_find_images_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "c.tif").touch()
    with pytest.raises(UserError, match=f"{tmp_path} holds no PNG or JPEG file"):
        find_images(tmp_path)
    with pytest.raises(UserError, match=r"none: No such file or directory; give a folder that can be read"):
        find_images(tmp_path / "none")
