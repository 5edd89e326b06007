"""Structure of PNG files, against TensorFlow's libpng."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable

import pytest
import tensorflow as tf
from PIL import Image
from png_fuzz import Chunk, fuzz

from knet.base.errors import UnusableError
from knet.base.image_files import check_image_start, decode_image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDTH, HEIGHT = 40, 32
ROWS = HEIGHT * (b"\0" + WIDTH * b"\x80\x10\x70")
HEADER = Chunk(b"IHDR", struct.pack(">II5B", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
PIXELS = Chunk(b"IDAT", zlib.compress(ROWS))
END = Chunk(b"IEND", b"")
# Refusals of files that Pillow and TensorFlow read alike: they are damaged, or no single upright RGB image.
TRUE_REASONS = (
    "truncated or damaged (the checksum of its chunk ",
    "truncated or damaged (its pixels cannot be decompressed: incorrect data check)",
    "truncated or damaged (its pixels cannot be decompressed: invalid distance too far back)",
    "truncated or damaged (its pixels end early)",  # the checksum of the pixels is missing
    "truncated or damaged (it has more pixels than its header states)",
    "truncated or damaged (there are bytes behind its end)",
    "truncated or damaged (its end is missing)",
    "truncated or damaged (its chunk PLTE is behind the pixels)",
    "truncated or damaged (it has several chunks PLTE)",
    "truncated or damaged (its palette has another size than 1 to 256 colours)",
    "truncated or damaged (other chunks are between those of its pixels)",
    "its EXIF data are damaged",
    "EXIF orientation ",
    "not 8-bit RGB but RGB with alpha",
    "too small: ",
    "2 images in one file",
    "3 images in one file",
)


def png(*chunks: Chunk) -> bytes:
    return SIGNATURE + b"".join(chunk.encode() for chunk in chunks)


def with_pixels(stream: bytes) -> bytes:
    return png(HEADER, Chunk(b"IDAT", stream), END)


def decoded(content: bytes) -> bytes:
    return bytes(tf.io.decode_image(content, channels=3).numpy().tobytes())


@pytest.mark.filterwarnings("ignore:Invalid APNG:UserWarning")
def test_fuzzed_png_is_accepted_only_if_tensorflow_decodes_it_alike() -> None:
    outcome = fuzz(int(os.environ.get("KNET_FUZZ_CASES", "1500")), seed=0)
    assert outcome.tried == outcome.accepted + outcome.refused.total()
    assert outcome.accepted > outcome.tried / 5 and outcome.refused.total() > outcome.tried / 5
    assert [problem for problem, _ in outcome.differences] == []
    assert [r for r, _ in outcome.refused_readable if not r.startswith(TRUE_REASONS)] == []


@pytest.mark.parametrize("rows", [1, HEIGHT // 2, HEIGHT - 1])
def test_png_with_a_short_but_valid_pixel_stream_is_refused(rows: int) -> None:
    content = with_pixels(zlib.compress(ROWS[: rows * (1 + 3 * WIDTH)]))
    with Image.open(io.BytesIO(content)) as image:
        image.load()  # fills the other rows with black
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(content)
    with pytest.raises(UnusableError, match=r"^truncated or damaged \(its pixels end early\)$"):
        decode_image(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (with_pixels(zlib.compress(ROWS)[:-1]), "its pixels end early"),
        (with_pixels(zlib.compress(ROWS + b"\0")), "it has more pixels than its header states"),
        (with_pixels(zlib.compress(ROWS)[:-1] + b"\0"), "cannot be decompressed: incorrect data check"),
        (with_pixels(b"\x18" + zlib.compress(ROWS)[1:]), "cannot be decompressed: incorrect header check"),
        (with_pixels(b"\x88\x1c" + zlib.compress(ROWS)[2:]), "cannot be decompressed: invalid window size"),
        (png(HEADER, END), "it has no pixels"),
        (png(HEADER, PIXELS, Chunk(b"tIME", bytes(7)), PIXELS, END), "other chunks are between those"),
        (png(HEADER, Chunk(b"ABCD", b""), PIXELS, END), "it needs the unknown chunk ABCD"),
        (png(HEADER, PIXELS, Chunk(b"ABCD", b""), END), "it needs the unknown chunk ABCD"),
        (png(HEADER, Chunk(b"ab1d", b""), PIXELS, END), "'ab1d' is no name of a chunk"),
        (png(HEADER, Chunk(b"PLTE", b""), PIXELS, END), "its palette has another size"),
        (png(HEADER, HEADER, PIXELS, END), "it has several chunks IHDR"),
        (png(HEADER, PIXELS, HEADER, END), "its chunk IHDR is behind the pixels"),
        (png(HEADER, Chunk(b"tEXt", b"a\0b", checksum=1), PIXELS, END), "the checksum of its chunk tEXt is"),
    ],
)
def test_png_with_a_damaged_structure_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UnusableError, match=f"^truncated or damaged .*{reason}"):
        decode_image(content)


def test_png_whose_distances_exceed_its_window_is_refused() -> None:
    noise = os.urandom(3 * WIDTH)
    rows = b"".join(b"\0" + noise for _ in range(HEIGHT))
    stream = zlib.compress(rows, 9)  # it repeats rows at a distance of 121 bytes
    assert decoded(with_pixels(stream)) == noise * HEIGHT == decode_image(with_pixels(stream)).tobytes()
    far = zlib.compressobj(9, zlib.DEFLATED, 15)
    shuffled = b"".join(b"\0" + part for part in [os.urandom(3 * WIDTH) for _ in range(8)] * (HEIGHT // 8))
    stream = far.compress(shuffled) + far.flush()  # at a distance of 968 bytes
    narrow = bytes([0x08, 0x1D]) + stream[2:]  # states a window of 256 bytes
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(with_pixels(narrow))
    with pytest.raises(UnusableError, match="cannot be decompressed: invalid distance too far back"):
        decode_image(with_pixels(narrow))


@pytest.mark.parametrize(
    "stream",
    [
        zlib.compress(ROWS),
        zlib.compress(ROWS, 0),
        zlib.compress(ROWS) + b"behind it",
        zlib.compress(ROWS) + bytes(9_000_000),
        zlib.compress(ROWS)[:2] + b"\0\0\0\xff\xff" * 2_000_000 + zlib.compress(ROWS)[2:],
    ],
    ids=["compressed", "stored", "bytes behind it", "many bytes behind it", "empty blocks"],
)
def test_png_with_another_valid_stream_is_accepted(stream: bytes) -> None:
    assert decode_image(with_pixels(stream)).tobytes() == decoded(with_pixels(stream))


def compressed(size: int) -> bytes:
    return zlib.compress(os.urandom(1000) + bytes(size))


LARGE = 3_000_000
LARGE_CHUNKS = {
    "profile": Chunk(b"iCCP", b"icc\0\0" + compressed(LARGE)),
    "profile that does not compress": Chunk(b"iCCP", b"icc\0\0" + zlib.compress(os.urandom(LARGE))),
    "text": Chunk(b"tEXt", b"Comment\0" + LARGE * b"x"),
    "text above libpng's limit": Chunk(b"tEXt", b"Comment\0" + 9_000_000 * b"x"),
    "unknown chunk above libpng's limit": Chunk(b"teSt", bytes(9_000_000)),
    "compressed text": Chunk(b"zTXt", b"Comment\0\0" + compressed(LARGE)),
    "international text": Chunk(b"iTXt", b"Comment\0\1\0en\0\0" + compressed(LARGE)),
    "compressed XMP": Chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + compressed(LARGE)),
    "compressed EXIF": Chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\n" * LARGE)),
    "bomb": Chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(400_000_000), 9)),
}


@pytest.mark.parametrize("chunk", LARGE_CHUNKS.values(), ids=LARGE_CHUNKS)
@pytest.mark.parametrize("copies", [1, 3])
def test_png_with_a_large_profile_or_text_is_accepted(chunk: Chunk, copies: int) -> None:
    content = png(HEADER, *copies * [chunk], PIXELS, END)
    assert decode_image(content).tobytes() == decoded(content)
    check_image_start(io.BytesIO(content))


XMP = b'<x tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        Chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0en\0t\0" + zlib.compress(bytes(LARGE) + XMP)),
        Chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(XMP)),
        Chunk(b"tEXt", b"XML:com.adobe.xmp\0" + XMP),
    ],
)
@pytest.mark.parametrize("order", [lambda text: (text, PIXELS), lambda text: (PIXELS, text)])
def test_png_orientation_is_read_from_any_text(
    chunk: Chunk, order: Callable[[Chunk], tuple[Chunk, Chunk]]
) -> None:
    with pytest.raises(UnusableError, match="^EXIF orientation 6"):
        decode_image(png(HEADER, *order(chunk), END))


def test_png_of_an_animation_with_one_frame_is_accepted() -> None:
    frame = Chunk(b"fcTL", struct.pack(">5I2H2B", 0, WIDTH, HEIGHT, 0, 0, 1, 9, 0, 0))
    once = Chunk(b"acTL", struct.pack(">II", 1, 0))
    content = png(HEADER, once, frame, PIXELS, END)
    assert decode_image(content).tobytes() == decoded(content)
    with pytest.raises(UnusableError, match="^2 images in one file$"):
        decode_image(png(HEADER, once, PIXELS, END))  # a still, and one frame
