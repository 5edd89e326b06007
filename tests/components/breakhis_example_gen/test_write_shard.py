"""The Beam step, called as Beam calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.shards import Shard
from components.breakhis_example_gen.sources.folder import Folder
from components.breakhis_example_gen.write_shard import WriteShard
from pipeline.ingested_images import ingested_images

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


def test_good_images_are_written_in_their_order(
    step: WriteShard, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    list(step.process(SHARD))
    written = ingested_images(tmp_path / "out" / "Split-test", count=9)
    assert written == [("c.png", picture(colour=(9, 9, 9))), ("a.png", picture())]


def test_what_became_of_each_image_is_told(step: WriteShard) -> None:
    fates = [json.loads(line) for line in step.process(SHARD)]
    assert [fate["path"] for fate in fates] == list(NAMES)
    assert ["pixels" in fate for fate in fates] == [True, False, True, False]
    assert [fate.get("reason") for fate in fates] == [None, "zero bytes", None, "a link that leads nowhere"]
    assert {(fate["split"], fate["label"], fate["patient"]) for fate in fates} == {("test", "benign", "1")}


def test_a_file_stands_in_its_place_only_when_it_is_whole(step: WriteShard, tmp_path: Path) -> None:
    working = step.process(SHARD)
    next(working)
    assert list((tmp_path / "out" / "Split-test").iterdir()) == []
    list(working)
    assert [path.name for path in (tmp_path / "out" / "Split-test").iterdir()] == [Path(SHARD.file).name]


def test_done_twice_it_gives_the_same_file(step: WriteShard, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        list(step.process(SHARD))
        contents.append((tmp_path / "out" / SHARD.file).read_bytes())
    assert contents[0] == contents[1]
