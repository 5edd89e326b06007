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


def training(split: TransformedSplit, *, seed: int, epochs: range = range(1)) -> tf.data.Dataset:
    return split.training_batches(batch_size=4, augmentation=THREE_FOLD, seed=seed, epochs=epochs)


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


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 2])
def test_training_order_follows_from_seed_and_epoch_alone(split: TransformedSplit, seed: int) -> None:
    first, second, third = (images(training(split, seed=seed, epochs=range(n, n + 1))) for n in range(3))
    assert len({tuple(first), tuple(second), tuple(third)}) == 3
    tf.random.set_seed(5)
    assert images(training(split, seed=seed, epochs=range(3))) == first + second + third
    assert images(training(split, seed=seed, epochs=range(1, 3))) == second + third
    assert images(training(split, seed=seed + 1)) != first


def test_no_epoch_left_gives_no_batch(split: TransformedSplit) -> None:
    assert images(training(split, seed=0, epochs=range(3, 3))) == []


def test_the_images_of_a_batch_can_be_named(split: TransformedSplit, pixels: np.ndarray) -> None:
    batches = split.training_batches(batch_size=4, augmentation=("original",), seed=3, epochs=range(2))
    names = {one.tobytes(): f"images/{number}.png" for number, one in enumerate(pixels)}
    # Of 7 images the second epoch has 4 and 3.
    *_, before_last, last = batches.as_numpy_iterator()
    for batch, (shown, _) in enumerate((before_last, last)):
        found = split.image_names(batch=batch, batch_size=4, augmentation=("original",), seed=3, epoch=1)
        assert found == sorted(names[one.tobytes()] for one in shown)


def test_the_digest_is_that_of_pixels_and_labels(
    split: TransformedSplit, pixels: np.ndarray, write_transformed: Callable[..., str]
) -> None:
    def digest(pixels: np.ndarray, *labels: int) -> str:
        return TransformedSplit([write_transformed(pixels, list(labels))], size=SIZE).digest

    assert split.digest == digest(pixels, 0, 1, 0, 1, 0, 1, 0)
    changed = pixels.copy()
    changed[3, 0, 0, 0] ^= 1
    others = [
        digest(pixels, 0, 1, 0, 1, 0, 1, 1),
        digest(pixels[::-1], 0, 1, 0, 1, 0, 1, 0),
        digest(changed, 0, 1, 0, 1, 0, 1, 0),
    ]
    assert len({split.digest, *others}) == 4


def test_pixel_statistics_are_those_that_transform_wrote(split: TransformedSplit, pixels: np.ndarray) -> None:
    mean, std = split.pixel_statistics()
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)), rtol=1e-5)
