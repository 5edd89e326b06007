"""Which images stand in which file."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.shards import IMAGES_PER_SHARD, plan_shards
from pipeline import features

SPLITS = {"1": "train", "2": "validation", "3": "test"}


def images(count: int, patient: str = "1") -> list[ImageFile]:
    return [ImageFile(f"{patient}/{number:04}.png", "benign", patient) for number in range(count)]


@given(st.integers(0, 200), st.integers(0, 70), st.integers(0, 2**31 - 1))
def test_every_image_is_in_one_shard_of_its_split(train: int, test: int, seed: int) -> None:
    shards = plan_shards([*images(train), *images(test, "3")], SPLITS, seed=seed)
    by_split = {s: [i for shard in shards if shard.split == s for i in shard.images] for s in features.SPLITS}
    assert {s: len(of) for s, of in by_split.items()} == {"train": train, "validation": 0, "test": test}
    assert Counter(i for of in by_split.values() for i in of) == Counter([*images(train), *images(test, "3")])
    assert max(len(shard.images) for shard in shards) <= IMAGES_PER_SHARD
    assert len({shard.file for shard in shards}) == len(shards)


def test_the_order_does_not_depend_on_how_images_are_listed() -> None:
    assert plan_shards(images(99), SPLITS, seed=0) == plan_shards(reversed(images(99)), SPLITS, seed=0)


def test_the_order_has_no_meaning_and_depends_on_the_seed() -> None:
    one, other = (
        [i.path for shard in plan_shards(images(99), SPLITS, seed=seed) for i in shard.images]
        for seed in (0, 1)
    )
    assert one != sorted(one) and one != other


def test_a_split_without_images_has_an_empty_file() -> None:
    assert [shard.file for shard in plan_shards(images(33), SPLITS, seed=0)] == [
        "Split-train/data_tfrecord-00000-of-00002.gz",
        "Split-train/data_tfrecord-00001-of-00002.gz",
        "Split-validation/data_tfrecord-00000-of-00001.gz",
        "Split-test/data_tfrecord-00000-of-00001.gz",
    ]
