"""Batches and their bisection, without a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.client import images as reading
from knet.client import protocol as module
from knet.client.images import FailedPrediction, read_image
from knet.client.protocol import Batch, batches, bisect_requests


class Refused(grpc.RpcError):
    """An error as gRPC raises it."""

    def __init__(self, code: str = "INVALID_ARGUMENT", details: str = "must be PNG or JPEG") -> None:
        self._code, self._details = grpc.StatusCode[code], details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


def ask(batch: Batch) -> tuple[list[str | FailedPrediction], int]:
    """Simulate a server that rejects requests with an image `bad`; return results and request count."""
    steps = bisect_requests(
        batch, decode=lambda images: [image.decode() for image in images], target="here:1"
    )
    images, request_count = next(steps), 0
    try:
        while True:
            request_count += bool(images)
            images = steps.send(Refused() if b"bad" in images else images or None)
    except StopIteration as done:
        return done.value, request_count


BATCH_IMAGES = st.sampled_from([b"1", b"2", b"3", b"bad", FailedPrediction("unreadable")])


@given(batch=st.lists(BATCH_IMAGES, max_size=20))
def test_bisect_requests_gives_each_image_its_result(batch: Batch) -> None:
    answers, request_count = ask(batch)
    refusal = FailedPrediction("here:1 rejected the image: send PNG or JPEG files (must be PNG or JPEG)")
    own = {b"bad": refusal}
    assert answers == [
        own.get(image, image.decode()) if isinstance(image, bytes) else image for image in batch
    ]
    sent, bad = sum(isinstance(image, bytes) for image in batch), batch.count(b"bad")
    assert request_count <= (1 + 2 * bad * math.ceil(math.log2(sent)) if sent else 0)


def test_bisect_requests_halves_a_batch_that_is_late() -> None:
    steps = bisect_requests([b"1", b"2", b"3"], decode=lambda images: images, target="here:1")
    late = Refused("DEADLINE_EXCEEDED", "Deadline Exceeded")
    assert next(steps) == [b"1", b"2", b"3"]
    assert steps.send(late) == [b"1"]
    assert steps.send(["one"]) == [b"2", b"3"]
    assert steps.send(late) == [b"2"]
    with pytest.raises(Refused):  # one image alone: the server is too slow
        steps.send(late)


@pytest.mark.parametrize(
    ("code", "details", "remedy"),
    [
        ("INVALID_ARGUMENT", "must be PNG or JPEG", "send PNG or JPEG files"),
        ("INVALID_ARGUMENT", "an image must have at most 20000000 pixels", "send a smaller image"),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (99 vs. 9)", "send a smaller image"),
    ],
)
def test_bisect_requests_advice_fits_the_cause(code: str, details: str, remedy: str) -> None:
    steps = bisect_requests([b"1"], decode=lambda images: images, target="here:1")
    next(steps)
    with pytest.raises(StopIteration) as stopped:
        steps.send(Refused(code, details))
    expected = f"here:1 rejected the image: {remedy} ({details})"
    assert stopped.value.value == [FailedPrediction(expected)]


@given(sizes=st.lists(st.integers(0, 12), max_size=30), count=st.integers(1, 5))
def test_batches_keep_order_and_limits(sizes: list[int], count: int) -> None:
    images = [b"x" * size for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH_BYTES", 10)
        divided = list(batches(images, count=count))
    assert [image for batch in divided for image in batch] == [read_image(image) for image in images]
    for batch in divided:
        weight = sum(len(image) for image in batch if isinstance(image, bytes))
        assert 1 <= len(batch) <= count
        assert weight <= 10 or len(batch) == 1 or sum(isinstance(image, bytes) for image in batch) == 1


def test_batches_read_images_when_needed() -> None:
    read = []

    def images() -> Iterator[bytes]:
        for number in range(10):
            read.append(number)
            yield b"x"

    next(batches(images(), count=2))
    assert read == [0, 1, 2]


def test_read_image_gives_reason_of_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 3)
    (tmp_path / "void.png").touch()
    (tmp_path / "large.png").write_bytes(b"1234")
    reasons = {
        tmp_path: "Is a directory; give a PNG or JPEG file",
        tmp_path / "none.png": "No such file or directory; give a PNG or JPEG file",
        tmp_path / "void.png": "is empty; give a PNG or JPEG file",
        tmp_path / "large.png": "has 4 bytes; give a file of at most 3",
        7: "a int is not an array; give a path, the bytes of a file or uint8 [rows, columns, 3]",
        FailedPrediction("known before"): "known before",
    }
    assert {image: read_image(image) for image in reasons} == {
        image: FailedPrediction(reason) for image, reason in reasons.items()
    }
