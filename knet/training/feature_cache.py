"""Cache of the feature maps that a model's frozen blocks compute from a split."""

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
from knet.base.tfrecord import has_equal_records
from knet.training.dataset import SHUFFLE_BUFFER, TransformedSplit, filter_records, training_epochs

# Features of a record.
FEATURE_MAP = "feature_map"  # bytes: float16 [rows, columns, channels], little-endian
LABEL = "label"  # int64


class CachedSplit:
    """Split of feature maps, with the interface and the order of `TransformedSplit`."""

    def __init__(
        self,
        file: Path,
        *,
        shape: tuple[int, int, int],
        view_count: int,
        class_counts: tuple[int, ...],
    ) -> None:
        """Open the file.

        Args:
            file: from `write_feature_maps`.
            shape: of a feature map: rows, columns, channels.
            view_count: records of each image.
            class_counts: images by label, views not counted.
        """
        self._records = tf.data.TFRecordDataset(str(file), buffer_size=2**23)
        self._shape = shape
        self.view_count = view_count
        self.shuffle_buffer = min(SHUFFLE_BUFFER, max(1, _SHUFFLE_BYTES // map_bytes(shape)))
        self.class_counts = class_counts
        self.count = sum(class_counts)

    def subset(self, mask: np.ndarray, *, labels: np.ndarray) -> CachedSplit:
        """Return the split of some images.

        Args:
            mask: bool [images].
            labels: int [images], of all images.
        """
        part = copy.copy(self)
        part._records = filter_records(self._records, mask, views=self.view_count)
        part.class_counts = tuple(np.bincount(labels[mask], minlength=len(self.class_counts)).tolist())
        part.count = sum(part.class_counts)
        return part

    def batches(self, *, batch_size: int) -> Any:
        """Return batches of (float16 [batch, rows, columns, channels], int64 [batch]), in order."""
        return (
            self._records.apply(tf.data.experimental.assert_cardinality(self.count * self.view_count))
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def training_batches(self, *, batch_size: int, seed: int, epochs: range) -> Any:
        """Return the batches of some epochs, as `TransformedSplit.training_batches`."""
        return training_epochs(
            self._records.map(lambda record: (record,)),
            lambda record, seed: self._parse(record),
            count=self.count * self.view_count,
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


_SHUFFLE_BYTES = 2**30  # bound of the shuffle buffer; otherwise as many feature maps as images, in one order


def map_bytes(shape: tuple[int, int, int]) -> int:
    """Return the bytes of a cached feature map.

    Args:
        shape: rows, columns, channels.
    """
    rows, columns, channels = shape
    return 2 * rows * columns * channels


def cache_split(
    split: TransformedSplit, frozen: keras.Model, *, root: Path, batch_size: int, package: str = ""
) -> CachedSplit:
    """Return the feature maps of every view of a split's images, computed unless they are cached.

    The key is a digest of all inputs: pixels, labels and views; layers, their settings, number formats and
    weights; code and library versions.

    Args:
        split: the images.
        frozen: frozen part of a model, from pixels to feature maps.
        root: folder of the cache; its files may be deleted when no training runs.
        batch_size: images per inference batch.
        package: digest of the user's package that the backbone is imported from; empty without one.

    Raises:
        FeatureRangeError: values are too large or too small for float16.
    """
    file = root / f"{_key(split, frozen, package)}.tfrecord"
    if _is_complete(file, records=sum(split.class_counts) * split.view_count):
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))  # time of access, for `knet cache`
    else:
        write_feature_maps(split, frozen, file, batch_size=batch_size)
    return CachedSplit(
        file,
        shape=frozen.output_shape[1:],
        view_count=split.view_count,
        class_counts=split.class_counts,
    )


def _is_complete(file: Path, *, records: int) -> bool:
    """Return whether the file is there and whole; a full or damaged disk may cut it."""
    if not file.is_file():
        return False
    if has_equal_records(file, count=records):
        return True
    logging.getLogger(PROGRESS).info("feature maps of the frozen blocks: %s is damaged, computed again", file)
    return False


def _key(split: TransformedSplit, frozen: keras.Model, package: str) -> str:
    digest = hashlib.sha256(split.digest.encode())
    digest.update(frozen.to_json().encode())
    for weights in frozen.get_weights():
        digest.update(weights.tobytes())
    digest.update(code_digest("knet.training.feature_cache").encode())
    digest.update(code_digest("knet.models.fine_tuning").encode())
    digest.update(package.encode())
    return digest.hexdigest()


class FeatureRangeError(Exception):
    """Error: feature maps with values out of float16's range."""


def write_feature_maps(split: TransformedSplit, frozen: keras.Model, file: Path, *, batch_size: int) -> None:
    """Write the feature maps of every view of every image as TFRecords, in the split's order, atomically.

    Args:
        split: the images.
        frozen: from pixels to feature maps; runs in inference mode, as frozen layers do in training.
        file: destination.
        batch_size: images per inference batch.

    Raises:
        FeatureRangeError: values are too large or too small for float16.
    """
    remove_abandoned(file.parent)
    atomic_write(file, lambda path: _write(split, frozen, path, batch_size=batch_size))


_MAX_ERROR = 2e-3  # relative error of a batch in the 2-norm; rounding to float16 alone gives at most 2^-11


def _write(split: TransformedSplit, frozen: keras.Model, file: Path, *, batch_size: int) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, *frozen.input_shape[1:]], tf.uint8)])
    def infer(pixels: Any) -> tuple[Any, Any]:
        exact = tf.cast(frozen(pixels, training=False), tf.float32)
        rounded = tf.cast(exact, tf.float16)
        return rounded, tf.math.divide_no_nan(tf.norm(exact - tf.cast(rounded, tf.float32)), tf.norm(exact))

    progress = logging.getLogger(PROGRESS)
    written, logged = 0, time.monotonic()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for pixels, labels in split.view_batches(batch_size=batch_size):
            feature_maps, error = infer(pixels)
            if not error < _MAX_ERROR:  # true for NaN too
                raise FeatureRangeError(
                    "values of the frozen blocks' feature maps are too large or too small for float16, as "
                    "those of an untrained backbone are"
                )
            for feature_map, label in zip(feature_maps.numpy(), labels.numpy(), strict=True):
                writer.write(_record(feature_map, label))
            written += len(labels)
            if time.monotonic() - logged >= 1:
                logged = time.monotonic()
                progress.debug("feature maps of the frozen blocks: %d written", written)
    progress.info("feature maps of the frozen blocks: %d written", written)


def _record(feature_map: Any, label: int) -> bytes:
    example = tf.train.Example()
    content = feature_map.astype("<f2").tobytes()
    example.features.feature[FEATURE_MAP].bytes_list.value.append(content)
    example.features.feature[LABEL].int64_list.value.append(label)
    return bytes(example.SerializeToString())
