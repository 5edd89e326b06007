"""How images are read, and divided among requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client import batches as module
from serving.client import read_image as reading
from serving.client.bad_image import BadImage
from serving.client.batches import batches
from serving.client.read_image import read_image


@given(sizes=st.lists(st.integers(0, 12), max_size=30), count=st.integers(1, 5))
def test_every_image_is_in_one_request_in_order(sizes: list[int], count: int) -> None:
    images = [b"x" * size for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BYTES", 10)
        divided = list(batches(images, count=count))
    assert [image for batch in divided for image in batch] == [read_image(image) for image in images]
    for batch in divided:
        weight = sum(len(image) for image in batch if isinstance(image, bytes))
        assert 1 <= len(batch) <= count
        assert weight <= 10 or len(batch) == 1 or sum(isinstance(image, bytes) for image in batch) == 1


def test_images_are_read_when_they_are_needed() -> None:
    read = []

    def images() -> Iterator[bytes]:
        for number in range(10):
            read.append(number)
            yield b"x"

    next(batches(images(), count=2))
    assert read == [0, 1, 2]


def test_what_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LARGEST", 3)
    (tmp_path / "void.png").touch()
    (tmp_path / "large.png").write_bytes(b"1234")
    reasons = {
        tmp_path: "Is a directory; give a PNG or JPEG file",
        tmp_path / "none.png": "No such file or directory; give a PNG or JPEG file",
        tmp_path / "void.png": "is empty; give a PNG or JPEG file",
        tmp_path / "large.png": "has 4 bytes; give a file of at most 3",
        7: "a int is not an array; give a path, the bytes of a file or uint8 [rows, columns, 3]",
        BadImage("known before"): "known before",
    }
    assert {image: read_image(image) for image in reasons} == {
        image: BadImage(reason) for image, reason in reasons.items()
    }
