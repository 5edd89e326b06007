"""What the development server tells those who want to know of each answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol

# The header, or metadata of gRPC, by which a client may say whose images it sends, percent-encoded.
PATIENT: Final = "x-patient"

Value = float | int | bool | str | list[float] | list[int] | list[bool] | list[str]


@dataclass(frozen=True)
class RequestRecord:
    """One answered predict request."""

    time: datetime  # UTC, of the answer
    seconds: float  # from the request's arrival to its answer
    model: str
    version: int
    signature: str
    images: Sequence[bytes]  # as sent; not to be kept unless the user asked for that
    # for each image what the reply says of it, by output: a value, or a short list of them (a row of
    # `probabilities`); vectors and heat maps are left out
    answers: Sequence[Mapping[str, Value]]
    patient: str | None = None  # whose images they are, where the request said so

    @cached_property
    def image_sha256(self) -> tuple[str, ...]:
        """The SHA-256 of each image's bytes, in hexadecimal."""
        return tuple(hashlib.sha256(image).hexdigest() for image in self.images)


class Observer(Protocol):
    """Sees every answered predict request whose signature takes images, over gRPC and REST.

    It is called in a thread of its own, with one record after the other; each answer is sent when it has
    returned. What it raises is logged, and does not reach the client.
    """

    def observe(self, request_record: RequestRecord) -> None:
        """Takes one record."""
