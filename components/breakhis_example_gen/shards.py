"""Which images stand in which file, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from components.breakhis_example_gen.image_file import ImageFile
from pipeline import features

IMAGES_PER_SHARD = 32  # files of about 16 MB; enough of them to keep several workers busy


@dataclass(frozen=True)
class Shard:
    """The images of one file."""

    split: str
    number: int  # of `count`, from 0
    count: int  # shards of the split
    images: tuple[ImageFile, ...]

    @property
    def file(self) -> str:
        """Its name below the examples' folder."""
        return f"Split-{self.split}/data_tfrecord-{self.number:05}-of-{self.count:05}.gz"


def plan_shards(images: Iterable[ImageFile], splits: Mapping[str, str], *, seed: int) -> list[Shard]:
    """Shards of up to 32 images of one split; a split without images has one empty shard.

    The images of a split stand in the order of a hash of seed and path: an order of no meaning, as a training
    that shuffles in a window needs it, and the same however many workers there are.

    Args:
        images: of the data set.
        splits: the split of each patient.
        seed: another one gives another order.
    """
    by_split: dict[str, list[ImageFile]] = {split: [] for split in features.SPLITS}
    for image in images:
        by_split[splits[image.patient]].append(image)
    shards = []
    for split, members in by_split.items():
        members.sort(key=lambda image: hashlib.sha256(f"{seed}/{image.path}".encode()).digest())
        starts = range(0, max(len(members), 1), IMAGES_PER_SHARD)
        shards += [
            Shard(split, number, len(starts), tuple(members[start : start + IMAGES_PER_SHARD]))
            for number, start in enumerate(starts)
        ]
    return shards
