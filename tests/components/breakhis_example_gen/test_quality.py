"""Which images are good, and the reason why each other is not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from components.breakhis_example_gen.quality import examine
from components.breakhis_example_gen.quarantine import UnusableError
from pipeline import features

Picture = Callable[..., bytes]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*, width: int = 40, height: int = 40, bits: int = 8, rows: int = 40, extra: bytes = b"") -> bytes:
    """An RGB PNG whose header says what it is told to."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(rows * (b"\0" + width % 1000 * bits // 8 * b"\x80\x10\x70")))
    return SIGNATURE + header + extra + pixels + chunk(b"IEND")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(700, 460), (700, 456), (224, 224), (32, 32)])
def test_an_8_bit_rgb_png_of_any_size_is_good_and_kept_as_it_is(picture: Picture, size: Any) -> None:
    content = picture(size=size, colour=(1, 2, 3))
    good = examine(content)
    assert good.encoded == content
    assert good.pixels.shape == (size[1], size[0], 3) and good.pixels.dtype == np.uint8
    assert (good.pixels == (1, 2, 3)).all()


def test_a_jpeg_is_kept_as_it_is(picture: Picture) -> None:
    content = picture(kind="JPEG")
    assert examine(content).encoded == content


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "WEBP"])
def test_what_a_served_model_cannot_decode_becomes_a_png_of_the_same_pixels(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    good = examine(saved(Image.fromarray(pixels), kind, **options))
    np.testing.assert_array_equal(good.pixels, pixels)
    assert good.encoded.startswith(SIGNATURE)
    np.testing.assert_array_equal(examine(good.encoded).pixels, pixels)


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
def test_a_png_of_another_kind_is_named(picture: Picture, mode: str, reason: str) -> None:
    with pytest.raises(UnusableError, match=f"^not 8-bit RGB but {reason}$"):
        examine(picture(mode))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_a_cmyk_image_is_named(picture: Picture, kind: str) -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but CMYK$"):
        examine(picture("CMYK", kind))


def test_a_grey_jpeg_is_named(picture: Picture) -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but grey$"):
        examine(picture("L", "JPEG"))


def test_a_16_bit_rgb_png_is_named() -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but 16-bit RGB$"):
        examine(png(bits=16))


def test_a_16_bit_rgb_tiff_is_named(picture: Picture) -> None:
    content = picture(kind="TIFF")
    # The three values of BitsPerSample stand behind the tags.
    assert content.count(struct.pack("<3H", 8, 8, 8)) == 1
    with pytest.raises(UnusableError, match="^not 8-bit RGB but 16-bit RGB$"):
        examine(content.replace(struct.pack("<3H", 8, 8, 8), struct.pack("<3H", 16, 16, 16)))


def test_a_png_with_a_transparent_colour_is_named() -> None:
    with pytest.raises(UnusableError, match="^not 8-bit RGB but RGB with alpha$"):
        examine(png(extra=chunk(b"tRNS", bytes(6))))


def test_several_images_in_one_file_are_named(picture: Picture) -> None:
    pages = [Image.new("RGB", (40, 40), (n, n, n)) for n in range(3)]
    with pytest.raises(UnusableError, match="^3 images in one file$"):
        examine(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


def with_orientation(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(Image.new("RGB", (40, 32)), kind, exif=exif)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [2, 6])
def test_an_image_that_is_to_be_turned_is_named(kind: str, orientation: int) -> None:
    with pytest.raises(UnusableError, match=f"^EXIF orientation {orientation}, which models do not see"):
        examine(with_orientation(kind, orientation))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [0, 1])
def test_an_image_that_is_upright_by_its_exif_is_good(kind: str, orientation: int) -> None:
    assert examine(with_orientation(kind, orientation)).pixels.shape == (32, 40, 3)


def test_a_png_that_says_behind_its_pixels_that_it_is_to_be_turned_is_named() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    whole = png()
    end = whole.index(chunk(b"IEND"))
    with pytest.raises(UnusableError, match="^EXIF orientation 3"):
        examine(whole[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + whole[end:])


@pytest.mark.parametrize(("width", "height"), [(31, 500), (500, 31), (1, 1)])
def test_a_small_image_is_named_with_its_size(picture: Picture, width: int, height: int) -> None:
    with pytest.raises(UnusableError, match=f"^too small: {width}x{height}, at least 32 pixels a side"):
        examine(picture(size=(width, height)))


@pytest.mark.parametrize(("width", "height"), [(features.MAX_PIXELS // 1000 + 1, 1000), (100_000, 100_000)])
def test_a_decompression_bomb_is_named_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises(UnusableError, match="^decompression bomb: "):
        examine(png(width=width, height=height, rows=0))


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
def test_what_is_no_image_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableError, match=f"^{reason}"):
        examine(content)


def test_a_png_cut_off_anywhere_is_unusable(picture: Picture) -> None:
    whole = picture()
    for length in range(len(whole)):
        with pytest.raises(UnusableError):
            examine(whole[:length])


@given(position=st.integers(0), change=st.integers(1, 255))
def test_a_png_with_any_byte_changed_is_unusable(position: int, change: int, picture: Picture) -> None:
    content = bytearray(picture(colour=(200, 80, 160)))
    content[position % len(content)] ^= change
    with pytest.raises(UnusableError):
        examine(bytes(content))


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused_with_a_reason(content: bytes) -> None:
    for begin in (b"", SIGNATURE, b"\xff\xd8\xff", b"II*\0", b"BM", b"RIFF"):
        with pytest.raises(UnusableError, match="."):
            examine(begin + content)


def test_all_real_images_are_good(shared_data: Path) -> None:
    paths = [*(shared_data / "breakhis_real").rglob("*.png"), *(shared_data / "ood").rglob("*.tif")]
    assert len(paths) == 124
    sizes = {examine(path.read_bytes()).pixels.shape for path in paths}
    assert sizes == {(460, 700, 3), (456, 700, 3), (768, 896, 3)}
