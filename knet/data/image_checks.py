"""Judges an image file by decoding it once."""

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
        raise UnusableError(f"decompression bomb: more than {schema_names.MAX_PIXELS} pixels") from None
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


_END: Final = 0xD9
_SCAN: Final = 0xDA
_WITHOUT_LENGTH: Final = (0x01, *range(0xD0, 0xD9))
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])", re.S)
# Amid the pixels of a scan, 0xFF stands before 0x00 and before restart markers; before any other, they end.
_SCAN_ENDS: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.S)


def check_jpeg(content: bytes) -> None:
    """Follows the markers of a JPEG file to the last one, as TensorFlow does.

    Both decode with libjpeg-turbo, and pad pixels that are missing before a stray marker. But Pillow is done
    when it has every row, and TensorFlow reads on to the end. Bytes behind that disturb neither.

    Args:
        content: a file that Pillow decodes.

    Raises:
        UnusableError: a segment is damaged or cut off, or the last marker is missing.
    """
    position = 2  # behind the first marker
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


MAX_BYTES: Final = 256 * 2**20  # of a file; images within the limit of pixels are smaller


class UnusableError(Exception):
    """A file is no image that can be used; the text is the reason."""


@dataclass(frozen=True, order=True)
class Quarantined:
    """A file that is not ingested."""

    path: str
    reason: str


def check_size(size: int) -> None:
    """Raises UnusableError for a file that is too large to be looked at."""
    if size > MAX_BYTES:
        raise UnusableError(f"too large: {size} bytes, at most {MAX_BYTES}")


def check_quarantine_rate(
    quarantined: Sequence[Quarantined], *, images: int, max_share: float, where: object
) -> None:
    """Logs the quarantined files, and fails when they are too large a share.

    Args:
        quarantined: the files that cannot be used.
        images: how many can.
        max_share: of the unusable among all, up to which they are only reported.
        where: the data, as the user knows them.

    Raises:
        UserError: lists the first files with their reasons.
    """
    for file in quarantined:
        logging.getLogger(__name__).warning("quarantined %s: %s", file.path, file.reason)
    total = len(quarantined) + images
    if not quarantined or len(quarantined) / total <= max_share:
        return
    problems = [f"{file.path}: {file.reason}" for file in quarantined]
    raise UserError(
        list_problems(f"{len(quarantined)} of {total} files in {where} cannot be used", problems)
        + "\nthe log has all of them; mend or remove them, or allow a larger share than "
        f"data.max_invalid_fraction={max_share:g}"
    )
