"""Datasets of Trainer and Tuner: transformed examples with augmentation."""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from knet.base import schema_names
from knet.models.settings import OfflineAugmentation
from knet.training.augmentation import augmented_view, random_augment
from knet.training.settings import RandomAugmentationConfig

SHUFFLE_BUFFER = 4096  # serialized images: 630 MB at 227 px


class TransformedSplit:
    """One split of Transform's output, with the augmentations of training.

    Attributes:
        view_count: views of each image, one for each offline augmentation.
        class_counts: images by label, views not counted.
        count: images, views not counted.
        shuffle_buffer: records held in memory to draw the next from.

    Example:
        views = ("original", "flip_vertical")
        split = TransformedSplit(fn_args.train_files, size=227, offline_augmentations=views)
        model.fit(split.training_batches(batch_size=32, seed=0, epochs=range(9)), steps_per_epoch=...)
    """

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        size: int,
        offline_augmentations: Sequence[OfflineAugmentation] = ("original",),
        random_augmentation: RandomAugmentationConfig | None = None,
    ) -> None:
        """Find the files and count their images.

        Args:
            patterns: glob patterns of the files, as in TFX's FnArgs.
            size: height and width of the images, pixels.
            offline_augmentations: of the views of each image; for the train split alone.
            random_augmentation: drawn again in every epoch; for the train split alone. None: off.
        """
        paths = [path for pattern in patterns for path in Path(pattern).parent.glob(Path(pattern).name)]
        # By content: with several workers the numbers of the files are arbitrary.
        files = sorted(map(str, paths), key=lambda file: (_first_pixels(file), file))
        self._records = _read(files)
        self._size = size
        self._offline_augmentations = tuple(offline_augmentations)
        self.view_count = len(self._offline_augmentations)
        self.shuffle_buffer = SHUFFLE_BUFFER
        self._random_augmentation = random_augmentation or RandomAugmentationConfig()
        labels = [*self._records.map(_label).batch(1024).as_numpy_iterator(), np.zeros(0, np.int64)]
        self.class_counts: tuple[int, ...] = tuple(np.bincount(np.concatenate(labels), minlength=2).tolist())
        self.count = sum(self.class_counts)

    def pixel_statistics(self) -> tuple[list[float], list[float]]:
        """Return RGB means and standard deviations of the train split, [3] each, 0 to 255."""
        names = (schema_names.PIXEL_MEAN, schema_names.PIXEL_STD)
        spec = {name: tf.io.FixedLenFeature([3], tf.float32) for name in names}
        # Transform writes them into every example.
        first = tf.io.parse_single_example(next(iter(self._records)), spec)
        mean, std = (first[name].numpy().tolist() for name in names)
        return mean, std

    def quality(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return tissue fraction and variance of the Laplacian of the ingested images, [count], in order."""
        names = (schema_names.TISSUE_FRACTION, schema_names.LAPLACIAN)
        spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in names}
        parsed = self._records.map(lambda record: tf.io.parse_single_example(record, spec)).batch(1024)
        rows = [[batch[name] for name in names] for batch in parsed.as_numpy_iterator()]
        tissue, laplacian = np.concatenate(rows, axis=1)
        return tissue, laplacian

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of pixels and labels, in order, and of the offline augmentations."""
        digest = hashlib.sha256(repr((self._size, self._offline_augmentations)).encode())
        for pixels, labels in self.batches(batch_size=32).as_numpy_iterator():
            digest.update(pixels.tobytes())
            digest.update(labels.tobytes())
        return digest.hexdigest()

    def labels_and_patients(self) -> tuple[np.ndarray, list[str]]:
        """Return label and patient of each image, in order."""
        spec = {
            schema_names.LABEL: tf.io.FixedLenFeature([], tf.int64),
            schema_names.PATIENT: tf.io.FixedLenFeature([], tf.string),
        }
        parsed = self._records.map(lambda record: tf.io.parse_single_example(record, spec))
        rows = list(parsed.as_numpy_iterator())
        labels = np.array([row[schema_names.LABEL] for row in rows], np.int64)
        return labels, [row[schema_names.PATIENT].decode() for row in rows]

    def subset(self, mask: np.ndarray, *, labels: np.ndarray) -> TransformedSplit:
        """Return the split of some images.

        Args:
            mask: bool [images].
            labels: int [images], of all images.
        """
        part = copy.copy(self)
        part.__dict__.pop("digest", None)
        part._records = filter_records(self._records, mask)
        part.class_counts = tuple(np.bincount(labels[mask], minlength=len(self.class_counts)).tolist())
        part.count = sum(part.class_counts)
        return part

    def paths(self) -> list[str]:
        """Return the images' paths below the data folder, in order."""
        spec = {schema_names.PATH: tf.io.FixedLenFeature([], tf.string)}
        paths = self._records.map(lambda record: tf.io.parse_single_example(record, spec)[schema_names.PATH])
        return [path.decode() for path in paths.as_numpy_iterator()]

    def batches(self, *, batch_size: int) -> Any:
        """Return batches of (uint8 [batch, size, size, 3], int64 [batch]): each image once, in order."""
        return (
            self._records.apply(tf.data.experimental.assert_cardinality(self.count))
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def view_batches(self, *, batch_size: int) -> Any:
        """Return batches of every view of each image, in order, without random augmentation."""
        return (
            self._views()
            .map(lambda _, record, view: self._parse_view(record, view), num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def training_batches(self, *, batch_size: int, seed: int, epochs: range) -> Any:
        """Return the batches of some epochs: every view once per epoch, shuffled, randomly augmented.

        Args:
            batch_size: images of a batch.
            seed: of order and augmentation, with the epoch.
            epochs: their numbers, from 0.
        """

        def parse(index: Any, record: Any, view: Any, *, seed: Any) -> tuple[Any, Any]:
            pixels, label = self._parse_view(record, view)
            if self._random_augmentation.enabled:
                view_seed = tf.random.experimental.stateless_fold_in(seed, index * self.view_count + view)
                pixels = random_augment(pixels, settings=self._random_augmentation, seed=view_seed)
            return pixels, label

        return training_epochs(
            self._views(),
            parse,
            count=self.count * self.view_count,
            batch_size=batch_size,
            buffer=self.shuffle_buffer,
            seed=seed,
            epochs=epochs,
        )

    def image_names(
        self, *, batch: int, batch_size: int, seed: int, epoch: int, shuffle_buffer: int
    ) -> list[str]:
        """Return the paths of the images in a training batch.

        Args:
            batch: number of the batch in the epoch, from 0.
            batch_size: as in `training_batches`.
            seed: as in `training_batches`.
            epoch: number of the epoch, from 0.
            shuffle_buffer: of the split that was trained on, this one or its cached feature maps.
        """
        spec = {schema_names.PATH: tf.io.FixedLenFeature([], tf.string)}
        paths = training_epochs(
            self._views(),
            lambda index, record, view, seed: tf.io.parse_single_example(record, spec)[schema_names.PATH],
            count=self.count * self.view_count,
            batch_size=batch_size,
            buffer=shuffle_buffer,
            seed=seed,
            epochs=range(epoch, epoch + 1),
        )
        (found,) = paths.skip(batch).take(1).as_numpy_iterator()
        return sorted({path.decode() for path in found})

    def _views(self) -> Any:
        """Return (index of the image, record, index of the view)."""
        views = tf.data.Dataset.range(self.view_count)
        return (
            self._records.enumerate()
            .flat_map(lambda index, record: views.map(lambda view: (index, record, view)))
            .apply(tf.data.experimental.assert_cardinality(self.count * self.view_count))
        )

    def _parse_view(self, record: Any, view: Any) -> tuple[Any, Any]:
        pixels, label = self._parse(record)
        return augmented_view(pixels, view, augmentations=self._offline_augmentations), label

    def _parse(self, record: Any) -> tuple[Any, Any]:
        spec = {
            schema_names.PIXELS: tf.io.FixedLenFeature([], tf.string),
            schema_names.LABEL: tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, spec)
        pixels = tf.io.parse_tensor(example[schema_names.PIXELS], tf.uint8)
        return tf.ensure_shape(pixels, [self._size, self._size, 3]), example[schema_names.LABEL]


_READERS = 4  # files read at once; fixed, since the order of the records depends on it


def _read(files: Sequence[str]) -> Any:
    return tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=_READERS)


def _first_pixels(file: str) -> bytes:
    """Return a file's first image; its bytes on disk would depend on the arbitrary order of features."""
    for record in _read([file]).take(1).as_numpy_iterator():
        return tf.train.Example.FromString(record).features.feature[schema_names.PIXELS].bytes_list.value[0]
    return b""


def _label(record: Any) -> Any:
    spec = {schema_names.LABEL: tf.io.FixedLenFeature([], tf.int64)}
    return tf.io.parse_single_example(record, spec)[schema_names.LABEL]


def training_epochs(
    elements: Any,
    parse: Callable[..., Any],
    *,
    count: int,
    batch_size: int,
    buffer: int,
    seed: int,
    epochs: range,
) -> Any:
    """Return a tf.data.Dataset of the batches of several epochs.

    Each epoch has every element once, in an order that depends on seed and epoch alone, so that a resumed
    training sees the same batches.

    Args:
        elements: tf.data.Dataset of tuples.
        parse: returns a training example, given an element's parts and `seed`, int64 [2] of seed and epoch.
        count: number of elements.
        batch_size: elements of a batch; the last of an epoch may be smaller.
        buffer: elements held in memory to draw the next from.
        seed: of the order.
        epochs: their numbers, from 0.
    """

    def one_epoch(epoch: Any) -> Any:
        # The seed of this function's graph, so that TensorFlow's global one has no effect; it must not be 0.
        tf.compat.v1.set_random_seed(1)
        pair = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.stateless_uniform([], pair, minval=None, maxval=None, dtype=tf.int64)
        return (
            elements.shuffle(min(count, buffer), seed=order, reshuffle_each_iteration=False)
            .map(lambda *parts: parse(*parts, seed=pair), num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
        )

    steps = -(-count // batch_size)
    return (
        tf.data.Dataset.range(epochs.start, epochs.stop)
        .flat_map(one_epoch)
        .apply(tf.data.experimental.assert_cardinality(steps * len(epochs)))
        .prefetch(tf.data.AUTOTUNE)
    )


def filter_records(records: Any, mask: np.ndarray, *, views: int = 1) -> Any:
    """Return the records of some images, in order.

    Args:
        records: tf.data.Dataset.
        mask: bool [images].
        views: successive records of each image.
    """
    record_mask = tf.constant(np.repeat(mask, views))

    def is_selected(index: Any, record: Any) -> Any:
        return tf.gather(record_mask, index)

    def drop_index(index: Any, record: Any) -> Any:
        return record

    return records.enumerate().filter(is_selected).map(drop_index)
