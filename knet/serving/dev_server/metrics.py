"""What Prometheus is told, under TF Serving's own names."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_PREFIX = ":tensorflow:serving:"
_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))  # TF Serving's buckets


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = _Counts(
            f"{_PREFIX}request_count", "The total number of requests.", ("model_name", "status")
        )
        self._loads = _Counts(
            ":tensorflow:cc:saved_model:load_attempt_count",
            "The number of times a SavedModel was requested to be loaded.",
            ("model_path", "status"),
        )
        for counts in (self._requests, self._loads):
            self._registry.register(counts)
        self._request_seconds = self._histogram(
            "request_latency", "wall time of a request in microseconds", ("model_name", "API", "entrypoint")
        )
        self._model_seconds = self._histogram(
            "runtime_latency",
            "wall time that a request spends in the model in microseconds, waiting for others included",
            ("model_name", "API", "runtime"),
        )

    def answered(self, *, model: str, api: str, entrypoint: str, code: StatusCode, seconds: float) -> None:
        """Counts a request, refused ones too."""
        self._requests.add(model, code.name)
        self._request_seconds.labels(model, api, entrypoint).observe(seconds * 1e6)

    def ran(self, *, model: str, api: str, seconds: float) -> None:
        """Notes how long a model took for a request."""
        self._model_seconds.labels(model, api, "TF1").observe(seconds * 1e6)

    def loaded(self, path: str, status: str) -> None:
        """Counts an attempt to load a version; the status is OK or what went wrong."""
        self._loads.add(path, status)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(f"{_PREFIX}{name}", text, labels, buckets=_MICROSECONDS, registry=self._registry)


class _Counts(Collector):
    """A counter without the suffix `_total`, which the client library insists on and TF Serving has not."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    def add(self, *labels: str) -> None:
        with self._lock:
            self._counts[labels] += 1

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, self._text, "unknown")
        with self._lock:
            for labels, count in self._counts.items():
                metric.add_sample(self._name, dict(zip(self._labels, labels, strict=True)), count)
        yield metric


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
