"""PNG files that others read as what was written."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serving.client.encode_png import encode_png


@given(rows=st.integers(1, 9), columns=st.integers(1, 9), seed=st.integers(0, 99), turned=st.booleans())
def test_pixels_survive(rows: int, columns: int, seed: int, turned: bool) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    given_pixels = pixels[:, ::-1] if turned else pixels  # which lie otherwise in memory
    picture = Image.open(io.BytesIO(encode_png(given_pixels)))
    picture.load()
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), given_pixels)


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        (np.zeros((2, 3, 3)), r"an array of the form 'd' and the shape \(2, 3, 3\)"),
        (np.zeros((2, 3), np.uint8), r"the shape \(2, 3\)"),
        (np.zeros((2, 3, 4), np.uint8), r"the shape \(2, 3, 4\)"),
        (np.zeros((0, 3, 3), np.uint8), r"the shape \(0, 3, 3\)"),
        (7, "a int is not an array"),
        (None, "a NoneType is not an array"),
    ],
)
def test_what_is_no_picture(pixels: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        encode_png(pixels)
