"""JPEGs: what Pillow decodes and the check accepts, TensorFlow decodes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.breakhis_example_gen.check_jpeg import check_jpeg
from components.breakhis_example_gen.quality import examine
from components.breakhis_example_gen.quarantine import UnusableError


def jpeg(**options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


KINDS = {
    "baseline": jpeg(),
    "progressive": jpeg(progressive=True),
    "restart markers": jpeg(restart_marker_blocks=2),
    "whole colours": jpeg(subsampling=0, quality=95, comment=b"slide 1"),
}
kinds = pytest.mark.parametrize("whole", KINDS.values(), ids=KINDS)
MARKERS = (0x01, 0xC0, 0xC4, 0xD0, 0xD3, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0, 0xFE)
position = st.integers(0, 10**6)
# Bytes to put somewhere, and how many to take away there.
changes = st.tuples(
    position,
    st.binary(max_size=3) | st.sampled_from(MARKERS).map(lambda marker: bytes((0xFF, marker))),
    st.integers(0, 40),
)


@kinds
@settings(max_examples=300)
@given(edits=st.lists(changes, min_size=1, max_size=2))
@example(edits=[(10**6, b"\xff\xe0", 2)])
def test_what_is_accepted_a_served_model_can_decode(
    edits: list[tuple[int, bytes, int]], whole: bytes
) -> None:
    content = whole
    for place, put, taken in edits:
        start = 2 + place % (len(content) - 1)
        content = content[:start] + put + content[start + taken :]
    try:
        accepted = examine(content)
    except UnusableError:
        return
    assert tf.io.decode_image(content, channels=3).shape == accepted.pixels.shape


def only_pillow_decodes(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except OSError:
        return False
    try:
        tf.io.decode_jpeg(content)
    except tf.errors.InvalidArgumentError:
        return True
    return False


def test_a_jpeg_that_only_pillow_decodes_is_unusable() -> None:
    whole = KINDS["baseline"]
    begin = whole.index(b"\xff\xda")
    damaged = [  # a marker amid the pixels
        whole[:place] + b"\xff\xe0" + whole[place + 2 :] for place in range(begin + 300, len(whole) - 40, 9)
    ]
    refused_by_tensorflow = [content for content in damaged if only_pillow_decodes(content)]
    assert refused_by_tensorflow
    for content in refused_by_tensorflow:
        with pytest.raises(
            UnusableError, match=r"^truncated or damaged \(a served model could not decode it"
        ):
            examine(content)


@kinds
def test_a_whole_jpeg_is_accepted_with_whatever_is_behind_its_end(whole: bytes) -> None:
    check_jpeg(whole)
    check_jpeg(whole + b"\xff\xd8 another image")


@kinds
def test_a_jpeg_cut_off_anywhere_is_refused(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(UnusableError):
            check_jpeg(whole[:length])
