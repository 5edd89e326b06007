"""Plan of shards, and their manifests."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base import schema_names
from knet.data import shards as module
from knet.data.shards import (
    IMAGES_PER_SHARD,
    images_per_shard,
    plan_shards,
    read_shard_manifest,
    write_shard_manifests,
)
from knet.data.source import ImageFile


def split_of(image: ImageFile) -> str:
    return {"1": "train", "2": "validation", "3": "test"}[image.patient]


def images(count: int, patient: str = "1") -> list[ImageFile]:
    return [ImageFile(f"{patient}/{number:04}.png", "benign", patient) for number in range(count)]


def planned(images: Sequence[ImageFile], *, seed: int = 0) -> dict[str, list[ImageFile]]:
    """Plan shards, and return the images of each file in their order."""
    plan = plan_shards(images, split_of, seed=seed, image_bytes=1)
    files: dict[str, list[ImageFile]] = {shard.file: [] for shard in plan.shards}
    names = [shard.file for i, shard in enumerate(plan.shards) for _ in range(plan.images_in(i))]
    for place, image in sorted(zip(plan.places.tolist(), images, strict=True)):
        files[names[place]].append(image)
    return files


@given(st.integers(0, 200), st.integers(0, 70), st.integers(0, 2**31 - 1))
def test_plan_shards_puts_each_image_in_one_shard_of_its_split(train: int, test: int, seed: int) -> None:
    plan = plan_shards([*images(train), *images(test, "3")], split_of, seed=seed, image_bytes=1)
    assert sorted(plan.places) == list(range(train + test))
    files = planned([*images(train), *images(test, "3")], seed=seed)
    by_split = {
        s: [i for file, of in files.items() for i in of if file.startswith(f"Split-{s}/")]
        for s in schema_names.SPLITS
    }
    assert {s: len(of) for s, of in by_split.items()} == {"train": train, "validation": 0, "test": test}
    assert Counter(by_split["train"]) == Counter(images(train))
    assert max(map(len, files.values())) <= IMAGES_PER_SHARD
    assert (
        len({shard.file for shard in plan.shards}) == len({s.name for s in plan.shards}) == len(plan.shards)
    )


def test_plan_shards_ignores_the_order_of_images() -> None:
    assert planned(images(99)) == planned(images(99)[::-1])


def test_plan_shards_shuffles_by_the_seed() -> None:
    one, other = ([i.path for of in planned(images(99), seed=seed).values() for i in of] for seed in (0, 1))
    assert one != sorted(one) and one != other and sorted(one) == sorted(other)


def test_plan_shards_gives_a_split_without_images_a_shard() -> None:
    assert list(planned(images(33))) == [
        "Split-train/data_tfrecord-00000-of-00002.gz",
        "Split-train/data_tfrecord-00001-of-00002.gz",
        "Split-validation/data_tfrecord-00000-of-00001.gz",
        "Split-test/data_tfrecord-00000-of-00001.gz",
    ]


def test_plan_shards_orders_images_by_a_hash_of_seed_and_path() -> None:
    expected = sorted(images(32), key=lambda image: hashlib.sha256(f"7/{image.path}".encode()).digest())
    assert planned(images(32), seed=7)["Split-train/data_tfrecord-00000-of-00001.gz"] == expected


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (7909, 500_000, 32),  # BreaKHis
        (8192, 1, 32),
        (100_000, 500_000, 268),  # of 128 MiB
        (100_000, 50_000, 391),  # 256 shards
        (5_000_000, 50_000, 2684),
        (100, 20 * 2**20, 6),
        (100, 2**40, 1),
        (0, 0, 32),
    ],
)
def test_images_per_shard_by_number_and_bytes(count: int, size: int, expected: int) -> None:
    assert images_per_shard(count, size) == expected


def test_manifests_hold_the_images_of_each_shard_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUFFER", 1000)  # characters: several appends to each file
    found = [*images(70), *images(40, "2"), ImageFile("\u00fc\n.png", "benign", "3", (("stain", "HE"),))]
    plan = plan_shards(found, split_of, seed=1, image_bytes=1)
    write_shard_manifests(plan, found, tmp_path)
    rows = {shard.file: read_shard_manifest(shard, tmp_path) for shard in plan.shards}
    assert {file: [image for _, image in of] for file, of in rows.items()} == planned(found, seed=1)
    assert all(found[index] == image for of in rows.values() for index, image in of)
