"""The graph measures what ingestion measures."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from png_fuzz import Chunk

from knet.base import schema_names
from knet.base.errors import UnusableError
from knet.base.image_files import decode_image
from knet.base.image_scalars import image_scalars
from knet.data.image_checks import validate_image
from knet.models.images import (
    GlobalContrastNormalization,
    decode_and_measure,
    decode_images,
    laplacian_variance,
    tissue_fraction,
)


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.arange(256, dtype="uint8")[None, :, None], (9, 1, 3))  # every green value
    return [
        rng.integers(0, 256, (60, 91, 3), dtype="uint8"),
        *(rng.integers(0, 256, (rows, 5, 3), dtype="uint8") for rows in (128, 129, 130, 131, 300)),
        rng.integers(120, 200, (3, 3, 3), dtype="uint8"),
        ramp,
        np.zeros((5, 4, 3), "uint8"),
        np.full((5, 4, 3), 255, "uint8"),
    ]


@pytest.mark.parametrize("pixels", images(), ids=lambda pixels: f"{pixels.shape[0]}-{pixels.max()}")
def test_image_measurements_equal_those_of_ingestion(pixels: np.ndarray) -> None:
    scalars = image_scalars(pixels)
    assert float(tissue_fraction(pixels)) == pytest.approx(scalars[schema_names.TISSUE_FRACTION], abs=1e-6)
    assert float(laplacian_variance(pixels)) == pytest.approx(
        scalars[schema_names.LAPLACIAN], rel=1e-5, abs=1e-6
    )


_MEMORY = """
import io, resource
import tensorflow as tf
from PIL import Image
from knet.models.images import decode_and_measure

def peak(images):
    decode(tf.constant(images))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def png(side):
    file = io.BytesIO()
    Image.new("RGB", (side, side), (200, 120, 180)).save(file, "png")
    return file.getvalue()

spec = tf.TensorSpec([None], tf.string)
decode = tf.function(lambda images: decode_and_measure(images, size=64), input_signature=[spec])
before = peak([png(64)])
print((peak([png(7900)] * 4) - before) / 7900**2)
"""


@pytest.mark.slow
def test_decoding_several_large_images_needs_the_memory_of_one() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", _MEMORY], env=environment, capture_output=True, text=True, check=True
    )
    # Bytes a pixel: 3 for an image, as many for one that is not freed yet; a float map of one would take 4.
    assert float(result.stdout) < 10


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (2, 9, 3)])
def test_laplacian_variance_of_a_tiny_image_is_0(shape: tuple[int, ...]) -> None:
    assert float(laplacian_variance(np.full(shape, 7, "uint8"))) == 0


def test_contrast_normalization_has_mean_0_and_deviation_1() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    normalised = np.asarray(GlobalContrastNormalization()(pixels))
    np.testing.assert_allclose(normalised.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(1, 2, 3)), 1, atol=1e-4)


def test_contrast_normalization_of_a_constant_image_is_0() -> None:
    pixels = np.full((1, 4, 4, 3), 200, dtype="float32")
    np.testing.assert_array_equal(GlobalContrastNormalization()(pixels), 0)


def png(depth: int, colour_type: int, *, channels: int, before: bytes = b"", texts: bytes = b"") -> bytes:
    rows = 40 * (b"\0" + bytes((40 * channels * depth + 7) // 8))
    header = Chunk(b"IHDR", struct.pack(">II5B", 40, 40, depth, colour_type, 0, 0, 0)).encode()
    pixels = Chunk(b"IDAT", zlib.compress(rows)).encode()
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + texts + Chunk(b"IEND", b"").encode()


PALETTE = Chunk(b"PLTE", bytes(6)).encode()
TRANSPARENT = Chunk(b"tRNS", bytes(6)).encode()
FILES = {
    "RGB": png(8, 2, channels=3),
    "RGB with a palette for viewers": png(8, 2, channels=3, before=PALETTE),
    "RGB with a text like a chunk": png(8, 2, channels=3, texts=Chunk(b"tEXt", b"a\0tRNS").encode()),
    "RGB with a transparent colour": png(8, 2, channels=3, before=TRANSPARENT),
    "16-bit RGB": png(16, 2, channels=3),
    "grey": png(8, 0, channels=1),
    "16-bit grey": png(16, 0, channels=1),
    "black and white": png(1, 0, channels=1),
    "grey with alpha": png(8, 4, channels=2),
    "palette": png(8, 3, channels=1, before=PALETTE),
    "palette of 1 bit": png(1, 3, channels=1, before=PALETTE),
    "RGB with alpha": png(8, 6, channels=4),
    "16-bit RGB with alpha": png(16, 6, channels=4),
}


def reason(content: bytes) -> str | None:
    """The reason of ingestion, without its particulars."""
    try:
        decode_image(content)
    except UnusableError as error:
        return str(error).partition(" but ")[0].partition(":")[0]
    return None


def reason_of_graph(content: bytes) -> str | None:
    _, measured = decode_and_measure(tf.constant([content]), size=32)
    if measured.side.numpy()[0] < schema_names.MIN_SIDE:
        return schema_names.TOO_SMALL
    return None if measured.rgb.numpy()[0] else schema_names.NOT_RGB


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_graph_measures_the_depth_and_channels_of_png_that_ingestion_refuses(content: bytes) -> None:
    assert reason_of_graph(content) == reason(content)


@pytest.mark.parametrize(
    ("mode", "kind", "size"),
    [
        *(("RGB", kind, size) for kind in ("PNG", "JPEG") for size in ((32, 32), (31, 90), (90, 31), (1, 1))),
        ("L", "JPEG", (40, 40)),
        ("CMYK", "JPEG", (40, 40)),
    ],
)
def test_graph_measures_what_ingestion_refuses(
    picture: Callable[..., bytes], mode: str, kind: str, size: tuple[int, int]
) -> None:
    content = picture(mode, kind, size)
    assert reason_of_graph(content) == reason(content)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}])
def test_graph_calls_any_colour_jpeg_rgb(options: dict[str, bool | int]) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((40, 40), 50).convert("RGB").save(buffer, "JPEG", **options)
    assert reason_of_graph(buffer.getvalue()) is reason(buffer.getvalue()) is None


@pytest.mark.parametrize(
    "options",
    [{}, {"quality": 100}, {"quality": 5}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}],
)
def test_decode_images_gives_the_pixels_of_ingestion(options: dict[str, bool | int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind, **(options if kind == "JPEG" else {}))
        (decoded,) = decode_images(tf.constant([buffer.getvalue()]), size=40)
        np.testing.assert_array_equal(decoded, validate_image(buffer.getvalue()).pixels)


def test_graph_flags_no_real_image(shared_data: Path) -> None:
    paths = [*(shared_data / "breakhis_real").rglob("*.png")]
    assert len(paths) == 116
    assert {reason_of_graph(path.read_bytes()) for path in paths} == {None}
