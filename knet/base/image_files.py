"""Image files: checks before and after they are decoded, and lossless conversion to PNG. Needs Pillow."""

from __future__ import annotations

import io
import re
from typing import Any, BinaryIO, Final

from PIL import ExifTags, Image, UnidentifiedImageError

from knet.base import png, schema_names
from knet.base.errors import UnusableError
from knet.base.image_formats import FORMATS, STORED_FORMATS

MAX_BYTES: Final = 256 * 2**20  # of a file; larger than any image within the limit of pixels

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


def decode_image(content: bytes) -> Image.Image:
    """Decode and check an image file.

    Args:
        content: Bytes of a PNG, JPEG, TIFF, BMP or WebP file.

    Returns:
        The image, 8-bit RGB.

    Raises:
        UnusableError: The file is not a complete, upright 8-bit RGB image of an accepted size; the message is
            the reason.
    """
    if not content:
        raise UnusableError("zero bytes")
    check_size(len(content))
    chunks = png.read_png(content) if content.startswith(png.SIGNATURE) else None
    decodable = chunks.essentials if chunks else content
    try:
        with Image.open(io.BytesIO(decodable), formats=FORMATS) as image:
            _check_header(image, decodable)
            if chunks:
                chunks.check_pixels()
            image.load()
            _check_upright(image)
    except UnusableError:
        raise
    except UnidentifiedImageError:
        raise UnusableError("not an image, or damaged in its first bytes") from None
    except Image.DecompressionBombError:
        raise UnusableError(f"decompression bomb: more than {schema_names.MAX_PIXELS} pixels") from None
    except Exception as error:  # decoders raise anything on a damaged file
        raise UnusableError(f"truncated or damaged ({error})") from None
    if image.format == "JPEG":
        check_jpeg(content)
    return image


def as_png_or_jpeg(content: bytes, image: Image.Image) -> bytes:
    """Return a file that a served model decodes: the file itself, or a lossless PNG without metadata.

    Args:
        content: Bytes of the file.
        image: The image that `decode_image` returned for it.
    """
    if image.format in STORED_FORMATS:
        return content
    buffer = io.BytesIO()
    pixels = Image.frombytes(image.mode, image.size, image.tobytes())
    pixels.save(buffer, "PNG", compress_level=1)  # four times as fast as the default
    return buffer.getvalue()


def check_size(size: int) -> None:
    """Check the size of a file before it is read.

    Args:
        size: Bytes of the file.

    Raises:
        UnusableError: The file is larger than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise UnusableError(f"too large: {size} bytes, at most {MAX_BYTES}")


def check_image_start(file: BinaryIO) -> None:
    """Check an image file without its pixels, and the last bytes of a PNG.

    Args:
        file: The file at its start, seekable.

    Raises:
        UnusableError: As for `decode_image`, as far as these bytes show.
    """
    signature = file.read(len(png.SIGNATURE))
    if not signature:
        raise UnusableError("zero bytes")
    file.seek(0)
    if signature != png.SIGNATURE:
        with Image.open(file, formats=FORMATS) as image:
            _check_header(image, signature)
        return
    start = png.read_png_start(file).essentials
    with Image.open(io.BytesIO(start), formats=FORMATS) as image:
        _check_header(image, start)
    size = file.seek(0, io.SEEK_END)
    file.seek(-min(_END, size), io.SEEK_END)
    png.check_png_end(file.read())


_END: Final = 1024  # bytes; they include the end of a PNG, and bytes after it if there are any


def _check_header(image: Any, content: bytes) -> None:
    """Check format, size and depth before the pixels are decoded.

    Args:
        image: Image as Pillow opened it, not yet loaded.
        content: First bytes of the file.
    """
    width, height = image.size
    if width * height > schema_names.MAX_PIXELS:
        raise UnusableError(
            f"decompression bomb: {width}x{height} is more than {schema_names.MAX_PIXELS} pixels"
        )
    if min(width, height) < schema_names.MIN_SIDE:
        raise UnusableError(
            f"{schema_names.TOO_SMALL}: {width}x{height}, at least {schema_names.MIN_SIDE} pixels a side are "
            "needed"
        )
    if image.mode != "RGB":
        raise _other_kind(_MODES.get(image.mode, image.mode))
    # Pillow calls 16-bit RGB, and RGB with a transparent colour, "RGB" too.
    if any(bits != 8 for bits in _bits(image, content)):
        raise _other_kind("16-bit RGB")
    if "transparency" in image.info:
        raise _other_kind("RGB with alpha")
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise UnusableError(f"{frames} images in one file")
    if image.format != "PNG":  # a PNG may state its orientation after the pixels
        _check_upright(image)


def _other_kind(kind: str) -> UnusableError:
    return UnusableError(f"{schema_names.NOT_RGB} but {kind}")


def _check_upright(image: Any) -> None:
    """Check that the EXIF orientation is upright: viewers apply it, TensorFlow (a served model) does not.

    Args:
        image: Image as Pillow opened it; a TIFF before it is loaded, since loading rotates it.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises anything on damaged EXIF
        raise UnusableError("its EXIF data are damaged, and with them its orientation; remove them") from None
    if orientation in range(2, 9):
        raise UnusableError(f"EXIF orientation {orientation}, which models ignore; save it upright")


def _bits(image: Any, content: bytes) -> tuple[int, ...]:
    if image.format == "PNG":
        return (content[24],)
    if image.format == "TIFF":
        return tuple(image.tag_v2.get(_BITS_PER_SAMPLE, (8,)))
    return (8,)


_END_OF_IMAGE: Final = 0xD9
_OTHER_FRAMES: Final = (0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF)  # lossless and hierarchical
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
        UnusableError: A segment is damaged or truncated, the end marker is missing, or it is a lossless JPEG.
    """
    position = 2  # after the first marker
    while marker := _MARKER.match(content, position):
        kind = marker[1][0]
        if kind == _END_OF_IMAGE:
            return
        if kind in _OTHER_FRAMES:
            raise UnusableError("a lossless JPEG, which a served model cannot decode; save it as PNG")
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        position = marker.end() + length
        if kind in _WITHOUT_LENGTH or length < 2 or position > len(content):
            break
        if kind == _SCAN:
            end = _SCAN_ENDS.search(content, position)
            position = end.start() if end else len(content)
    raise UnusableError("truncated or damaged (a served model could not decode it)")
