"""The Beam step that reads, judges and writes images, a file at a time."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from numpy.typing import NDArray

from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.base.protos import Example
from knet.base.tfrecord import tf_record
from knet.data.image_checks import UnusableError, examine
from knet.data.source import ImageFile, RandomAccessSource, Reader


class WriteShard(beam.DoFn):
    """Writes a shard as a gzipped TFRecord file, and yields for each of its images what became of it.

    What it yields is small: JSON of split, label, patient and path with either the hash of the pixels or the
    reason why the image was left out. It holds one image at a time.
    """

    def __init__(self, source: RandomAccessSource, folder: str, *, classes: Sequence[str]) -> None:
        """Makes the step.

        Args:
            source: of the images.
            folder: of the examples; it may be anywhere where Beam can write.
            classes: the name of each label.
        """
        self._source = source
        self._folder = folder
        self._classes = tuple(classes)
        self._reader: Reader | None = None

    def setup(self) -> None:
        """Opens the source, once a worker."""
        self._reader = self._source.open()

    def teardown(self) -> None:
        """Closes it."""
        if self._reader:
            self._reader.close()

    def process(self, shard: Shard) -> Iterator[str]:
        """Writes the file whole or not at all, since a worker may be asked twice."""
        assert self._reader is not None
        part = f"{self._folder}/.{uuid.uuid4().hex}"
        # TFX expects gzip, but images are compressed already: level 0. No time, so that bytes are the same.
        with FileSystems.create(part) as file, gzip.GzipFile("", "wb", 0, file, mtime=0) as writer:
            for image in shard.images:
                fate = {
                    "split": shard.split,
                    "label": image.label,
                    "patient": image.patient,
                    "path": image.path,
                }
                try:
                    ingested = make_example(
                        image, self._reader.read(image.path), split=shard.split, classes=self._classes
                    )
                except UnusableError as reason:
                    yield json.dumps({**fate, "reason": str(reason)})
                else:
                    writer.write(tf_record(ingested.record))
                    yield json.dumps({**fate, "pixels": ingested.pixel_hash})
        FileSystems.rename([part], [f"{self._folder}/{shard.file}"])


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
    by_split: dict[str, list[ImageFile]] = {split: [] for split in schema_names.SPLITS}
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


@dataclass(frozen=True)
class Ingested:
    """An image that is ready to be written."""

    record: bytes  # the serialised example: the same image gives the same bytes
    pixel_hash: str  # SHA-256 of size and pixels, in hexadecimal


def make_example(image: ImageFile, content: bytes, *, split: str, classes: Sequence[str]) -> Ingested:
    """Decodes and judges an image, and makes the example with the features named in `knet.base.schema_names`.

    Raises:
        UnusableError: the content is not an image that can be used; the text is the reason.
    """
    good = examine(content)
    height, width, _ = good.pixels.shape
    texts = {
        schema_names.PATH: image.path,
        schema_names.PATIENT: image.patient,
        schema_names.SPLIT: split,
        **dict(image.columns),
    }
    example = Example()
    feature = example.features.feature
    feature[schema_names.IMAGE].bytes_list.value.append(good.encoded)
    feature[schema_names.LABEL].int64_list.value.append(classes.index(image.label))
    feature[schema_names.WIDTH].int64_list.value.append(width)
    feature[schema_names.HEIGHT].int64_list.value.append(height)
    for name, text in texts.items():
        feature[name].bytes_list.value.append(text.encode())
    for name, value in image_scalars(good.pixels).items():
        feature[name].float_list.value.append(value)
    return Ingested(example.SerializeToString(deterministic=True), _pixel_hash(good.pixels))


def _pixel_hash(pixels: NDArray[np.uint8]) -> str:
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()
