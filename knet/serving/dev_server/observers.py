"""Observers of the development server: what they get of each request, and the queue before them."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol

_LOG = logging.getLogger(__name__)

Value = float | int | bool | str | list[float] | list[int] | list[bool] | list[str]


@dataclass(frozen=True)
class RequestRecord:
    """One answered predict request."""

    time: datetime  # UTC, of the reply
    seconds: float  # latency
    model: str
    version: int
    signature: str
    images: Sequence[bytes]  # encoded image files; store them only if the user asked for that
    # For each image its outputs by alias: a scalar, or a short list such as a row of `probabilities`.
    # Embeddings and heat maps are left out.
    outputs: Sequence[Mapping[str, Value]]
    patient: str | None = None  # of all images, if the request named one

    @cached_property
    def image_sha256(self) -> tuple[str, ...]:
        """SHA-256 of each image file, in hexadecimal."""
        return tuple(hashlib.sha256(image).hexdigest() for image in self.images)


class Observer(Protocol):
    """Receives every successful predict request whose signature has an image input, over gRPC and REST.

    It is called in a separate thread, one record at a time, behind the replies. A slow observer delays none,
    but gets no further records while those that wait have 16 MiB of images. Exceptions are logged.
    """

    def observe(self, request_record: RequestRecord) -> None:
        """Process one record."""


_MAX_WAITING: Final = 16 * 1024 * 1024  # bytes of images; those of 700 x 460 pixels are logged in seconds


class ObserverQueue:
    """Hands records to observers in a thread, and drops those that come while too many wait."""

    def __init__(self, observers: Sequence[Observer], *, on_drop: Callable[[RequestRecord], None]) -> None:
        """Create the queue.

        Args:
            observers: called one after the other.
            on_drop: called with each record that is dropped.
        """
        self._observers = observers
        self._on_drop = on_drop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="observe")
        self._lock = threading.Lock()
        self._waiting = 0  # bytes of images
        self._dropping = False

    def put(self, record: RequestRecord) -> None:
        """Add a record, without waiting."""
        size = sum(map(len, record.images))
        with self._lock:
            fits = not self._waiting or self._waiting + size <= _MAX_WAITING
            is_first_drop = not fits and not self._dropping
            self._dropping = not fits
            self._waiting += size if fits else 0
        if fits:
            self._thread.submit(self._notify, record, size)
            return
        self._on_drop(record)
        if is_first_drop:
            _LOG.warning(
                "observers are slower than the requests: records are dropped, and counted in the metrics"
            )

    def close(self) -> None:
        """Wait until the observers have the records that are in the queue."""
        self._thread.shutdown()

    def _notify(self, record: RequestRecord, size: int) -> None:
        try:
            for observer in self._observers:
                try:
                    observer.observe(record)
                except Exception:
                    _LOG.exception("observer %s failed", type(observer).__name__)
        finally:
            with self._lock:
                self._waiting -= size
