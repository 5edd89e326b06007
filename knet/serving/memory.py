"""Memory of a server: what versions and large images take beside the model."""

from __future__ import annotations

from typing import Final

from knet.serving.models_config import Batching

# A batch decodes its images one after the other: one is decoded, one not freed yet, each of three bytes a
# pixel. With what measuring takes, benchmarks/serving.py --memory finds less than seven.
BYTES_PER_PIXEL: Final = 7


def peak_bytes(first: int, further: int, *, versions: int, max_pixels: int, batching: Batching) -> int:
    """Return the memory that a server needs at most.

    Args:
        first: bytes of the process with one version, after its warm-up.
        further: bytes of each further version.
        versions: number of versions in memory at the same time.
        max_pixels: of an image, `image.max_pixels` of the model's configuration.
        batching: batching parameters; each thread runs one batch.
    """
    images = batching.num_batch_threads * max_pixels * BYTES_PER_PIXEL
    return first + (versions - 1) * further + images
