"""Reads images back from ingested examples."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from pipeline import features


def ingested_images(folder: Path, *, count: int) -> list[tuple[str, bytes]]:
    """Path and PNG or JPEG bytes of the first images of a split.

    Args:
        folder: of the split, as ExampleGen wrote it.
        count: how many, if there are as many.
    """
    records = tf.data.TFRecordDataset(
        [str(path) for path in sorted(folder.iterdir())], compression_type="GZIP"
    )
    examples = (tf.train.Example.FromString(record) for record in records.take(count).as_numpy_iterator())
    return [
        (
            example.features.feature[features.PATH].bytes_list.value[0].decode(),
            example.features.feature[features.IMAGE].bytes_list.value[0],
        )
        for example in examples
    ]
