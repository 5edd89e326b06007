"""Differential fuzz of PNG files: ingestion against TensorFlow (libpng) and Pillow.

    python tests/support/png_fuzz.py --cases 100000 --seed 1

Each case is a valid PNG that some edits change: header, rows, filters, zlib stream, chunks, whole file.
"""

from __future__ import annotations

import argparse
import io
import random
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@dataclass
class Chunk:
    """A chunk that may be wrong."""

    kind: bytes
    data: bytes
    length: int | None = None  # that the file states; None is the right one
    checksum: int | None = None

    def encode(self) -> bytes:
        checksum = zlib.crc32(self.kind + self.data) if self.checksum is None else self.checksum
        length = len(self.data) if self.length is None else self.length
        return struct.pack(">I", length) + self.kind + self.data + struct.pack(">I", checksum)


@dataclass
class Draft:
    """A PNG file in parts."""

    width: int = 40
    height: int = 34
    depth: int = 8
    colour_type: int = 2
    interlaced: int = 0
    compression: int = 0
    filtering: int = 0
    rows: list[bytearray] = field(default_factory=list)
    level: int = 6
    window: int = 15
    strategy: int = zlib.Z_DEFAULT_STRATEGY
    stream_edits: list[Callable[[bytes, random.Random], bytes]] = field(default_factory=list)
    cuts: int = 0  # of the stream into IDAT chunks
    between: list[Chunk] = field(default_factory=list)  # chunks amid those of the stream
    before: list[Chunk] = field(default_factory=list)
    behind: list[Chunk] = field(default_factory=list)
    chunk_edits: list[Callable[[list[Chunk], random.Random], None]] = field(default_factory=list)
    file_edits: list[Callable[[bytes, random.Random], bytes]] = field(default_factory=list)

    def make_rows(self, rng: random.Random) -> None:
        """Fill the rows with pixels, smooth ones or noise, each with a valid filter."""
        bits = self.depth * _CHANNELS[self.colour_type]
        noise = rng.random() < 0.5
        for left, top, columns, steps in _PASSES if self.interlaced else ((0, 0, 1, 1),):
            count = len(range(left, self.width, columns))
            size = (count * bits + 7) // 8
            for _ in range(len(range(top, self.height, steps)) if count else 0):
                pixels = rng.randbytes(size) if noise else bytes([rng.randrange(256)]) * size
                self.rows.append(bytearray([rng.randrange(5)]) + pixels)

    def encode(self, rng: random.Random) -> bytes:
        packer = zlib.compressobj(self.level, zlib.DEFLATED, self.window, 8, self.strategy)
        stream = b""
        for row in self.rows:
            stream += packer.compress(bytes(row))
            if self.level == 7 and rng.random() < 0.2:
                stream += packer.flush(rng.choice((zlib.Z_SYNC_FLUSH, zlib.Z_FULL_FLUSH)))
        stream += packer.flush()
        for edit in self.stream_edits:
            stream = edit(stream, rng)
        header = struct.pack(
            ">II5B",
            self.width,
            self.height,
            self.depth,
            self.colour_type,
            self.compression,
            self.filtering,
            self.interlaced,
        )
        places = sorted(rng.randrange(len(stream) + 1) for _ in range(self.cuts))
        parts = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
        data = [Chunk(b"IDAT", part) for part in parts]
        for chunk in self.between:
            data.insert(rng.randrange(len(data) + 1), chunk)
        chunks = [Chunk(b"IHDR", header), *self.before, *data, *self.behind, Chunk(b"IEND", b"")]
        for change in self.chunk_edits:
            change(chunks, rng)
        content = SIGNATURE + b"".join(chunk.encode() for chunk in chunks)
        for edit in self.file_edits:
            content = edit(content, rng)
        return content


def _text(rng: random.Random) -> Chunk:
    kind = rng.choice((b"tEXt", b"zTXt", b"iTXt", b"iCCP"))
    key = rng.choice((b"Comment", b"XML:com.adobe.xmp", b"Raw profile type exif", b"Icc", b"", b"x" * 90))
    size = rng.choice((0, 5, 300, 2_000_000 if rng.random() < 0.05 else 20))
    text = rng.choice(
        (bytes(size), b'<x tiff:Orientation="6"/>', b"\nexif\n 20\n4578696600004d4d", rng.randbytes(9))
    )
    packed = rng.choice((zlib.compress(text), text))
    joined = {
        b"tEXt": key + b"\0" + text,
        b"zTXt": key + b"\0" + bytes([rng.choice((0, 0, 0, 1))]) + packed,
        b"iCCP": key + b"\0\0" + packed,
        b"iTXt": key + b"\0" + bytes([rng.randrange(2), 0]) + b"en\0t\0" + packed,
    }
    return Chunk(kind, joined[kind])


def _palette(rng: random.Random) -> Chunk:
    return Chunk(b"PLTE", rng.randbytes(rng.choice((0, 2, 3, 6, 48, 768, 769, 771))))


def _animation(rng: random.Random) -> Chunk:
    if rng.random() < 0.5:
        return Chunk(b"acTL", struct.pack(">II", rng.choice((0, 1, 1, 2)), 0)[: rng.choice((8, 8, 4))])
    frame = struct.pack(
        ">5I2H2B",
        rng.randrange(2),
        rng.choice((40, 16)),
        rng.choice((34, 8)),
        0,
        rng.randrange(3),
        1,
        9,
        0,
        0,
    )
    return rng.choice((Chunk(b"fcTL", frame), Chunk(b"fdAT", rng.randbytes(20))))


_KNOWN = {
    b"gAMA": 4,
    b"cHRM": 32,
    b"sRGB": 1,
    b"sBIT": 3,
    b"bKGD": 6,
    b"hIST": 8,
    b"tRNS": 6,
    b"pHYs": 9,
    b"sPLT": 16,
    b"tIME": 7,
    b"eXIf": 40,
    b"cICP": 4,
    b"mDCV": 24,
    b"cLLI": 8,
    b"oFFs": 9,
    b"pCAL": 20,
    b"sCAL": 9,
    b"sTER": 1,
    b"vpAg": 9,
    b"orNT": 1,
    b"tpNG": 5,
}
_STRANGE = (
    b"ABCD",
    b"DDAT",
    b"MHDR",
    b"ab1D",
    b"a_cd",
    b"abcd",
    b"IDAt",
    b"iDAT",
    b"\0\0\0\0",
    b"IEN\xc4",
    b"CgBI",
)


def _known(rng: random.Random) -> Chunk:
    kind, size = rng.choice([*_KNOWN.items()])
    size = rng.choice((size, size, size, 0, 1, size + 1))
    return Chunk(kind, rng.choice((bytes(size), rng.randbytes(size), b"\1" * size)))


def _exif(rng: random.Random) -> Chunk:
    tag = struct.pack(">HHIHH", 0x112, 3, 1, rng.choice((1, 0, 3, 9)), 0)
    return Chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1" + tag + bytes(4))


def _chunk(rng: random.Random) -> Chunk:
    make = rng.choice((_text, _palette, _animation, _known, _known, _known, _exif, None))
    return make(rng) if make else Chunk(rng.choice(_STRANGE), rng.randbytes(rng.choice((0, 4))))


def _edit_stream(name: str, stream: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(stream) + 1)
    if name == "header":
        first = rng.choice((stream[0], rng.randrange(256), (rng.randrange(16) << 4) | 8))
        second = rng.choice((stream[1], rng.randrange(256)))
        second = second - (first * 256 + second) % 31 if rng.random() < 0.8 else second
        return bytes([first, second % 256]) + stream[2:]
    if name == "cut":
        return stream[: rng.choice((place, len(stream) - rng.randrange(1, 7)))]
    if name == "flip":
        place = rng.choice((place, len(stream) - rng.randrange(1, 5))) % max(len(stream), 1)
        return stream[:place] + bytes([stream[place] ^ (1 << rng.randrange(8))]) + stream[place + 1 :]
    if name == "extra":
        return stream + rng.choice((b"\0", rng.randbytes(7), bytes(9000), stream))
    if name == "insert":
        return stream[:place] + rng.randbytes(rng.randrange(1, 9)) + stream[place:]
    return stream[:2] + b"\0\0\0\xff\xff" * rng.randrange(1, 40) + stream[2:]  # empty blocks


_STREAM_EDITS = ("header", "cut", "flip", "extra", "insert", "blocks")


def _edit_rows(draft: Draft, rng: random.Random) -> None:
    rows = draft.rows
    match rng.randrange(6):
        case 0:
            del rows[rng.randrange(len(rows)) :]
        case 1:
            rows += [bytearray(rng.choice(rows)) for _ in range(rng.choice((1, 3, 40)))]
        case 2:
            del rows[-1][-rng.randrange(1, 9) :]
        case 3:
            rows[-1] += rng.randbytes(rng.choice((1, 2, 700)))
        case 4:
            rng.choice(rows)[0] = rng.choice((4, 5, 6, 64, 255))
        case 5:
            rows[:] = [rows[0]] * len(rows)


def _edit_header(draft: Draft, rng: random.Random) -> None:
    match rng.randrange(7):
        case 0:
            draft.width = rng.choice((0, 1, 31, 39, 41, 2**31, 1_000_001, 0x7FFFFFFF))
        case 1:
            draft.height = rng.choice((0, 1, 33, 35, 2**31, 2**32 - 1, 999_999))
        case 2:
            draft.depth = rng.choice((0, 1, 2, 3, 4, 8, 16, 32))
        case 3:
            draft.colour_type = rng.randrange(8)
        case 4:
            draft.interlaced = rng.choice((0, 1, 2, 255))
        case 5:
            draft.compression = rng.choice((0, 1, 255))
        case 6:
            draft.filtering = rng.choice((0, 1, 64, 255))


def _edit_chunks(chunks: list[Chunk], rng: random.Random) -> None:
    place, other = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    match rng.randrange(6):
        case 0:
            del chunks[place]
        case 1:
            chunks[place], chunks[other] = chunks[other], chunks[place]
        case 2:
            chunks.insert(other, chunks[place])
        case 3:
            chunks[place].checksum = rng.choice((0, rng.getrandbits(32)))
        case 4:
            size = len(chunks[place].data)
            chunks[place].length = rng.choice((size + 1, max(size - 1, 0), 0, 2**31, 2**32 - 1, 2**31 - 1))
        case 5:
            chunks[place].data += rng.choice((b"\0", rng.randbytes(4)))


def _edit_file(content: bytes, rng: random.Random) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    match rng.randrange(4):
        case 0:
            return content[:place]
        case 1:
            return content + rng.choice((b"\0", b"\n", content))
        case 2:
            return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
    return content.replace(b"\n", b"\r\n") if rng.random() < 0.5 else b"\n" + content


def _stream_edit(name: str) -> Callable[[bytes, random.Random], bytes]:
    return lambda stream, rng: _edit_stream(name, stream, rng) if stream else stream


def make_png(rng: random.Random) -> bytes:
    """Make a PNG file with up to three edits, half of the time one of 8-bit RGB."""
    draft = Draft(width=rng.choice((32, 33, 40, 61, 700)), height=rng.choice((32, 34, 47)))
    if rng.random() < 0.15:
        draft.colour_type = rng.choice((0, 3, 4, 6))
        draft.depth = rng.choice(_DEPTHS[draft.colour_type])
        if draft.colour_type == 3:
            draft.before.append(Chunk(b"PLTE", rng.randbytes(768)))
    draft.interlaced = int(rng.random() < 0.3)
    draft.make_rows(rng)
    draft.level, draft.window = rng.choice((0, 1, 6, 7, 9)), rng.choice((9, 10, 12, 15, 15))
    draft.strategy = rng.choice((zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE))
    draft.cuts = rng.choice((0, 0, 1, 3, 30))
    for _ in range(rng.randrange(4)):
        match rng.randrange(9):
            case 0 | 1:
                draft.before.insert(rng.randrange(len(draft.before) + 1), _chunk(rng))
            case 2:
                draft.behind.append(_chunk(rng))
            case 3:
                draft.between.append(rng.choice((_chunk(rng), Chunk(b"IDAT", b""))))
            case 4:
                _edit_rows(draft, rng)
            case 5:
                draft.stream_edits.append(_stream_edit(rng.choice(_STREAM_EDITS)))
            case 6:
                _edit_header(draft, rng) if rng.random() < 0.5 else draft.chunk_edits.append(_edit_chunks)
            case 7:
                draft.chunk_edits.append(_edit_chunks)
            case 8:
                draft.file_edits.append(_edit_file)
        if not draft.rows:
            break
    return draft.encode(rng)


@dataclass
class Outcome:
    """Outcomes of a fuzz.

    Attributes:
        tried: Number of files.
        accepted: Number of files that ingestion accepted.
        refused: Number of refused files by reason, without numbers.
        differences: Accepted files that TensorFlow does not decode, or decodes to other pixels.
        refused_readable: Reason and file of those refused although Pillow and TensorFlow read the same
            8-bit RGB pixels from them.
    """

    tried: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    differences: list[tuple[str, bytes]] = field(default_factory=list)
    refused_readable: list[tuple[str, bytes]] = field(default_factory=list)


def fuzz(cases: int, *, seed: int) -> Outcome:
    """Compare ingestion with TensorFlow and Pillow.

    Args:
        cases: Number of files.
        seed: Seed of the files.
    """
    from knet.base.errors import UnusableError
    from knet.data.image_checks import validate_image

    outcome = Outcome()
    for content in _files(cases, seed=seed):
        outcome.tried += 1
        try:
            pixels = validate_image(content).pixels
        except UnusableError as error:
            reason = str(error)
            outcome.refused[reason.translate({ord(digit): None for digit in "0123456789"})] += 1
            by_pillow = _decode_with_pillow(content)
            if by_pillow is not None and np.array_equal(by_pillow, _decode_with_tensorflow(content)):
                outcome.refused_readable.append((reason, content))
        else:
            outcome.accepted += 1
            decoded = _decode_with_tensorflow(content)
            if not np.array_equal(decoded, pixels):
                problem = "not decoded" if isinstance(decoded, str) else "other pixels"
                outcome.differences.append(
                    (f"{problem} {decoded if isinstance(decoded, str) else ''}", content)
                )
    return outcome


def _files(cases: int, *, seed: int) -> Iterator[bytes]:
    for case in range(cases):
        yield make_png(random.Random(f"{seed}/{case}"))


def _decode_with_tensorflow(content: bytes) -> NDArray[np.uint8] | str:
    """Return RGB pixels, or the error."""
    import tensorflow as tf

    try:
        return tf.io.decode_png(content, channels=3).numpy()
    except tf.errors.InvalidArgumentError as error:
        return str(error)


def _decode_with_pillow(content: bytes) -> NDArray[np.uint8] | None:
    """Return the pixels of an 8-bit RGB image, or None if the file cannot be read or is another image."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode != "RGB" or content[24] != 8:
                return None
            return np.asarray(image)
    except Exception:  # decoders raise anything on a damaged file
        return None


def main() -> None:
    """Print the outcome; exit with 1 if there are differences."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, help="number of files (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the files (default: %(default)s)")
    arguments = parser.parse_args()
    outcome = fuzz(arguments.cases, seed=arguments.seed)
    print(f"{outcome.tried} tried, {outcome.accepted} accepted, {outcome.refused.total()} refused:")
    for reason, count in outcome.refused.most_common():
        print(f"{count:8} {reason}")
    readable = Counter(reason for reason, _ in outcome.refused_readable)
    print(f"{readable.total()} refused though Pillow and TensorFlow read them alike:")
    for reason, count in readable.most_common():
        print(f"{count:8} {reason}")
    print(f"{len(outcome.differences)} accepted that TensorFlow does not decode alike")
    for problem, content in outcome.differences[:5]:
        print(f"  {problem}: {content[:200].hex()}")
    sys.exit(bool(outcome.differences))


if __name__ == "__main__":
    main()
