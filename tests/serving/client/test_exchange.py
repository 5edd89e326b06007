"""The course of a batch, without a network."""

from __future__ import annotations

import math

import grpc
from hypothesis import given
from hypothesis import strategies as st

from serving.client.bad_image import BadImage
from serving.client.batches import Batch
from serving.client.exchange import exchange


class Refused(grpc.RpcError):
    """As gRPC raises it."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INVALID_ARGUMENT

    def details(self) -> str:
        return "must be PNG or JPEG"


def ask(batch: Batch) -> tuple[list[str | BadImage], int]:
    """The answers of a server that refuses whatever holds an image `bad`, and how often it was asked."""
    steps = exchange(batch, read=lambda images: [image.decode() for image in images], target="here:1")
    images, asked = next(steps), 0
    try:
        while True:
            asked += bool(images)
            images = steps.send(Refused() if b"bad" in images else images or None)
    except StopIteration as done:
        return done.value, asked


images = st.sampled_from([b"1", b"2", b"3", b"bad", BadImage("unreadable")])


@given(batch=st.lists(images, max_size=20))
def test_every_image_has_the_answer_that_is_its_own(batch: Batch) -> None:
    answers, asked = ask(batch)
    refusal = BadImage("here:1 refused the image: send PNG or JPEG files. It said: must be PNG or JPEG")
    own = {b"bad": refusal}
    assert answers == [
        own.get(image, image.decode()) if isinstance(image, bytes) else image for image in batch
    ]
    sent, bad = sum(isinstance(image, bytes) for image in batch), batch.count(b"bad")
    assert asked <= (1 + 2 * bad * math.ceil(math.log2(sent)) if sent else 0)
