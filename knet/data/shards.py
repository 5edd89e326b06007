"""Shards of the examples: the images of each TFRecord file, and the manifests that workers read them from."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from knet.base import artifact_files, schema_names
from knet.data.source import ImageFile

IMAGES_PER_SHARD: Final = 32  # files of about 16 MB; enough of them to keep several workers busy
SHARD_BYTES: Final = 128 * 2**20  # of images; a larger file would hold back the worker that has it at the end
_SMALL_SHARDS: Final = 256  # of a split; once there are so many, they grow up to SHARD_BYTES instead
_BUFFER: Final = 16 * 2**20  # characters of manifests in memory


@dataclass(frozen=True)
class Shard:
    """A TFRecord file."""

    split: str
    number: int  # index among the shards of the split, from 0
    count: int  # number of shards of the split

    @property
    def name(self) -> str:
        """Name that no other shard has, for a file."""
        return f"{self.split}-{self.number:05}"

    @property
    def file(self) -> str:
        """Path of the file, relative to the folder of the examples."""
        return (
            f"{artifact_files.split_folder(self.split)}/data_tfrecord-{self.number:05}-of-{self.count:05}.gz"
        )


@dataclass(frozen=True)
class ShardPlan:
    """Shards, and the place of each image in them."""

    shards: tuple[Shard, ...]
    starts: NDArray[
        np.int64
    ]  # [shards + 1]: place of the first image of each shard, then the number of images
    places: NDArray[np.int64]  # [images] in the order of the catalog: place in the shards one after the other

    def images_in(self, shard: int) -> int:
        """Return the number of images of a shard, given its index."""
        return int(self.starts[shard + 1] - self.starts[shard])


def plan_shards(
    images: Iterable[ImageFile], split_of: Callable[[ImageFile], str], *, seed: int, image_bytes: int
) -> ShardPlan:
    """Divide the images of each split into shards; a split without images gets one empty shard.

    Images are ordered by a hash of seed and path. That is random enough for a training that shuffles within a
    window, and independent of the number of workers.

    Args:
        images: Images of the data set.
        split_of: Returns the split of an image.
        seed: Seed of the order.
        image_bytes: Mean size of an image file.
    """
    index_of = {split: index for index, split in enumerate(schema_names.SPLITS)}
    rows = np.fromiter(
        ((_order(image, seed), index_of[split_of(image)]) for image in images),
        dtype=[("order", np.uint64), ("split", np.uint8)],
    )
    places = np.empty(len(rows), np.int64)
    shards, starts, placed = [], [0], 0
    for split, index in index_of.items():
        members = np.flatnonzero(rows["split"] == index)
        members = members[np.argsort(rows["order"][members], kind="stable")]
        places[members] = np.arange(placed, placed + len(members))
        size = images_per_shard(len(members), image_bytes)
        firsts = range(0, max(len(members), 1), size)
        shards += [Shard(split, number, len(firsts)) for number in range(len(firsts))]
        starts += [placed + min(first + size, len(members)) for first in firsts]
        placed += len(members)
    return ShardPlan(tuple(shards), np.array(starts), places)


def _order(image: ImageFile, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{image.path}".encode()).digest()[:8], "big")


def images_per_shard(images: int, image_bytes: int) -> int:
    """Return the number of images of a full shard.

    It is 32 up to 256 shards of a split, and more beyond, up to 128 MiB of images.

    Args:
        images: Number of images of the split.
        image_bytes: Mean size of an image file.
    """
    at_most = max(SHARD_BYTES // max(image_bytes, 1), 1)
    return min(max(IMAGES_PER_SHARD, -(-images // _SMALL_SHARDS)), at_most)


def write_shard_manifests(plan: ShardPlan, images: Iterable[ImageFile], folder: Path) -> None:
    """Write a manifest of each shard: its images, in the order of the catalog.

    Args:
        plan: Places of the images.
        images: Images in the order of the catalog.
        folder: Folder of the manifests, which exists and is empty.
    """
    for shard in plan.shards:
        (folder / shard.name).touch()
    shard_of = np.searchsorted(plan.starts, plan.places, side="right") - 1
    buffers: defaultdict[int, list[str]] = defaultdict(list)
    size = 0
    for index, image in enumerate(images):
        row = (int(plan.places[index]), index, image.path, image.label, image.patient, image.columns)
        text = json.dumps(row)
        buffers[int(shard_of[index])].append(text)
        size += len(text)
        if size > _BUFFER:
            _append(plan, buffers, folder)
            size = 0
    _append(plan, buffers, folder)


def _append(plan: ShardPlan, buffers: dict[int, list[str]], folder: Path) -> None:
    """Append the rows of each shard to its manifest, and remove them from memory."""
    for shard, rows in buffers.items():
        with (folder / plan.shards[shard].name).open("a", encoding="ascii") as file:
            file.writelines(f"{row}\n" for row in rows)
    buffers.clear()


def read_shard_manifest(shard: Shard, folder: Path) -> list[tuple[int, ImageFile]]:
    """Read the images of a shard from the folder of `write_shard_manifests`.

    Returns:
        Index in the catalog, and image, in the order of the shard.
    """
    with (folder / shard.name).open(encoding="ascii") as file:
        rows = sorted(map(json.loads, file))  # by place
    return [
        (index, ImageFile(path, label, patient, tuple(map(tuple, columns))))
        for _, index, path, label, patient, columns in rows
    ]
