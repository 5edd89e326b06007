"""Reads transformed examples for Trainer and Tuner."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline import features

_SHUFFLE_BUFFER = 4096  # serialised images: 630 MB at 227 px
# Each copy of a training image is one of these.
_FLIPS = {
    "original": lambda pixels: pixels,
    "flip_horizontal": tf.image.flip_left_right,
    "flip_vertical": tf.image.flip_up_down,
}


def _read(files: Sequence[str]) -> Any:
    return tf.data.TFRecordDataset(files, compression_type="GZIP")


def _first_pixels(file: str) -> bytes:
    """The first image of a file; not its bytes on disk, in which features stand in an order of chance."""
    for record in _read([file]).take(1).as_numpy_iterator():
        return tf.train.Example.FromString(record).features.feature[features.PIXELS].bytes_list.value[0]
    return b""


class TransformedSplit:
    """One split of Transform's output, as its files lie on disk.

    Example:
        split = TransformedSplit(fn_args.train_files, size=227)
        batches = split.training_batches(batch_size=32, augmentation=("original",), seed=0, epochs=range(9))
        model.fit(batches, epochs=9, steps_per_epoch=ceil(split.count / 32))
    """

    def __init__(self, patterns: Sequence[str], *, size: int) -> None:
        """Names the files.

        Args:
            patterns: of the files, as TFX hands them over.
            size: pixels per side.
        """
        paths = [path for pattern in patterns for path in Path(pattern).parent.glob(Path(pattern).name)]
        # By content: several workers number their files in an order of chance.
        files = sorted(map(str, paths), key=lambda file: (_first_pixels(file), file))
        self._records = _read(files)
        self._size = size
        # Images of each class, by label.
        self.class_counts: tuple[int, ...] = tuple(
            self._records.map(_label)
            .reduce(
                np.zeros(2, np.int64),
                lambda counts, label: counts + tf.one_hot(label, 2, dtype=tf.int64),
            )
            .numpy()
            .tolist()
        )
        self.count = sum(self.class_counts)

    def pixel_statistics(self) -> tuple[list[float], list[float]]:
        """RGB means and deviations of the train split, 0 to 255; Transform writes them into every example."""
        names = (features.PIXEL_MEAN, features.PIXEL_STD)
        spec = {name: tf.io.FixedLenFeature([3], tf.float32) for name in names}
        first = tf.io.parse_single_example(next(iter(self._records)), spec)
        mean, std = (first[name].numpy().tolist() for name in names)
        return mean, std

    def batches(self, *, batch_size: int) -> Any:
        """Batches of (uint8 [batch, size, size, 3], int64 [batch]), in the files' order."""
        return (
            self._records.apply(tf.data.experimental.assert_cardinality(self.count))
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def training_batches(
        self, *, batch_size: int, augmentation: Sequence[str], seed: int, epochs: range
    ) -> Any:
        """The same for one epoch after another, each image once for each kind of augmentation, shuffled.

        The order of an epoch depends on the seed and its number alone, so that training can begin anywhere.
        """
        flips = [_FLIPS[kind] for kind in augmentation]

        def parse(record: Any, copy: Any) -> tuple[Any, Any]:
            pixels, label = self._parse(record)
            branches = [lambda flip=flip: flip(pixels) for flip in flips]
            return tf.ensure_shape(tf.switch_case(tf.cast(copy, tf.int32), branches), pixels.shape), label

        def epoch_batches(epoch: Any) -> Any:
            copies = self._shuffled_copies(len(augmentation), seed=seed, epoch=epoch)
            return copies.map(parse, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size)

        steps = math.ceil(self.count * len(augmentation) / batch_size)
        return (
            tf.data.Dataset.range(epochs.start, epochs.stop)
            .flat_map(epoch_batches)
            .apply(tf.data.experimental.assert_cardinality(len(epochs) * steps))
            .prefetch(tf.data.AUTOTUNE)
        )

    def image_names(
        self, *, batch: int, batch_size: int, augmentation: Sequence[str], seed: int, epoch: int
    ) -> list[str]:
        """The paths of the images in a training batch, which is counted from 0."""
        spec = {features.PATH: tf.io.FixedLenFeature([], tf.string)}
        copies = tf.data.Dataset.range(epoch, epoch + 1).flat_map(
            lambda epoch: self._shuffled_copies(len(augmentation), seed=seed, epoch=epoch)
        )
        paths = copies.map(lambda record, copy: tf.io.parse_single_example(record, spec)[features.PATH])
        found = paths.skip(batch * batch_size).take(batch_size).as_numpy_iterator()
        return sorted({path.decode() for path in found})

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256, in hexadecimal, of all pixels and labels in their order."""
        digest = hashlib.sha256()
        for pixels, label in self._records.map(self._parse).as_numpy_iterator():
            digest.update(pixels.tobytes())
            digest.update(int(label).to_bytes(8, "little"))
        return digest.hexdigest()

    def _shuffled_copies(self, copies: int, *, seed: int, epoch: Any) -> Any:
        """Pairs of a record and the number of its copy, for a function that maps an epoch, int64 []."""
        # Of this function's graph; with the epoch it seeds the order. TensorFlow cannot take 0 here.
        tf.compat.v1.set_random_seed(1 + seed % (2**31 - 2))
        numbers = tf.data.Dataset.range(copies)
        return self._records.flat_map(lambda record: numbers.map(lambda number: (record, number))).shuffle(
            min(self.count * copies, _SHUFFLE_BUFFER), seed=epoch
        )

    def _parse(self, record: Any) -> tuple[Any, Any]:
        spec = {
            features.PIXELS: tf.io.FixedLenFeature([], tf.string),
            features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, spec)
        pixels = tf.io.parse_tensor(example[features.PIXELS], tf.uint8)
        return tf.ensure_shape(pixels, [self._size, self._size, 3]), example[features.LABEL]


def _label(record: Any) -> Any:
    spec = {features.LABEL: tf.io.FixedLenFeature([], tf.int64)}
    return tf.io.parse_single_example(record, spec)[features.LABEL]
