"""Reads the examples that ExampleGen wrote, without TensorFlow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from knet.base import schema_names
from knet.base.protos import Example
from knet.base.tfrecord import read_tf_records


@dataclass(frozen=True)
class IngestedExample:
    """Image of ExampleGen's output."""

    path: str
    patient: str
    label: int
    image: bytes  # PNG or JPEG


def ingested_examples(folder: Path) -> Iterator[IngestedExample]:
    """Iterate over the examples of a split.

    Args:
        folder: Folder of the split in ExampleGen's output.

    Raises:
        UserError: A file is damaged; the message states its path.
    """
    for file in sorted(folder.iterdir()):
        for record in read_tf_records(file):
            feature = Example.FromString(record).features.feature
            yield IngestedExample(
                path=feature[schema_names.PATH].bytes_list.value[0].decode(),
                patient=feature[schema_names.PATIENT].bytes_list.value[0].decode(),
                label=feature[schema_names.LABEL].int64_list.value[0],
                image=feature[schema_names.IMAGE].bytes_list.value[0],
            )


def ingested_images(folder: Path, *, count: int) -> list[tuple[str, bytes]]:
    """Return path and PNG or JPEG bytes of the first images of a split.

    Args:
        folder: Folder of the split in ExampleGen's output.
        count: Number of images, at most.
    """
    return [(example.path, example.image) for example in itertools.islice(ingested_examples(folder), count)]
