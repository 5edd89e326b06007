"""Datasets: training has every view of every image, shuffled; evaluation every image once, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.models.settings import OfflineAugmentation
from knet.training.dataset import TransformedSplit, filter_records, training_epochs
from knet.training.settings import RandomAugmentationConfig

THREE_FOLD: tuple[OfflineAugmentation, ...] = ("original", "flip_horizontal", "flip_vertical")
COUNT, SIZE = 7, 4


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype="uint8")


@pytest.fixture(scope="module")
def split(pixels: np.ndarray, write_transformed: Callable[..., str]) -> TransformedSplit:
    labels = [index % 2 for index in range(COUNT)]
    return TransformedSplit([write_transformed(pixels, labels)], size=SIZE, offline_augmentations=THREE_FOLD)


def images(dataset: tf.data.Dataset) -> list[bytes]:
    return [image.tobytes() for batch, _ in dataset.as_numpy_iterator() for image in batch]


def epoch(split: TransformedSplit, number: int = 0, *, seed: int = 0) -> list[bytes]:
    return images(split.training_batches(batch_size=4, seed=seed, epochs=range(number, number + 1)))


def views_of(pixels: np.ndarray) -> list[bytes]:
    return [view.tobytes() for one in pixels for view in (one, one[:, ::-1].copy(), one[::-1].copy())]


def test_split_order_follows_contents_not_file_names(
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


def test_batches_have_each_image_once_in_order(split: TransformedSplit, pixels: np.ndarray) -> None:
    assert split.count == COUNT
    assert split.class_counts == (4, 3)
    assert images(split.batches(batch_size=3)) == [one.tobytes() for one in pixels]
    labels = [label for _, batch in split.batches(batch_size=3).as_numpy_iterator() for label in batch]
    assert labels == [0, 1, 0, 1, 0, 1, 0]


def test_quality_is_in_the_order_of_the_images(split: TransformedSplit, pixels: np.ndarray) -> None:
    expected = [image_scalars(one) for one in pixels]
    for found, name in zip(
        split.quality(), (schema_names.TISSUE_FRACTION, schema_names.LAPLACIAN), strict=True
    ):
        np.testing.assert_allclose(found, [scalars[name] for scalars in expected], rtol=1e-6)


def test_training_batches_have_every_view_once(split: TransformedSplit, pixels: np.ndarray) -> None:
    assert Counter(epoch(split)) == Counter(views_of(pixels))


def test_view_batches_are_in_order(split: TransformedSplit, pixels: np.ndarray) -> None:
    assert images(split.view_batches(batch_size=5)) == views_of(pixels)


def test_training_batches_follow_seed_and_epoch(split: TransformedSplit) -> None:
    assert epoch(split, 3) == epoch(split, 3)
    assert epoch(split, 3) != epoch(split, 4)
    assert epoch(split, 3) != epoch(split, 3, seed=1)


def test_training_batches_end_each_epoch_with_a_short_batch(split: TransformedSplit) -> None:
    both = split.training_batches(batch_size=4, seed=0, epochs=range(2, 4))
    assert images(both) == epoch(split, 2) + epoch(split, 3)
    assert [len(labels) for _, labels in both] == [4, 4, 4, 4, 4, 1] * 2
    assert len(both) == 12


def test_random_augmentation_follows_seed_epoch_and_view(
    pixels: np.ndarray, write_transformed: Callable[..., str]
) -> None:
    same = np.repeat(pixels[:1], COUNT, axis=0)
    augmentation = RandomAugmentationConfig(stain=0.2, colour=0.2, rotate=True)
    split = TransformedSplit(
        [write_transformed(same, [0] * COUNT)],
        size=SIZE,
        offline_augmentations=("original",) * 2,
        random_augmentation=augmentation,
    )
    assert epoch(split) == epoch(split)
    found = [*epoch(split), *epoch(split, 1), *epoch(split, seed=1)]
    assert len(set(found)) == len(found) == 3 * 2 * COUNT


def test_random_augmentation_affects_training_batches_alone(
    pixels: np.ndarray, write_transformed: Callable[..., str]
) -> None:
    augmentation = RandomAugmentationConfig(stain=0.5, colour=0.5, rotate=True)
    pattern = write_transformed(pixels, [0] * COUNT)
    split = TransformedSplit(
        [pattern], size=SIZE, offline_augmentations=THREE_FOLD, random_augmentation=augmentation
    )
    assert images(split.batches(batch_size=3)) == [one.tobytes() for one in pixels]
    assert images(split.view_batches(batch_size=3)) == views_of(pixels)


def test_digest_covers_pixels_labels_order_and_views(
    pixels: np.ndarray, write_transformed: Callable[..., str]
) -> None:
    def digest(pixels: np.ndarray, labels: list[int], *augmentations: OfflineAugmentation) -> str:
        return TransformedSplit(
            [write_transformed(pixels, labels)], size=SIZE, offline_augmentations=augmentations
        ).digest

    plain = digest(pixels, [0] * COUNT, "original")
    assert plain == digest(pixels.copy(), [0] * COUNT, "original")
    others = {
        digest(pixels ^ 1, [0] * COUNT, "original"),
        digest(pixels, [1] * COUNT, "original"),
        digest(pixels, [0] * COUNT, "flip_vertical"),
        digest(pixels[::-1], [0] * COUNT, "original"),
    }
    assert len(others | {plain}) == 5


def test_training_batches_ignore_the_global_seed(split: TransformedSplit) -> None:
    orders = set()
    for seed in (0, 1, 5):
        tf.random.set_seed(seed)
        orders.add(tuple(epoch(split, 3)))
    assert len(orders) == 1


def test_training_batches_of_no_epoch_are_empty(split: TransformedSplit) -> None:
    assert images(split.training_batches(batch_size=4, seed=0, epochs=range(3, 3))) == []


def test_image_names_are_those_of_the_batch(split: TransformedSplit, pixels: np.ndarray) -> None:
    names = dict(zip(views_of(pixels), np.repeat([f"images/{n}.png" for n in range(COUNT)], 3), strict=True))
    batches = split.training_batches(batch_size=4, seed=3, epochs=range(1, 2))
    for batch, (shown, _) in enumerate(batches.as_numpy_iterator()):
        found = split.image_names(
            batch=batch, batch_size=4, seed=3, epoch=1, shuffle_buffer=split.shuffle_buffer
        )
        assert found == sorted({str(names[one.tobytes()]) for one in shown})


def test_pixel_statistics_are_read_from_the_examples(split: TransformedSplit, pixels: np.ndarray) -> None:
    mean, std = split.pixel_statistics()
    np.testing.assert_allclose(mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std(axis=(0, 1, 2)), rtol=1e-5)


def order(epochs: range, *, count: int = 50, seed: int = 0, buffer: int = 4096, batch: int = 7) -> list[int]:
    elements = tf.data.Dataset.range(count).map(lambda number: (number,))
    batches = training_epochs(
        elements,
        lambda number, seed: number,
        count=count,
        batch_size=batch,
        buffer=buffer,
        seed=seed,
        epochs=epochs,
    )
    return [int(number) for numbers in batches for number in numbers]


@given(
    count=st.integers(1, 30),
    buffer=st.integers(1, 40),
    batch=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=15)
def test_training_epochs_have_every_element_once(count: int, buffer: int, batch: int, seed: int) -> None:
    found = order(range(2), count=count, buffer=buffer, batch=batch, seed=seed)
    assert sorted(found[:count]) == sorted(found[count:]) == list(range(count))


@pytest.mark.parametrize("seed", [0, 1])
def test_training_epochs_ignore_the_global_seed(seed: int) -> None:
    before = order(range(2))
    tf.random.set_seed(seed)
    assert order(range(2)) == before


def test_training_epochs_from_a_later_epoch_are_the_same() -> None:
    whole = order(range(5))
    assert order(range(3, 5)) == whole[150:]
    assert len({tuple(whole[start : start + 50]) for start in range(0, 250, 50)}) == 5


def test_training_epochs_of_two_seeds_differ() -> None:
    assert not {tuple(order(range(epoch, epoch + 1), seed=0)) for epoch in range(4)} & {
        tuple(order(range(epoch, epoch + 1), seed=1)) for epoch in range(4)
    }


def test_training_epochs_pass_seed_and_epoch_to_parse() -> None:
    elements = tf.data.Dataset.range(2).map(lambda number: (number,))
    batches = training_epochs(
        elements,
        lambda number, seed: seed,
        count=2,
        batch_size=2,
        buffer=2,
        seed=9,
        epochs=range(4, 6),
    )
    assert [batch.tolist() for batch in batches.as_numpy_iterator()] == [[[9, 4]] * 2, [[9, 5]] * 2]


def test_filter_records_selects_all_views_of_an_image() -> None:
    records = tf.data.Dataset.from_tensor_slices(["a0", "a1", "b0", "b1", "c0", "c1"])
    selected = filter_records(records, np.array([True, False, True]), views=2)
    assert list(selected.as_numpy_iterator()) == [b"a0", b"a1", b"c0", b"c1"]


def test_filter_records_may_select_none() -> None:
    records = tf.data.Dataset.from_tensor_slices(["a", "b"])
    assert list(filter_records(records, np.zeros(2, bool)).as_numpy_iterator()) == []


def test_class_counts_of_three_classes_include_those_that_a_subset_lacks(
    pixels: np.ndarray, write_transformed: Callable[..., str]
) -> None:
    labels = np.array([0, 2, 2, 1, 0, 2, 0])
    split = TransformedSplit([write_transformed(pixels, labels.tolist())], size=SIZE)
    assert split.class_counts == (3, 1, 3)
    assert split.subset(labels == 0, labels=labels).class_counts == (3, 0, 0)
