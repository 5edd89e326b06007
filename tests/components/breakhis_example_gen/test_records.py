"""The Beam step, called directly."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.breakhis_example_gen.records import WriteShard
from knet.data.examples import ingested_images
from knet.data.folders import Folder
from knet.data.ingest import Shard
from knet.data.source import ImageFile

NAMES = ("c.png", "bad.png", "a.png", "none.png")
SHARD = Shard("test", 0, 1, tuple(ImageFile(name, "benign", "1") for name in NAMES))


@pytest.fixture
def step(tmp_path: Path, picture: Callable[..., bytes]) -> Iterator[WriteShard]:
    """A step on a folder with two images and a damaged one; it writes to `out`."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out" / "Split-test").mkdir(parents=True)
    for name, content in (("a.png", picture()), ("bad.png", b""), ("c.png", picture(colour=(9, 9, 9)))):
        (tmp_path / "in" / name).write_bytes(content)
    step = WriteShard(Folder(tmp_path / "in"), str(tmp_path / "out"), classes=("benign", "malignant"))
    step.setup()
    yield step
    step.teardown()


def test_write_shard_writes_valid_images_in_order(
    step: WriteShard, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    list(step.process(SHARD))
    written = ingested_images(tmp_path / "out" / "Split-test", count=9)
    assert written == [("c.png", picture(colour=(9, 9, 9))), ("a.png", picture())]


def test_write_shard_yields_the_ingest_status_of_each_image(step: WriteShard) -> None:
    rows = [json.loads(line) for line in step.process(SHARD)]
    assert [row["path"] for row in rows] == list(NAMES)
    assert ["pixels" in row for row in rows] == [True, False, True, False]
    assert rows[0]["scalars"]["image/mean_red"] == 9 and "scalars" not in rows[1]
    assert [row.get("reason") for row in rows] == [
        None,
        "zero bytes",
        None,
        "a link that leads nowhere",
    ]
    assert {(row["split"], row["label"], row["patient"]) for row in rows} == {("test", "benign", "1")}


def test_write_shard_writes_its_file_atomically(step: WriteShard, tmp_path: Path) -> None:
    working = step.process(SHARD)
    next(working)
    assert list((tmp_path / "out" / "Split-test").iterdir()) == []
    list(working)
    assert [path.name for path in (tmp_path / "out" / "Split-test").iterdir()] == [Path(SHARD.file).name]


def test_write_shard_twice_writes_the_same_bytes(step: WriteShard, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        list(step.process(SHARD))
        contents.append((tmp_path / "out" / SHARD.file).read_bytes())
    assert contents[0] == contents[1]
