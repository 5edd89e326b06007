"""Judges an image file by decoding it once."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from components.breakhis_example_gen.check_jpeg import check_jpeg
from components.breakhis_example_gen.quarantine import UnusableError, check_size
from pipeline import features

MIN_SIDE: Final = 32  # pixels, the smallest that the models take

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_STORED_AS_THEY_ARE = ("PNG", "JPEG")  # what a served model can decode
PNG_END: Final = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk; decoders refuse a file without it
_BITS_PER_SAMPLE = 258  # the tag of TIFF
_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "RGBA": "RGB with alpha",
    "RGBX": "RGB with a fourth channel",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I": "16- or 32-bit grey",
    "F": "floating-point grey",
}


@dataclass(frozen=True)
class GoodImage:
    """An image that can be ingested."""

    pixels: NDArray[np.uint8]  # RGB [height, width, 3]
    encoded: bytes  # PNG or JPEG; the file itself where it was one of these


def examine(content: bytes) -> GoodImage:
    """Decodes an image file; TIFF, BMP and WebP are encoded anew as PNG, without loss.

    Raises:
        UnusableError: it is no whole 8-bit RGB image of a sensible size; the text says why.
    """
    if not content:
        raise UnusableError("zero bytes")
    check_size(len(content))
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check_header(image, content)
            if image.format == "PNG":
                _check_png(content)
            image.load()
            _check_upright(image)
            pixels = np.asarray(image)
            kind = image.format
    except UnusableError:
        raise
    except UnidentifiedImageError:
        raise UnusableError("not an image, or damaged in its first bytes") from None
    except Image.DecompressionBombError:
        raise UnusableError(f"decompression bomb: more than {features.MAX_PIXELS} pixels") from None
    except Exception as error:  # decoders raise anything on a damaged file
        raise UnusableError(f"truncated or damaged ({error})") from None
    if kind == "JPEG":
        check_jpeg(content)
    return GoodImage(pixels, content if kind in _STORED_AS_THEY_ARE else _as_png(pixels))


def check_header(image: Any, content: bytes) -> None:
    """Judges what stands before the pixels, so that nothing absurd is decoded.

    Args:
        image: as Pillow opened it.
        content: the file, or its first 25 bytes at least.

    Raises:
        UnusableError: it is no 8-bit RGB image of a sensible size; the text says why.
    """
    width, height = image.size
    if width * height > features.MAX_PIXELS:
        raise UnusableError(f"decompression bomb: {width}x{height} is more than {features.MAX_PIXELS} pixels")
    if min(width, height) < MIN_SIDE:
        raise UnusableError(f"too small: {width}x{height}, at least {MIN_SIDE} pixels a side are needed")
    if image.mode != "RGB":
        raise UnusableError(f"not 8-bit RGB but {_MODES.get(image.mode, image.mode)}")
    # Pillow calls 16-bit RGB, and RGB with a transparent colour, "RGB" too.
    if any(bits != 8 for bits in _bits(image, content)):
        raise UnusableError("not 8-bit RGB but 16-bit RGB")
    if "transparency" in image.info:
        raise UnusableError("not 8-bit RGB but RGB with alpha")
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise UnusableError(f"{frames} images in one file")
    if image.format != "PNG":  # which may say it behind the pixels
        _check_upright(image)


def _check_upright(image: Any) -> None:
    """Refuses what viewers turn or mirror when they show it: TensorFlow, and so a served model, does not.

    Args:
        image: as Pillow opened it; a TIFF before it is loaded, which turns it.

    Raises:
        UnusableError: its EXIF orientation is another than upright.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    if orientation in range(2, 9):
        raise UnusableError(f"EXIF orientation {orientation}, which models do not see; save it upright")


def _bits(image: Any, content: bytes) -> tuple[int, ...]:
    if image.format == "PNG":
        return (content[24],)
    if image.format == "TIFF":
        return tuple(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    return (8,)


def _check_png(content: bytes) -> None:
    """Checks that all chunks are there and their checksums right, which loading does not."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.verify()
    check_png_end(content)


def check_png_end(content: bytes) -> None:
    """Refuses a PNG, or the last bytes of one, that does not end as it must."""
    if not content.endswith(PNG_END):
        what = "there are bytes behind its end" if PNG_END in content else "its end is missing"
        raise UnusableError(f"truncated or damaged ({what})")


def _as_png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # four times as fast as the default
    return buffer.getvalue()
