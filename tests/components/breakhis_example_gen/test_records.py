"""The Beam step, called as Beam calls it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.records import (
    IMAGES_PER_SHARD,
    Shard,
    WriteShard,
    make_example,
    plan_shards,
)
from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.base.protos import Example
from knet.data.folders import Folder
from knet.data.image_checks import UnusableError, examine
from knet.data.source import ImageFile
from knet.training.dataset import ingested_images

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


SPLITS = {"1": "train", "2": "validation", "3": "test"}


def images(count: int, patient: str = "1") -> list[ImageFile]:
    return [ImageFile(f"{patient}/{number:04}.png", "benign", patient) for number in range(count)]


@given(st.integers(0, 200), st.integers(0, 70), st.integers(0, 2**31 - 1))
def test_every_image_is_in_one_shard_of_its_split(train: int, test: int, seed: int) -> None:
    shards = plan_shards([*images(train), *images(test, "3")], SPLITS, seed=seed)
    by_split = {
        s: [i for shard in shards if shard.split == s for i in shard.images] for s in schema_names.SPLITS
    }
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


CLASSES = ("benign", "malignant")
IMAGE = ImageFile(
    path="malignant/SOB/ductal_carcinoma/SOB_M_DC_14-22549AB/100X/SOB_M_DC-14-22549AB-100-003.png",
    label="malignant",
    patient="14-22549",
    columns=(("slide", "14-22549AB"), ("magnification", "100X")),
)


def values(record: bytes) -> dict[str, list[int] | list[bytes] | list[float]]:
    feature = Example.FromString(record).features.feature
    return {name: list(getattr(of, of.WhichOneof("kind")).value) for name, of in feature.items()}


def test_all_features_and_their_types(picture: Callable[..., bytes]) -> None:
    content = picture(size=(70, 46), colour=(200, 80, 160))
    ingested = make_example(IMAGE, content, split="validation", classes=CLASSES)
    scalars = image_scalars(examine(content).pixels)
    assert values(ingested.record) == {
        schema_names.IMAGE: [content],
        schema_names.LABEL: [1],
        schema_names.PATH: [IMAGE.path.encode()],
        schema_names.WIDTH: [70],
        schema_names.HEIGHT: [46],
        schema_names.PATIENT: [b"14-22549"],
        schema_names.SPLIT: [b"validation"],
        "slide": [b"14-22549AB"],
        "magnification": [b"100X"],
        **{name: [pytest.approx(value, rel=1e-6)] for name, value in scalars.items()},
    }


def test_the_label_is_the_place_among_the_classes(picture: Callable[..., bytes]) -> None:
    ingested = make_example(IMAGE, picture(), split="train", classes=("malignant", "benign"))
    assert values(ingested.record)[schema_names.LABEL] == [0]


def test_the_same_image_gives_the_same_bytes(picture: Callable[..., bytes]) -> None:
    one, other = (make_example(IMAGE, picture(), split="train", classes=CLASSES) for _ in range(2))
    assert one == other


def test_the_hash_is_of_the_pixels_and_not_of_the_file(picture: Callable[..., bytes]) -> None:
    def pixel_hash(content: bytes) -> str:
        return make_example(IMAGE, content, split="train", classes=CLASSES).pixel_hash

    same = pixel_hash(picture(colour=(1, 2, 3)))
    assert pixel_hash(picture(colour=(1, 2, 3), kind="TIFF")) == same
    assert pixel_hash(picture(colour=(1, 2, 4))) != same
    assert pixel_hash(picture(colour=(1, 2, 3), size=(32, 40))) != same  # as many pixels, in other rows


@pytest.mark.parametrize("kept", [0, 20, -30])
def test_a_truncated_image_is_unusable(picture: Callable[..., bytes], kept: int) -> None:
    with pytest.raises(UnusableError):
        make_example(IMAGE, picture(size=(70, 46))[:kept], split="train", classes=CLASSES)
