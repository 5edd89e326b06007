"""Structure of PNG files: chunks and pixel stream, checked as strictly as libpng does, and so TensorFlow.

Names and rules are those of the standard, ISO/IEC 15948.
"""

from __future__ import annotations

import io
import itertools
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from knet.base.errors import UnusableError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_END: Final = b"\0\0\0\0IEND\xaeB`\x82"  # the last chunk
_MAX_SIDE: Final = 1_000_000  # pixels; libpng's limit
_READ_SIZE: Final = 8192  # bytes of an IDAT chunk that libpng decompresses at once
_MAX_TEXT: Final = 8_000_000  # bytes of a decompressed text, of which the rest is not read

_HEADER: Final = struct.Struct(">II5B")
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type


@dataclass(frozen=True, slots=True)  # a file may have millions
class Chunk:
    """A chunk of a PNG file."""

    kind: bytes  # such as IHDR
    data: bytes

    def encode(self) -> bytes:
        """Return the chunk as it is in a file."""
        checksum = zlib.crc32(self.kind + self.data)
        return struct.pack(">I", len(self.data)) + self.kind + self.data + struct.pack(">I", checksum)


@dataclass(frozen=True)
class Png:
    """A PNG file, or its part before the pixels; its header, checksums and order of chunks are valid."""

    chunks: tuple[Chunk, ...]

    @property
    def essentials(self) -> bytes:
        """The file without the chunks that change neither pixels nor orientation, and with one IDAT chunk.

        Colour profiles and most texts are such chunks. libpng ignores them; Pillow refuses those above 1 MB.
        """
        essential = [chunk for chunk in self.chunks if chunk.kind in _ESSENTIAL]
        first = [chunk.kind for chunk in essential].index(b"IDAT")
        before, behind = essential[:first], [chunk for chunk in essential[first:] if chunk.kind != b"IDAT"]
        pixels = Chunk(b"IDAT", b"".join(self._pixel_parts))
        chunks = (*before, *_orientation_texts(self.chunks), pixels, *behind)
        return SIGNATURE + b"".join(chunk.encode() for chunk in chunks)

    @property
    def _pixel_parts(self) -> list[bytes]:
        return [chunk.data for chunk in self.chunks if chunk.kind == b"IDAT"]

    def check_pixels(self) -> None:
        """Check that the pixels of an 8-bit RGB image are complete; Pillow fills missing ones with black.

        Raises:
            UnusableError: The stream is damaged, or has fewer or more pixels than the header states.
        """
        width, height, _, _, _, _, interlaced = _HEADER.unpack(self.chunks[0].data)
        row_sizes = [*_row_sizes(width, height, interlaced=bool(interlaced))]
        try:
            _check_stream(self._pixel_parts, row_sizes)
        except zlib.error as error:
            reason = str(error).rpartition(": ")[2]
            raise _damaged(f"its pixels cannot be decompressed: {reason}") from None


def read_png(content: bytes) -> Png:
    """Read a PNG file; `Png.check_pixels` checks its pixels.

    Raises:
        UnusableError: The file is truncated or damaged, or has several images; the message is the reason.
    """
    chunks = [*_read_chunks(io.BytesIO(content))]
    check_png_end(content)
    kinds = [chunk.kind for chunk in chunks]
    first, count = [*kinds, b"IDAT"].index(b"IDAT"), kinds.count(b"IDAT")
    _check_before_pixels(chunks[:first])
    if kinds[first : first + count] != [b"IDAT"] * count:
        raise _damaged("other chunks are between those of its pixels")
    for kind in (b"IHDR", b"PLTE"):
        if kind in kinds[first:]:
            raise _damaged(f"its chunk {kind.decode()} is behind the pixels")
    return Png(tuple(chunks))


def read_png_start(file: BinaryIO) -> Png:
    """Read a PNG file up to its pixels.

    Args:
        file: The file at its start.

    Raises:
        UnusableError: As for `read_png`.
    """
    chunks = [*_read_chunks(file, pixels=False)]
    _check_before_pixels([chunk for chunk in chunks if chunk.kind != b"IDAT"])
    return Png(tuple(chunks))


def check_png_end(content: bytes) -> None:
    """Check that a PNG, or the last bytes of one, ends with its last chunk.

    Raises:
        UnusableError: The chunk is missing, or bytes follow it.
    """
    if not content.endswith(_END):
        raise _damaged("there are bytes behind its end" if _END in content else "its end is missing")


def _damaged(problem: str) -> UnusableError:
    return UnusableError(f"truncated or damaged ({problem})")


def _not_an_image() -> UnusableError:
    return UnusableError("not an image, or damaged in its first bytes")


_KIND: Final = re.compile(rb"[A-Za-z]{4}")
_CRITICAL: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND")


def _read_chunks(file: BinaryIO, *, pixels: bool = True) -> Iterator[Chunk]:
    """Yield the chunks up to IEND; with `pixels` False up to the first IDAT, which is empty then."""
    try:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise _not_an_image()
        chunk = _read_chunk(file)
    except UnusableError:
        raise _not_an_image() from None
    yield chunk
    while chunk.kind != b"IEND" and (pixels or chunk.kind != b"IDAT"):
        chunk = _read_chunk(file, pixels=pixels)
        yield chunk


def _read_chunk(file: BinaryIO, *, pixels: bool = True) -> Chunk:
    start = file.read(8)
    length, kind = int.from_bytes(start[:4], "big"), start[4:]
    if len(start) < 8:
        raise _damaged("its end is missing")
    if not _KIND.fullmatch(kind):
        raise _damaged(f"{kind.decode('latin-1')!r} is no name of a chunk")
    # An upper-case letter first: the image cannot be understood without it.
    if kind[:1].isupper() and kind not in _CRITICAL:
        raise _damaged(f"it needs the unknown chunk {kind.decode()}")
    if kind == b"IDAT" and not pixels:
        return Chunk(kind, b"")
    data, checksum = file.read(length), file.read(4)
    if len(checksum) < 4:
        raise _damaged("its end is missing")
    if int.from_bytes(checksum, "big") != zlib.crc32(kind + data):
        raise _damaged(f"the checksum of its chunk {kind.decode()} is wrong")
    return Chunk(kind, data)


def _check_before_pixels(chunks: Sequence[Chunk]) -> None:
    if not chunks or chunks[0].kind != b"IHDR" or len(chunks[0].data) != _HEADER.size:
        raise _not_an_image()
    width, height, depth, colour_type, compression, filtering, interlaced = _HEADER.unpack(chunks[0].data)
    if depth not in _DEPTHS.get(colour_type, ()) or compression or filtering or interlaced > 1:
        raise _damaged("its header has unknown values")
    if not 0 < min(width, height) <= max(width, height) <= _MAX_SIDE:
        raise UnusableError(f"{width}x{height}: TensorFlow accepts sides of 1 to {_MAX_SIDE} pixels")
    kinds = [chunk.kind for chunk in chunks]
    if b"IEND" in kinds:
        raise _damaged("it has no pixels")
    for kind in (b"IHDR", b"PLTE"):
        if kinds.count(kind) > 1:
            raise _damaged(f"it has several chunks {kind.decode()}")
    for chunk in chunks:
        if chunk.kind == b"PLTE" and (len(chunk.data) % 3 or not 3 <= len(chunk.data) <= 3 * 256):
            raise _damaged("its palette has another size than 1 to 256 colours")
        if chunk.kind == b"acTL":  # animation control
            frames = int.from_bytes(chunk.data[:4], "big")
            if frames > 1 or (frames and b"fcTL" not in kinds):  # without one, the first image is a still
                raise UnusableError(f"{frames + (b'fcTL' not in kinds)} images in one file")


_ESSENTIAL: Final = (*_CRITICAL, b"tRNS", b"eXIf")
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")


def _orientation_texts(chunks: Sequence[Chunk]) -> Iterator[Chunk]:
    """Yield the texts that Pillow reads orientations from, the last one of each keyword, as plain texts."""
    texts = {chunk.data.partition(b"\0")[0]: chunk for chunk in chunks if chunk.kind in _TEXTS}
    for keyword in (b"XML:com.adobe.xmp", b"Raw profile type exif"):
        if keyword in texts:
            yield Chunk(b"tEXt", keyword + b"\0" + _text(texts[keyword]))


def _text(chunk: Chunk) -> bytes:
    """Return the text of a chunk, decompressed up to `_MAX_TEXT`; nothing if it is damaged."""
    _, _, text = chunk.data.partition(b"\0")
    compressed = chunk.kind == b"zTXt" or (chunk.kind == b"iTXt" and text[:1] == b"\1")
    if chunk.kind == b"zTXt":
        text = text[1:]  # behind the compression method
    elif chunk.kind == b"iTXt":
        text = text[2:].split(b"\0", 2)[-1]  # behind languages
    if not compressed:
        return text
    try:
        return zlib.decompressobj().decompress(text, _MAX_TEXT)
    except zlib.error:
        return b""


# First column and row, steps between columns and rows of each pass of an interlaced image.
_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def _row_sizes(width: int, height: int, *, interlaced: bool) -> Iterator[int]:
    """Yield the bytes of each row of 8-bit RGB, with its filter type."""
    for left, top, columns, rows in _PASSES if interlaced else ((0, 0, 1, 1),):
        if row_width := len(range(left, width, columns)):
            yield from itertools.repeat(1 + 3 * row_width, len(range(top, height, rows)))


def _check_stream(parts: Sequence[bytes], row_sizes: Sequence[int]) -> None:
    """Decompress a zlib stream in the steps of libpng, on which the distances depend that it accepts.

    Args:
        parts: The stream.
        row_sizes: Bytes of each row.

    Raises:
        UnusableError: The stream has fewer or more bytes than the rows.
        zlib.error: It is damaged.
    """
    inflater = zlib.decompressobj(0)  # a window of the size that the stream states
    sizes = iter(row_sizes)
    left = next(sizes, 0)  # bytes of the row, then of all rows: 0
    for part in parts:
        for start in range(0, len(part), _READ_SIZE):
            piece = part[start : start + _READ_SIZE]
            while piece and not inflater.eof:
                got = inflater.decompress(piece, max(left, 1))
                if len(got) > left:
                    raise _damaged("it has more pixels than its header states")
                left = left - len(got) or next(sizes, 0)
                piece = inflater.unconsumed_tail
    if left or not inflater.eof:
        raise _damaged("its pixels end early")
