"""Reads transformed examples for Trainer and Tuner."""

from __future__ import annotations

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
        model.fit(split.training_batches(batch_size=32, augmentation=("original",), seed=0))
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
        self.count = int(self._records.reduce(np.int64(0), lambda count, _: count + 1))

    def pixel_statistics(self) -> tuple[list[float], list[float]]:
        """RGB means and deviations of the train split, 0 to 255; Transform writes them into every example."""
        names = (features.PIXEL_MEAN, features.PIXEL_STD)
        spec = {name: tf.io.FixedLenFeature([3], tf.float32) for name in names}
        first = tf.io.parse_single_example(next(iter(self._records)), spec)
        mean, std = (first[name].numpy().tolist() for name in names)
        return mean, std

    def batches(self, *, batch_size: int) -> Any:
        """Batches of (float32 [batch, size, size, 3] in 0..255, int64 [batch]), in the files' order."""
        return (
            self._records.apply(tf.data.experimental.assert_cardinality(self.count))
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def training_batches(self, *, batch_size: int, augmentation: Sequence[str], seed: int) -> Any:
        """The same, each image once for each kind of augmentation, shuffled anew in every epoch."""
        total = self.count * len(augmentation)
        copies = tf.data.Dataset.range(len(augmentation))
        flips = [_FLIPS[kind] for kind in augmentation]

        def parse(record: Any, copy: Any) -> tuple[Any, Any]:
            pixels, label = self._parse(record)
            branches = [lambda flip=flip: flip(pixels) for flip in flips]
            return tf.ensure_shape(tf.switch_case(tf.cast(copy, tf.int32), branches), pixels.shape), label

        return (
            self._records.flat_map(lambda record: copies.map(lambda copy: (record, copy)))
            .apply(tf.data.experimental.assert_cardinality(total))
            .shuffle(min(total, _SHUFFLE_BUFFER), seed=seed)
            .map(parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _parse(self, record: Any) -> tuple[Any, Any]:
        spec = {
            features.PIXELS: tf.io.FixedLenFeature([], tf.string),
            features.LABEL: tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, spec)
        pixels = tf.io.parse_tensor(example[features.PIXELS], tf.uint8)
        pixels = tf.ensure_shape(pixels, [self._size, self._size, 3])
        return tf.cast(pixels, tf.float32), example[features.LABEL]
