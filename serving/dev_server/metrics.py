"""What Prometheus is told, under TF Serving's own names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

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
