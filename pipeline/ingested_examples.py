"""Reads ingested examples one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from pipeline import features


@dataclass(frozen=True)
class IngestedExample:
    """An image as ExampleGen wrote it."""

    path: str
    patient: str
    label: int
    image: bytes  # PNG or JPEG


def ingested_examples(folder: Path) -> Iterator[IngestedExample]:
    """The examples of a split, one after the other.

    Args:
        folder: of the split, as ExampleGen wrote it.
    """
    records = tf.data.TFRecordDataset(
        [str(path) for path in sorted(folder.iterdir())], compression_type="GZIP"
    )
    for record in records.as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        yield IngestedExample(
            path=feature[features.PATH].bytes_list.value[0].decode(),
            patient=feature[features.PATIENT].bytes_list.value[0].decode(),
            label=feature[features.LABEL].int64_list.value[0],
            image=feature[features.IMAGE].bytes_list.value[0],
        )
