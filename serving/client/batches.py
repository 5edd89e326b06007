"""Divides images among requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from serving.client.bad_image import BadImage
from serving.client.read_image import Image, read_image

Batch: TypeAlias = list[bytes | BadImage]

_BYTES: Final = 16 * 1024 * 1024  # of a request of several images, so that requests under way stay small


def batches(images: Iterable[Image], *, count: int) -> Iterator[Batch]:
    """At most `count` images each, and 16 MiB unless one image alone is larger; read when they are needed."""
    batch: Batch = []
    size = 0
    for image in map(read_image, images):
        weight = 0 if isinstance(image, BadImage) else len(image)
        if batch and (len(batch) == count or size + weight > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(image)
        size += weight
    if batch:
        yield batch
