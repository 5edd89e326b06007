"""Ingest statuses on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from knet.base import schema_names
from knet.data.source import ImageFile
from knet.data.statuses import IngestStatuses, ShardStatuses, collect_statuses

IMAGES = [ImageFile(f"{name}.png", "benign", "1") for name in "abc"]
SCALARS = {name: number / 3 for number, name in enumerate(schema_names.IMAGE_SCALARS)}


def split_of(image: ImageFile) -> str:
    return "train" if image.path == "a.png" else "test"


def collected(folder: Path, *shards: ShardStatuses) -> Path:
    files = [folder / str(number) for number in range(len(shards))]
    for shard, file in zip(shards, files, strict=True):
        shard.write(file)
    collect_statuses(files, folder / "collected")
    return folder / "collected"


def test_ingest_statuses_are_in_the_order_of_the_catalog(tmp_path: Path) -> None:
    one, other = ShardStatuses(), ShardStatuses()
    one.add(2, sha256="0a" * 32, pixels="00" * 32, scalars=SCALARS)
    one.add(0)
    other.add(1, sha256="ff" * 32)
    statuses = IngestStatuses(IMAGES, split_of, collected(tmp_path, one, other), {0: "gone", 1: "grey"})
    image = {"label": "benign", "patient": "1"}
    expected = [
        {**image, "path": "a.png", "split": "train", "reason": "gone"},
        {**image, "path": "b.png", "split": "test", "reason": "grey", "sha256": "ff" * 32},
        {
            **image,
            "path": "c.png",
            "split": "test",
            "sha256": "0a" * 32,
            "pixels": "00" * 32,
            "scalars": SCALARS,
        },
    ]
    assert list(statuses) == list(statuses) == expected


@pytest.mark.parametrize("missing", [0, 1])
def test_ingest_statuses_without_an_image_are_refused(tmp_path: Path, missing: int) -> None:
    shard = ShardStatuses()
    for index in {0, 1, 2} - {missing}:
        shard.add(index, pixels="0a" * 32, scalars=SCALARS)
    with pytest.raises(RuntimeError, match=f"{IMAGES[missing].path}: no worker ingested it"):
        list(IngestStatuses(IMAGES, split_of, collected(tmp_path, shard), {}))
