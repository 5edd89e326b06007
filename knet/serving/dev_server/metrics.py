"""Metrics of the development server, under TF Serving's names."""

from __future__ import annotations

import threading
from collections import Counter

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Histogram, generate_latest

_PREFIX = ":tensorflow:serving:"
_MICROSECONDS = tuple(10 * 1.8**power for power in range(33))  # TF Serving's buckets


class Metrics:
    """Prometheus metrics of one server."""

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
        self._dropped = _Counts(
            ":knet:observer:dropped_images_count",
            "Images of answered requests that observers, such as the request log, did not get.",
            ("model_name",),
        )
        self._request_seconds = self._histogram(
            "request_latency", "wall time of a request in microseconds", ("model_name", "API", "entrypoint")
        )
        self._model_seconds = self._histogram(
            "runtime_latency",
            "wall time that a request spends in the model in microseconds, waiting for its batch included",
            ("model_name", "API", "runtime"),
        )

    def count_request(
        self, *, model: str, api: str, entrypoint: str, code: StatusCode, seconds: float
    ) -> None:
        """Count a request, failed ones included, and observe its latency in seconds."""
        self._requests.add(model, code.name)
        self._request_seconds.labels(model, api, entrypoint).observe(seconds * 1e6)

    def observe_model(self, *, model: str, api: str, seconds: float) -> None:
        """Observe the seconds that a request spent in the model, waiting for its batch included."""
        self._model_seconds.labels(model, api, "TF1").observe(seconds * 1e6)

    def count_load(self, path: str, status: str) -> None:
        """Count an attempt to load a version; the status is OK or the type of the error."""
        self._loads.add(path, status)

    def count_dropped(self, *, model: str, images: int) -> None:
        """Count images that the observers did not get."""
        self._dropped.add(model, count=images)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format."""
        counters = "".join(counts.render() for counts in (self._requests, self._loads, self._dropped))
        return counters.encode() + generate_latest(self._registry)

    def _histogram(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return Histogram(f"{_PREFIX}{name}", text, labels, buckets=_MICROSECONDS, registry=self._registry)


class _Counts:
    """A counter without the suffix `_total`, which TF Serving lacks and the client library enforces."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._lock = threading.Lock()

    def add(self, *labels: str, count: int = 1) -> None:
        with self._lock:
            self._counts[labels] += count

    def render(self) -> str:
        """The counter in Prometheus' text format."""
        lines = [f"# HELP {self._name} {self._text}", f"# TYPE {self._name} counter"]
        with self._lock:
            for labels, count in self._counts.items():
                pairs = zip(self._labels, map(_escape, labels), strict=True)
                lines.append(
                    f"{self._name}{{{','.join(f'{name}={value}' for name, value in pairs)}}} {count}"
                )
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
