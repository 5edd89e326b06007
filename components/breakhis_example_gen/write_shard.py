"""The Beam step that reads, judges and writes images, a file at a time."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from components.breakhis_example_gen.example import make_example
from components.breakhis_example_gen.quarantine import UnusableError
from components.breakhis_example_gen.shards import Shard
from components.breakhis_example_gen.sources.source import RandomAccessSource, Reader
from components.breakhis_example_gen.tf_record import tf_record


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
