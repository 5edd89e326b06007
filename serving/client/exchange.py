"""The course of a batch: which requests are made for it, whoever sends them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

import grpc

from serving.client.bad_image import BadImage
from serving.client.batches import Batch
from serving.client.explain_error import first_line, refuses_images

Answer = TypeVar("Answer")
# Yields the images of a request (none: there is nothing to send), is sent the response or the error.
Exchange: TypeAlias = Generator[list[bytes], Any, list[Answer | BadImage]]


def exchange(batch: Batch, *, read: Callable[[Any], list[Answer]], target: str) -> Exchange[Answer]:
    """Asks about a batch; where the server refuses it, about its halves, down to the image it means.

    Returns an answer for each image, in order. Errors that are not about images are raised.
    """
    answers = iter((yield from _settle([i for i in batch if isinstance(i, bytes)], read=read, target=target)))
    return [next(answers) if isinstance(image, bytes) else image for image in batch]


def _settle(images: list[bytes], *, read: Callable[[Any], list[Answer]], target: str) -> Exchange[Answer]:
    reply = yield images
    if not images:
        return []
    if not isinstance(reply, grpc.RpcError):
        return [*read(reply)]
    if not refuses_images(reply):
        raise reply
    if len(images) == 1:
        said = first_line(reply)
        return [BadImage(f"{target} refused the image: send PNG or JPEG files. It said: {said}")]
    answers: list[Answer | BadImage] = []
    for half in (images[: len(images) // 2], images[len(images) // 2 :]):
        answers += yield from _settle(half, read=read, target=target)
    return answers
