"""Validation of image files: decode once, quarantine what is unusable."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.text import list_problems

MAX_BYTES: Final = 256 * 2**20  # of a file; larger than any image within the limit of pixels
MIN_SIDE: Final = 32  # pixels, the smallest input of the models

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
IMAGE_SUFFIXES: Final = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"}  # of FORMATS
_STORED_FORMATS = ("PNG", "JPEG")  # stored unchanged: a served model can decode them
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


class UnusableError(Exception):
    """A file that is not a usable image; the message is the reason."""


@dataclass(frozen=True, order=True)
class Quarantined:
    """A file that is not ingested, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True)
class ValidImage:
    """A decoded image that can be ingested."""

    pixels: NDArray[np.uint8]  # RGB [height, width, 3]
    encoded: bytes  # PNG or JPEG: the file itself if it is one of these, else a lossless PNG


def validate_image(content: bytes) -> ValidImage:
    """Decode and validate an image file.

    Args:
        content: Bytes of a PNG, JPEG, TIFF, BMP or WebP file.

    Raises:
        UnusableError: The file is not a complete, upright 8-bit RGB image of an accepted size; the message is
            the reason.
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
        raise UnusableError(f"decompression bomb: more than {schema_names.MAX_PIXELS} pixels") from None
    except Exception as error:  # decoders raise anything on a damaged file
        raise UnusableError(f"truncated or damaged ({error})") from None
    if kind == "JPEG":
        check_jpeg(content)
    return ValidImage(pixels, content if kind in _STORED_FORMATS else _as_png(pixels))


def check_size(size: int) -> None:
    """Check the size of a file before it is read.

    Args:
        size: Bytes of the file.

    Raises:
        UnusableError: The file is larger than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise UnusableError(f"too large: {size} bytes, at most {MAX_BYTES}")


def check_header(image: Any, content: bytes) -> None:
    """Check format, size and depth before the pixels are decoded.

    Args:
        image: Image as Pillow opened it, not yet loaded.
        content: Bytes of the file, at least the first 25.

    Raises:
        UnusableError: It is not an 8-bit RGB image of an accepted size; the message is the reason.
    """
    width, height = image.size
    if width * height > schema_names.MAX_PIXELS:
        raise UnusableError(
            f"decompression bomb: {width}x{height} is more than {schema_names.MAX_PIXELS} pixels"
        )
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
    if image.format != "PNG":  # a PNG may state its orientation after the pixels
        _check_upright(image)


def _check_upright(image: Any) -> None:
    """Check that the EXIF orientation is upright: viewers apply it, TensorFlow (a served model) does not.

    Args:
        image: Image as Pillow opened it; a TIFF before it is loaded, since loading rotates it.

    Raises:
        UnusableError: The orientation is rotated or mirrored.
    """
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    if orientation in range(2, 9):
        raise UnusableError(f"EXIF orientation {orientation}, which models ignore; save it upright")


def _bits(image: Any, content: bytes) -> tuple[int, ...]:
    if image.format == "PNG":
        return (content[24],)
    if image.format == "TIFF":
        return tuple(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    return (8,)


def _check_png(content: bytes) -> None:
    """Check that all chunks are present and their checksums right, which loading does not."""
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        image.verify()
    check_png_end(content)


def check_png_end(content: bytes) -> None:
    """Check that a PNG, or the last bytes of one, ends with its last chunk.

    Raises:
        UnusableError: The chunk is missing, or bytes follow it.
    """
    if not content.endswith(PNG_END):
        problem = "there are bytes behind its end" if PNG_END in content else "its end is missing"
        raise UnusableError(f"truncated or damaged ({problem})")


def _as_png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)  # four times as fast as the default
    return buffer.getvalue()


_END: Final = 0xD9
_SCAN: Final = 0xDA
_WITHOUT_LENGTH: Final = (0x01, *range(0xD0, 0xD9))
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])", re.S)
# Within the pixels of a scan, 0xFF comes before 0x00 and restart markers only; any other byte ends the scan.
_SCAN_ENDS: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.S)


def check_jpeg(content: bytes) -> None:
    """Follow the markers of a JPEG file to the last one, as TensorFlow does.

    Pillow and TensorFlow both decode with libjpeg-turbo and pad missing pixels, but Pillow stops at the last
    row, where TensorFlow reads to the end marker. Neither minds bytes after that.

    Args:
        content: Bytes of a file that Pillow can decode.

    Raises:
        UnusableError: A segment is damaged or truncated, or the end marker is missing.
    """
    position = 2  # after the first marker
    while marker := _MARKER.match(content, position):
        kind = marker[1][0]
        if kind == _END:
            return
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        position = marker.end() + length
        if kind in _WITHOUT_LENGTH or length < 2 or position > len(content):
            break
        if kind == _SCAN:
            end = _SCAN_ENDS.search(content, position)
            position = end.start() if end else len(content)
    raise UnusableError("truncated or damaged (a served model could not decode it)")


def check_quarantine_rate(
    quarantined: Sequence[Quarantined], *, images: int, max_invalid_fraction: float, location: object
) -> None:
    """Log the quarantined files, and check that they are few enough.

    Args:
        quarantined: The unusable files.
        images: Number of usable files.
        max_invalid_fraction: Highest accepted fraction of unusable files (`data.max_invalid_fraction`).
        location: Path of the data, for the message.

    Raises:
        UserError: The fraction is higher; the message lists the first files with their reasons.
    """
    for file in quarantined:
        logging.getLogger(__name__).warning("quarantined %s: %s", file.path, file.reason)
    total = len(quarantined) + images
    if not quarantined or len(quarantined) / total <= max_invalid_fraction:
        return
    problems = [f"{file.path}: {file.reason}" for file in quarantined]
    raise UserError(
        list_problems(f"{len(quarantined)} of {total} files in {location} cannot be used", problems)
        + "\nthe log has all of them; fix or remove them, or allow more than "
        f"data.max_invalid_fraction={max_invalid_fraction:g}"
    )
