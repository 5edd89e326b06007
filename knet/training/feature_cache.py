"""Reads the kept feature maps of one split."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from knet.base.digests import code_digest
from knet.base.files import atomic_write, remove_abandoned
from knet.base.progress import PROGRESS
from knet.training.dataset import TransformedSplit, filter_records, training_epochs

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
        part._records = filter_records(self._records, keep, copies=self.copy_count)
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


def cache_split(split: TransformedSplit, frozen: keras.Model, *, root: Path, batch_size: int) -> CachedSplit:
    """The feature maps that the frozen part of a model makes of every copy of a split's images.

    They are kept by what they depend on: pixels, labels and copies; layers, their settings, number formats
    and weights; code and library versions.

    Args:
        split: the images.
        frozen: from pixels to feature maps.
        root: folder of all that is kept; any file of it may be removed when no training runs.
        batch_size: images that are computed at once.

    Raises:
        FeatureRangeError: values are too large or too small for float16.
    """
    file = root / f"{_key(split, frozen)}.tfrecord"
    if file.is_file():
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))  # read now: `knet cache` goes by that
    else:
        write_feature_maps(split, frozen, file, batch_size=batch_size)
    return CachedSplit(
        file,
        shape=frozen.output_shape[1:],
        copy_count=split.copy_count,
        class_counts=split.class_counts,
    )


def _key(split: TransformedSplit, frozen: keras.Model) -> str:
    digest = hashlib.sha256(split.digest.encode())
    digest.update(frozen.to_json().encode())
    for weights in frozen.get_weights():
        digest.update(weights.tobytes())
    digest.update(code_digest("knet.training.feature_cache").encode())
    digest.update(code_digest("knet.models.fine_tuning").encode())
    return digest.hexdigest()


_MAX_ERROR = 2e-3  # of a batch, as a share of its norm; rounding to float16 alone gives at most 2^-11


class FeatureRangeError(Exception):
    """Feature maps whose values float16 cannot hold; the text says so."""


def write_feature_maps(split: TransformedSplit, frozen: keras.Model, file: Path, *, batch_size: int) -> None:
    """Write a TFRecord of every copy of every image, in the split's order, atomically.

    Args:
        split: the images.
        frozen: from pixels to feature maps; it infers, as frozen layers do in training.
        file: where.
        batch_size: images that are computed at once.

    Raises:
        FeatureRangeError: values are too large or too small for float16.
    """
    remove_abandoned(file.parent)
    atomic_write(file, lambda path: _write(split, frozen, path, batch_size=batch_size))


def _write(split: TransformedSplit, frozen: keras.Model, file: Path, *, batch_size: int) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, *frozen.input_shape[1:]], tf.uint8)])
    def infer(pixels: Any) -> tuple[Any, Any]:
        exact = tf.cast(frozen(pixels, training=False), tf.float32)
        kept = tf.cast(exact, tf.float16)
        return kept, tf.math.divide_no_nan(tf.norm(exact - tf.cast(kept, tf.float32)), tf.norm(exact))

    progress = logging.getLogger(PROGRESS)
    written, said = 0, time.monotonic()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for pixels, labels in split.copies(batch_size=batch_size):
            feature_maps, error = infer(pixels)
            if not error < _MAX_ERROR:  # an error that is not a number included
                raise FeatureRangeError(
                    "values of the frozen blocks' feature maps are too large or too small for float16, as "
                    "those of an untrained backbone are"
                )
            for feature_map, label in zip(feature_maps.numpy(), labels.numpy(), strict=True):
                writer.write(_record(feature_map, label))
            written += len(labels)
            if time.monotonic() - said >= 1:
                said = time.monotonic()
                progress.debug("feature maps of the frozen blocks: %d written", written)
    progress.info("feature maps of the frozen blocks: %d written", written)


def _record(feature_map: Any, label: int) -> bytes:
    example = tf.train.Example()
    content = feature_map.astype("<f2").tobytes()
    example.features.feature[FEATURE_MAP].bytes_list.value.append(content)
    example.features.feature[LABEL].int64_list.value.append(label)
    return bytes(example.SerializeToString())
