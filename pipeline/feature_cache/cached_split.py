"""Reads the kept feature maps of one split."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.keep_records import keep_records
from pipeline.training_epochs import training_epochs

FEATURE_MAP = "feature_map"  # bytes: float16 [rows, columns, channels], little-endian
LABEL = "label"  # int64
_SHUFFLE_BUFFER = 4096  # feature maps, as many as images otherwise, so that the order is the same
_SHUFFLE_BYTES = 2**30  # but no more than this


class CachedSplit:
    """Gives feature maps where `TransformedSplit` gives pixels, in the same order."""

    def __init__(
        self,
        file: Path,
        *,
        shape: tuple[int, int, int],
        copy_count: int,
        class_counts: tuple[int, ...],
    ) -> None:
        """Names the file.

        Args:
            file: as `write_feature_maps` leaves it.
            shape: of a feature map.
            copy_count: records of each image.
            class_counts: images of each label.
        """
        self._records = tf.data.TFRecordDataset(str(file), buffer_size=2**23)
        self._shape = shape
        self.copy_count = copy_count
        self.shuffle_buffer = min(_SHUFFLE_BUFFER, max(1, _SHUFFLE_BYTES // map_bytes(shape)))
        self.class_counts = class_counts
        self.count = sum(class_counts)

    def only(self, keep: np.ndarray, *, labels: np.ndarray) -> CachedSplit:
        """The feature maps of some images, as `TransformedSplit.only` takes them."""
        part = copy.copy(self)
        part._records = keep_records(self._records, keep, copies=self.copy_count)
        part.class_counts = tuple(np.bincount(labels[keep], minlength=2).tolist())
        part.count = sum(part.class_counts)
        return part

    def batches(self, *, batch_size: int) -> Any:
        """Batches of (float16 [batch, rows, columns, channels], int64 [batch]), in the order of the split."""
        return (
            self._records.apply(tf.data.experimental.assert_cardinality(self.count * self.copy_count))
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def training_batches(self, *, batch_size: int, seed: int, epochs: range) -> Any:
        """The batches of these epochs, one after the other: every copy once an epoch, shuffled."""
        return training_epochs(
            self._records.map(lambda record: (record,)),
            lambda record, seed: self._parse(record),
            count=self.count * self.copy_count,
            batch_size=batch_size,
            buffer=self.shuffle_buffer,
            seed=seed,
            epochs=epochs,
        )

    def _parse(self, record: Any) -> tuple[Any, Any]:
        spec = {
            FEATURE_MAP: tf.io.FixedLenFeature([], tf.string),
            LABEL: tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, spec)
        return tf.reshape(tf.io.decode_raw(example[FEATURE_MAP], tf.float16), self._shape), example[LABEL]


def map_bytes(shape: tuple[int, int, int]) -> int:
    """The size of a kept feature map."""
    rows, columns, channels = shape
    return 2 * rows * columns * channels
