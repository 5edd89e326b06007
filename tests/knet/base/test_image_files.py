"""Checks of image files, PNG structure apart (see test_png.py)."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from knet.base import schema_names
from knet.base.errors import UnusableError
from knet.base.image_files import MAX_BYTES, check_jpeg, check_size, decode_image

Picture = Callable[..., bytes]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*, width: int = 40, height: int = 40, bits: int = 8, rows: int = 40, extra: bytes = b"") -> bytes:
    """An RGB PNG with a header of any size and depth."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows * (b"\0" + width % 1000 * bits // 8 * b"\x80\x10\x70")))
    return SIGNATURE + header + extra + pixels + chunk(b"IEND")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("1", "black and white"),
        ("L", "grey"),
        ("LA", "grey with alpha"),
        ("P", "palette"),
        ("RGBA", "RGB with alpha"),
        ("I;16", "16-bit grey"),
    ],
)
def test_decode_image_names_another_mode_of_png(picture: Picture, mode: str, reason: str) -> None:
    with pytest.raises(UnusableError, match=f"^not 8-bit RGB but {reason}$"):
        decode_image(picture(mode))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_decode_image_names_cmyk(picture: Picture, kind: str) -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but CMYK$"):
        decode_image(picture("CMYK", kind))


def test_decode_image_names_a_grey_jpeg(picture: Picture) -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but grey$"):
        decode_image(picture("L", "JPEG"))


def test_decode_image_names_a_16_bit_rgb_png() -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but 16-bit RGB$"):
        decode_image(png(bits=16))


def test_decode_image_names_a_16_bit_rgb_tiff(picture: Picture) -> None:
    content = picture(kind="TIFF")
    # The three values of BitsPerSample are after the tags.
    assert content.count(struct.pack("<3H", 8, 8, 8)) == 1
    with pytest.raises(UnusableError, match="^not 8-bit RGB but 16-bit RGB$"):
        decode_image(content.replace(struct.pack("<3H", 8, 8, 8), struct.pack("<3H", 16, 16, 16)))


def test_decode_image_names_a_transparent_colour() -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but RGB with alpha$"):
        decode_image(png(extra=chunk(b"tRNS", bytes(6))))


def test_decode_image_names_several_images(picture: Picture) -> None:
    pages = [Image.new("RGB", (40, 40), (n, n, n)) for n in range(3)]
    with pytest.raises(UnusableError, match="^3 images in one file$"):
        decode_image(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


def with_orientation(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(Image.new("RGB", (40, 32)), kind, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [2, 6])
def test_decode_image_names_a_rotated_orientation(kind: str, orientation: int) -> None:
    with pytest.raises(UnusableError, match=f"^EXIF orientation {orientation}, which models ignore"):
        decode_image(with_orientation(kind, orientation))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [0, 1])
def test_decode_image_accepts_an_upright_orientation(kind: str, orientation: int) -> None:
    assert decode_image(with_orientation(kind, orientation)).size == (40, 32)


def test_decode_image_reads_orientation_after_the_pixels() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    whole = png()
    end = whole.index(chunk(b"IEND"))
    with pytest.raises(UnusableError, match="^EXIF orientation 3"):
        decode_image(whole[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + whole[end:])


@pytest.mark.parametrize(("width", "height"), [(31, 500), (500, 31), (1, 1)])
def test_decode_image_names_a_small_size(picture: Picture, width: int, height: int) -> None:
    with pytest.raises(UnusableError, match=f"^too small: {width}x{height}, at least 32 pixels a side"):
        decode_image(picture(size=(width, height)))


@pytest.mark.parametrize(
    ("width", "height"), [(schema_names.MAX_PIXELS // 1000 + 1, 1000), (100_000, 100_000)]
)
def test_decode_image_does_not_decode_a_bomb(width: int, height: int) -> None:
    with pytest.raises(UnusableError, match="^decompression bomb: "):
        decode_image(png(width=width, height=height, rows=0))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "zero bytes"),
        (b"not an image", "not an image, or damaged in its first bytes"),
        (SIGNATURE, "not an image, or damaged in its first bytes"),
        (b"GIF89a" + bytes(100), "not an image, or damaged in its first bytes"),
        (png(rows=0), "truncated or damaged"),
        (png()[: -len(chunk(b"IEND"))], "truncated or damaged"),
        (png() + b"\n", r"truncated or damaged \(there are bytes behind its end\)"),
    ],
)
def test_decode_image_names_other_content(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableError, match=f"^{reason}"):
        decode_image(content)


def test_decode_image_refuses_any_truncated_png(picture: Picture) -> None:
    whole = picture()
    for length in range(len(whole)):
        with pytest.raises(UnusableError):
            decode_image(whole[:length])


@given(position=st.integers(0), change=st.integers(1, 255))
def test_decode_image_refuses_a_png_with_any_byte_changed(
    position: int, change: int, picture: Picture
) -> None:
    content = bytearray(picture(colour=(200, 80, 160)))
    content[position % len(content)] ^= change
    with pytest.raises(UnusableError):
        decode_image(bytes(content))


@given(st.binary(max_size=300))
def test_decode_image_of_any_bytes_returns_or_states_a_reason(content: bytes) -> None:
    for begin in (b"", SIGNATURE, b"\xff\xd8\xff", b"II*\0", b"BM", b"RIFF"):
        with pytest.raises(UnusableError, match="."):
            decode_image(begin + content)


def test_decode_image_accepts_all_real_images(shared_data: Path) -> None:
    paths = [*(shared_data / "breakhis_real").rglob("*.png"), *(shared_data / "ood").rglob("*.tif")]
    assert len(paths) == 124
    sizes = {decode_image(path.read_bytes()).size for path in paths}
    assert sizes == {(700, 460), (700, 456), (896, 768)}


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
def test_decode_image_accepts_only_what_tensorflow_decodes(
    edits: list[tuple[int, bytes, int]], whole: bytes
) -> None:
    content = whole
    for place, put, taken in edits:
        start = 2 + place % (len(content) - 1)
        content = content[:start] + put + content[start + taken :]
    try:
        accepted = decode_image(content)
    except UnusableError:
        return
    assert tf.io.decode_jpeg(content, channels=3).shape == (accepted.height, accepted.width, 3)


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


def test_check_jpeg_refuses_what_only_pillow_decodes() -> None:
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
            decode_image(content)


def test_decode_image_names_a_lossless_jpeg() -> None:
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 17, 8, 40, 40, 3) + b"R\x11\0G\x11\0B\x11\0"
    table = b"\xff\xc4" + struct.pack(">HB", 28, 0) + bytes([0, 0, 0, 9, *12 * [0]]) + bytes(range(9))
    scan = b"\xff\xda" + struct.pack(">HB", 12, 3) + b"R\0G\0B\0\1\0\0" + bytes(40 * 40 * 3 // 2)  # no change
    content = b"\xff\xd8" + frame + table + scan + b"\xff\xd9"
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_jpeg(content)
    with pytest.raises(
        UnusableError, match="^a lossless JPEG, which a served model cannot decode; save it as"
    ):
        decode_image(content)


@kinds
def test_check_jpeg_accepts_bytes_after_the_end(whole: bytes) -> None:
    check_jpeg(whole)
    check_jpeg(whole + b"\xff\xd8 another image")


@kinds
def test_check_jpeg_refuses_any_truncated_jpeg(whole: bytes) -> None:
    for length in range(len(whole)):
        with pytest.raises(UnusableError):
            check_jpeg(whole[:length])


def test_check_size_refuses_a_file_larger_than_any_image() -> None:
    check_size(MAX_BYTES)
    with pytest.raises(UnusableError, match="too large: 268435457 bytes, at most 268435456"):
        check_size(MAX_BYTES + 1)
