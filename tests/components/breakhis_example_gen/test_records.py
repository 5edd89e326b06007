"""The Beam step, called directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.breakhis_example_gen.records import WriteShard
from knet.data.examples import ingested_images
from knet.data.folders import Folder
from knet.data.shards import Shard, plan_shards, write_shard_manifests
from knet.data.source import ImageFile
from knet.data.statuses import IngestStatuses, collect_statuses

NAMES = ("c.png", "bad.png", "a.png", "none.png")
IMAGES = [ImageFile(name, "benign", "1") for name in sorted(NAMES)]
SHARD = Shard("test", 0, 1)
SEED = 36  # by which the valid images are in the order of NAMES


def split_of(image: ImageFile) -> str:
    return "test"


@pytest.fixture
def step(tmp_path: Path, picture: Callable[..., bytes]) -> Iterator[WriteShard]:
    """A step on a folder with two images and a damaged one; it writes to `out`."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "Split-test").mkdir(parents=True)
    for name, content in (("a.png", picture()), ("bad.png", b""), ("c.png", picture(colour=(9, 9, 9)))):
        (tmp_path / "in" / name).write_bytes(content)
    for folder in ("manifests", "statuses"):
        (tmp_path / folder).mkdir()
    write_shard_manifests(
        plan_shards(IMAGES, split_of, seed=SEED, image_bytes=1), IMAGES, tmp_path / "manifests"
    )
    step = WriteShard(
        Folder(tmp_path / "in"),
        str(tmp_path / "out"),
        manifests=tmp_path / "manifests",
        statuses=tmp_path / "statuses",
        classes=("benign", "malignant"),
    )
    step.setup()
    yield step
    step.teardown()


def test_write_shard_writes_valid_images_in_order(
    step: WriteShard, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    list(step.process(SHARD))
    written = ingested_images(tmp_path / "out" / "Split-test", count=9)
    assert written == [("c.png", picture(colour=(9, 9, 9))), ("a.png", picture())]


def test_write_shard_writes_the_ingest_status_of_each_image(step: WriteShard, tmp_path: Path) -> None:
    rows = statuses(step, tmp_path)
    assert [row["path"] for row in rows] == sorted(NAMES)
    assert ["pixels" in row for row in rows] == [True, False, True, False]
    assert rows[2]["scalars"]["image/mean_red"] == 9 and "scalars" not in rows[1]
    assert [row.get("reason") for row in rows] == [
        None,
        "zero bytes",
        None,
        "a link that leads nowhere",
    ]
    assert {(row["split"], row["label"], row["patient"]) for row in rows} == {("test", "benign", "1")}
    assert ["sha256" in row for row in rows] == [True, True, True, False]


def statuses(step: WriteShard, folder: Path) -> list[dict[str, Any]]:
    reasons = dict(step.process(SHARD))
    collect_statuses([folder / "statuses" / SHARD.name], folder / "collected")
    return list(IngestStatuses(IMAGES, split_of, folder / "collected", reasons))


def test_write_shard_writes_its_files_atomically(step: WriteShard, tmp_path: Path) -> None:
    working = step.process(SHARD)
    next(working)
    assert list((tmp_path / "out" / "Split-test").iterdir()) == []
    assert list((tmp_path / "statuses").iterdir()) == []
    list(working)
    assert [path.name for path in (tmp_path / "statuses").iterdir()] == [SHARD.name]
    assert [path.name for path in (tmp_path / "out" / "Split-test").iterdir()] == [Path(SHARD.file).name]


def test_write_shard_twice_writes_the_same_bytes(step: WriteShard, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        list(step.process(SHARD))
        contents.append((tmp_path / "out" / SHARD.file).read_bytes())
    assert contents[0] == contents[1]
