"""Training sees every copy of every image, shuffled; evaluation sees every image once, as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.dataset import TransformedSplit

THREE_FOLD = ("original", "flip_horizontal", "flip_vertical")
COUNT, SIZE = 7, 4


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype="uint8")


@pytest.fixture(scope="module")
def split(pixels: np.ndarray, write_transformed: Callable[..., str]) -> TransformedSplit:
    labels = [index % 2 for index in range(COUNT)]
    return TransformedSplit([write_transformed(pixels, labels)], size=SIZE)


def images(dataset: tf.data.Dataset) -> list[bytes]:
    return [image.tobytes() for batch, _ in dataset.as_numpy_iterator() for image in batch]


def training(split: TransformedSplit, seed: int) -> tf.data.Dataset:
    return split.training_batches(batch_size=4, augmentation=THREE_FOLD, seed=seed)


def test_the_order_is_that_of_the_files_contents_and_not_of_their_names(
    pixels: np.ndarray, write_transformed: Callable[..., str], tmp_path: Path
) -> None:
    parts = [Path(write_transformed(half, [0, 0, 0])) for half in (pixels[:3], pixels[3:6])]
    orders = []
    for names in (("0.gz", "1.gz"), ("1.gz", "0.gz")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name, part in zip(names, parts, strict=True):
            (folder / name).hardlink_to(next(part.parent.iterdir()))
        orders.append(images(TransformedSplit([str(folder / "*")], size=SIZE).batches(batch_size=6)))
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(one.tobytes() for one in pixels[:6])


def test_evaluation_batches_hold_each_image_once_unchanged_and_in_order(
    split: TransformedSplit, pixels: np.ndarray
) -> None:
    assert split.count == COUNT
    assert split.class_counts == (4, 3)
    assert images(split.batches(batch_size=3)) == [one.tobytes() for one in pixels]
    labels = [label for _, batch in split.batches(batch_size=3).as_numpy_iterator() for label in batch]
    assert labels == [0, 1, 0, 1, 0, 1, 0]


def test_training_batches_hold_each_image_as_it_is_and_flipped_both_ways(
    split: TransformedSplit, pixels: np.ndarray
) -> None:
    expected = Counter(
        copy.tobytes() for one in pixels for copy in (one, one[:, ::-1].copy(), one[::-1].copy())
    )
    assert Counter(images(training(split, seed=0))) == expected


def test_training_order_follows_the_seed_and_changes_with_the_epoch(split: TransformedSplit) -> None:
    one, other = training(split, seed=0), training(split, seed=0)
    first, second = images(one), images(one)
    assert [images(other), images(other)] == [first, second]
    assert first != second
    assert images(training(split, seed=1)) != first


def test_pixel_statistics_are_those_that_transform_wrote(split: TransformedSplit, pixels: np.ndarray) -> None:
    mean, std = split.pixel_statistics()
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)), rtol=1e-5)
