"""Reads transformed examples for Trainer and Tuner."""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from knet.base import schema_names
from knet.training.augmentation import augmented_view, random_augment
from knet.training.settings import RandomAugmentationConfig

_SHUFFLE_BUFFER = 4096  # serialised images: 630 MB at 227 px
_READERS = 4  # files that are read at once; a fixed number, on which the order depends


def _read(files: Sequence[str]) -> Any:
    return tf.data.TFRecordDataset(files, compression_type="GZIP", num_parallel_reads=_READERS)


def _first_pixels(file: str) -> bytes:
    """The first image of a file; not its bytes on disk, in which features stand in an order of chance."""
    for record in _read([file]).take(1).as_numpy_iterator():
        return tf.train.Example.FromString(record).features.feature[schema_names.PIXELS].bytes_list.value[0]
    return b""


class TransformedSplit:
    """One split of Transform's output, as its files lie on disk, and what training makes of its images.

    Example:
        split = TransformedSplit(fn_args.train_files, size=227, copies=("original", "flip_vertical"))
        model.fit(split.training_batches(batch_size=32, seed=0, epochs=range(9)), steps_per_epoch=...)
    """

    def __init__(
        self,
        patterns: Sequence[str],
        *,
        size: int,
        copies: Sequence[str] = ("original",),
        changes: RandomAugmentationConfig | None = None,
    ) -> None:
        """Names the files.

        Args:
            patterns: of the files, as TFX hands them over.
            size: pixels per side.
            copies: what each image is trained on as; the train split's alone.
            changes: random changes, drawn again in every epoch.
        """
        paths = [path for pattern in patterns for path in Path(pattern).parent.glob(Path(pattern).name)]
        # By content: several workers number their files in an order of chance.
        files = sorted(map(str, paths), key=lambda file: (_first_pixels(file), file))
        self._records = _read(files)
        self._size = size
        self._kinds = tuple(copies)
        self.copy_count = len(self._kinds)  # of each image
        self.shuffle_buffer = _SHUFFLE_BUFFER
        self._changes = changes or RandomAugmentationConfig()
        # Images of each class, by label; copies are not counted.
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
        names = (schema_names.PIXEL_MEAN, schema_names.PIXEL_STD)
        spec = {name: tf.io.FixedLenFeature([3], tf.float32) for name in names}
        first = tf.io.parse_single_example(next(iter(self._records)), spec)
        mean, std = (first[name].numpy().tolist() for name in names)
        return mean, std

    def quality(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tissue fractions and variances of the Laplacian [count] of the ingested images, in order."""
        names = (schema_names.TISSUE_FRACTION, schema_names.LAPLACIAN)
        spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in names}
        parsed = self._records.map(lambda record: tf.io.parse_single_example(record, spec)).batch(1024)
        rows = [[batch[name] for name in names] for batch in parsed.as_numpy_iterator()]
        tissue, laplacian = np.concatenate(rows, axis=1)
        return tissue, laplacian

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of pixels and labels in their order, and of the copies that are made of each image."""
        digest = hashlib.sha256(repr((self._size, self._kinds)).encode())
        for pixels, labels in self.batches(batch_size=32).as_numpy_iterator():
            digest.update(pixels.tobytes())
            digest.update(labels.tobytes())
        return digest.hexdigest()

    def labels_and_patients(self) -> tuple[np.ndarray, list[str]]:
        """Label and patient of each image, in their order."""
        spec = {
            schema_names.LABEL: tf.io.FixedLenFeature([], tf.int64),
            schema_names.PATIENT: tf.io.FixedLenFeature([], tf.string),
        }
        parsed = self._records.map(lambda record: tf.io.parse_single_example(record, spec))
        rows = list(parsed.as_numpy_iterator())
        labels = np.array([row[schema_names.LABEL] for row in rows], np.int64)
        return labels, [row[schema_names.PATIENT].decode() for row in rows]

    def only(self, keep: np.ndarray, *, labels: np.ndarray) -> TransformedSplit:
        """The same of some images.

        Args:
            keep: which, as booleans [images].
            labels: of all images [images].
        """
        part = copy.copy(self)
        part.__dict__.pop("digest", None)
        part._records = filter_records(self._records, keep)
        part.class_counts = tuple(np.bincount(labels[keep], minlength=2).tolist())
        part.count = sum(part.class_counts)
        return part

    def paths(self) -> list[str]:
        """Of the images, below the data folder, in the order of `batches`."""
        spec = {schema_names.PATH: tf.io.FixedLenFeature([], tf.string)}
        paths = self._records.map(lambda record: tf.io.parse_single_example(record, spec)[schema_names.PATH])
        return [path.decode() for path in paths.as_numpy_iterator()]

    def batches(self, *, batch_size: int) -> Any:
        """Batches of (uint8 [batch, size, size, 3], int64 [batch]): each image once, as it is, in order."""
        return (
            self._records.apply(tf.data.experimental.assert_cardinality(self.count))
            .map(self._parse, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def copies(self, *, batch_size: int) -> Any:
        """The same, with every copy of an image after the other; random changes are not made."""
        return (
            self._each_copy()
            .map(lambda _, record, copy: self._parse_copy(record, copy), num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )

    def training_batches(self, *, batch_size: int, seed: int, epochs: range) -> Any:
        """The batches of these epochs, one after the other: every copy once in each, shuffled, changed."""

        def parse(index: Any, record: Any, copy: Any, *, seed: Any) -> tuple[Any, Any]:
            pixels, label = self._parse_copy(record, copy)
            if self._changes.enabled:
                own = tf.random.experimental.stateless_fold_in(seed, index * len(self._kinds) + copy)
                pixels = random_augment(pixels, settings=self._changes, seed=own)
            return pixels, label

        return training_epochs(
            self._each_copy(),
            parse,
            count=self.count * len(self._kinds),
            batch_size=batch_size,
            buffer=self.shuffle_buffer,
            seed=seed,
            epochs=epochs,
        )

    def image_names(
        self, *, batch: int, batch_size: int, seed: int, epoch: int, shuffle_buffer: int
    ) -> list[str]:
        """The paths of the images in a training batch.

        Args:
            batch: its number in the epoch, from 0.
            batch_size: as for `training_batches`.
            seed: of the order.
            epoch: its number.
            shuffle_buffer: of the split that was trained on, whose records may be this one's feature maps.
        """
        spec = {schema_names.PATH: tf.io.FixedLenFeature([], tf.string)}
        paths = training_epochs(
            self._each_copy(),
            lambda index, record, copy, seed: tf.io.parse_single_example(record, spec)[schema_names.PATH],
            count=self.count * len(self._kinds),
            batch_size=batch_size,
            buffer=shuffle_buffer,
            seed=seed,
            epochs=range(epoch, epoch + 1),
        )
        (found,) = paths.skip(batch).take(1).as_numpy_iterator()
        return sorted({path.decode() for path in found})

    def _each_copy(self) -> Any:
        """(place of the image, record, place of the copy among the kinds)."""
        copies = tf.data.Dataset.range(len(self._kinds))
        return (
            self._records.enumerate()
            .flat_map(lambda index, record: copies.map(lambda copy: (index, record, copy)))
            .apply(tf.data.experimental.assert_cardinality(self.count * len(self._kinds)))
        )

    def _parse_copy(self, record: Any, copy: Any) -> tuple[Any, Any]:
        pixels, label = self._parse(record)
        return augmented_view(pixels, copy, kinds=self._kinds), label

    def _parse(self, record: Any) -> tuple[Any, Any]:
        spec = {
            schema_names.PIXELS: tf.io.FixedLenFeature([], tf.string),
            schema_names.LABEL: tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(record, spec)
        pixels = tf.io.parse_tensor(example[schema_names.PIXELS], tf.uint8)
        return tf.ensure_shape(pixels, [self._size, self._size, 3]), example[schema_names.LABEL]


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
    """A tf.data.Dataset of the batches of several epochs, one after the other.

    Each epoch has every element once, in an order that depends on seed and epoch alone; so an interrupted
    training finds the rest as it would have been.

    Args:
        elements: a dataset of tuples.
        parse: takes an element's parts and, as `seed`, int64 [2] of seed and epoch; gives a training example.
        count: of the elements.
        batch_size: of all batches but the last of an epoch, which may be shorter.
        buffer: elements held in memory, from which the next is drawn.
        seed: of the order.
        epochs: their numbers.
    """

    def one_epoch(epoch: Any) -> Any:
        # Of this function's graph: else TensorFlow's global seed would count too, and must not be 0.
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


def filter_records(records: Any, keep: np.ndarray, *, copies: int = 1) -> Any:
    """Those of the images that are kept, in their order.

    Args:
        records: a tf.data.Dataset.
        keep: booleans [images].
        copies: successive records of an image.
    """
    kept = tf.constant(np.repeat(keep, copies))

    def is_kept(place: Any, record: Any) -> Any:
        return tf.gather(kept, place)

    def record_alone(place: Any, record: Any) -> Any:
        return record

    return records.enumerate().filter(is_kept).map(record_alone)


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
            path=feature[schema_names.PATH].bytes_list.value[0].decode(),
            patient=feature[schema_names.PATIENT].bytes_list.value[0].decode(),
            label=feature[schema_names.LABEL].int64_list.value[0],
            image=feature[schema_names.IMAGE].bytes_list.value[0],
        )


def ingested_images(folder: Path, *, count: int) -> list[tuple[str, bytes]]:
    """Path and PNG or JPEG bytes of the first images of a split.

    Args:
        folder: of the split, as ExampleGen wrote it.
        count: how many, if there are as many.
    """
    return [(example.path, example.image) for example in itertools.islice(ingested_examples(folder), count)]
