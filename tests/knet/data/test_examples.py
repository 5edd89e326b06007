"""Examples of ExampleGen are read back as they were written."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.protos import Example
from knet.base.tfrecord import tf_record
from knet.data.examples import IngestedExample, ingested_examples, ingested_images


def record(name: str) -> bytes:
    example = Example()
    feature = example.features.feature
    feature[schema_names.PATH].bytes_list.value.append(f"{name}.png".encode())
    feature[schema_names.PATIENT].bytes_list.value.append(b"7")
    feature[schema_names.LABEL].int64_list.value.append(1)
    feature[schema_names.IMAGE].bytes_list.value.append(name.encode())
    return tf_record(example.SerializeToString())


@pytest.fixture
def split(tmp_path: Path) -> Path:
    (tmp_path / "b.gz").write_bytes(gzip.compress(record("three")))
    (tmp_path / "a.gz").write_bytes(gzip.compress(record("one") + record("two")))
    return tmp_path


def test_ingested_examples_are_in_the_order_of_the_files(split: Path) -> None:
    assert list(ingested_examples(split)) == [
        IngestedExample(f"{name}.png", "7", 1, name.encode()) for name in ("one", "two", "three")
    ]


def test_ingested_images_stop_at_the_count(split: Path) -> None:
    (split / "b.gz").write_bytes(b"damaged")
    assert ingested_images(split, count=2) == [("one.png", b"one"), ("two.png", b"two")]
    with pytest.raises(UserError, match="b.gz is damaged"):
        ingested_images(split, count=3)
