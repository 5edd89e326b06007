"""Beam step that validates images and writes them as TFRecords, a file at a time."""

from __future__ import annotations

import gzip
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from knet.base.errors import UnusableError
from knet.base.tfrecord import tf_record
from knet.data.ingest import make_example
from knet.data.shards import Shard, read_shard_manifest
from knet.data.source import RandomAccessSource, Reader
from knet.data.statuses import ShardStatuses


class WriteShard(beam.DoFn):
    """Writes the images of a shard as a gzipped TFRecord file, and their statuses to a file beside it.

    Yields index and reason of each unusable image. The worker holds one image at a time.
    """

    def __init__(
        self,
        source: RandomAccessSource,
        folder: str,
        *,
        manifests: Path,
        statuses: Path,
        classes: Sequence[str],
    ) -> None:
        """Create the step.

        Args:
            source: Source of the images.
            folder: Folder of the examples, on any file system of Beam.
            manifests: Folder of the manifests (`knet.data.shards.write_shard_manifests`).
            statuses: Folder of the statuses, a file for each shard.
            classes: Class names in the order of the labels.
        """
        self._source = source
        self._folder = folder
        self._manifests = manifests
        self._statuses = statuses
        self._classes = tuple(classes)
        self._reader: Reader | None = None

    def setup(self) -> None:
        """Open the source, once a worker."""
        self._reader = self._source.open()

    def teardown(self) -> None:
        """Close the source."""
        if self._reader:
            self._reader.close()

    def process(self, shard: Shard) -> Iterator[tuple[int, str]]:
        """Write both files atomically, since Beam may process a shard twice."""
        assert self._reader is not None
        part = f"{self._folder}/.{uuid.uuid4().hex}"
        statuses = ShardStatuses()
        # TFX expects gzip, but images are compressed already: level 0. No time stamp: the same bytes again.
        with FileSystems.create(part) as file, gzip.GzipFile("", "wb", 0, file, mtime=0) as writer:
            for index, image in read_shard_manifest(shard, self._manifests):
                outcome: dict[str, Any] = {}
                try:
                    content = self._reader.read(image.path)
                    outcome["sha256"] = hashlib.sha256(content).hexdigest()
                    ingested = make_example(image, content, split=shard.split, classes=self._classes)
                except UnusableError as error:
                    yield index, str(error)
                else:
                    writer.write(tf_record(ingested.record))
                    outcome |= {"pixels": ingested.pixel_hash, "scalars": ingested.scalars}
                statuses.add(index, **outcome)
        FileSystems.rename([part], [f"{self._folder}/{shard.file}"])
        statuses.write(self._statuses / shard.name)
