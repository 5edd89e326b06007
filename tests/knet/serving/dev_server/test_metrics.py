"""Tests of the metrics under TF Serving's names, and of observers."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from prometheus_client.parser import text_string_to_metric_families
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from knet.client import Client
from knet.serving.dev_server import observers
from knet.serving.dev_server.metrics import Metrics
from knet.serving.dev_server.observers import RequestRecord
from knet.serving.dev_server.server import DevServer, Options


@pytest.fixture(scope="module")
def fresh(base_path: Path) -> Iterator[DevServer]:
    """A server without requests."""
    with DevServer(base_path, port=0, rest_port=0) as server:
        yield server


def metrics_text(server: DevServer) -> str:
    with urllib.request.urlopen(f"http://{server.rest_address}/monitoring/prometheus/metrics") as reply:
        assert reply.headers["Content-Type"].startswith("text/plain")
        text: str = reply.read().decode()
    return text


def samples(server: DevServer) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        # the parser calls counters as OpenMetrics does
        (sample.name.removesuffix("_total"), tuple(sorted(sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(metrics_text(server))
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_metrics_count_requests_by_model_and_status(fresh: DevServer) -> None:
    with grpc.insecure_channel(fresh.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(model: str, values: Any) -> None:
            request = predict_pb2.PredictRequest(model_spec={"name": model, "signature_name": "double"})
            request.inputs["x"].CopyFrom(tf.make_tensor_proto(values))
            stub.Predict(request)

        ask("knet", [1.0, 2.0])
        ask("knet", [1.0, 2.0])
        for model, values in (("knet", [1.0]), ("unknown-1", [1.0]), ("unknown-2", [1.0])):
            with pytest.raises(grpc.RpcError):
                ask(model, values)
    found = samples(fresh)
    assert found[":tensorflow:serving:request_count", ("OK", "knet")] == 2
    assert found[":tensorflow:serving:request_count", ("INVALID_ARGUMENT", "knet")] == 1
    assert found[":tensorflow:serving:request_count", ("NOT_FOUND", "unknown")] == 2
    latency = ":tensorflow:serving:request_latency"
    assert found[f"{latency}_count", ("GRPC", "Predict", "knet")] == 3
    assert found[f"{latency}_sum", ("GRPC", "Predict", "knet")] > 1  # microseconds
    assert found[":tensorflow:serving:runtime_latency_count", ("Predict", "TF1", "knet")] == 2
    loads = {labels: n for (name, labels), n in found.items() if name.endswith("load_attempt_count")}
    assert [(Path(path).name, status) for path, status in loads] == [("7", "OK")]


def test_metrics_count_rest_requests(fresh: DevServer) -> None:
    url = f"http://{fresh.rest_address}/v1/models/knet:predict"
    urllib.request.urlopen(url, b'{"signature_name": "double", "inputs": [1, 2]}').read()
    assert samples(fresh)[":tensorflow:serving:request_latency_count", ("Predict", "REST", "knet")] == 1


def test_metrics_have_the_types_of_tf_serving(fresh: DevServer) -> None:
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", metrics_text(fresh), re.MULTILINE))
    assert (
        types.items()
        >= {
            ":tensorflow:serving:request_count": "counter",
            ":tensorflow:cc:saved_model:load_attempt_count": "counter",
            ":knet:observer:dropped_images_count": "counter",
            ":tensorflow:serving:request_latency": "histogram",
            ":tensorflow:serving:runtime_latency": "histogram",
        }.items()
    )


def test_metrics_escape_label_values() -> None:
    metrics = Metrics()
    path = 'a"b\\c\nd'
    metrics.count_load(path, "OK")
    (family,) = (
        family
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.endswith("load_attempt_count")
    )
    assert [sample.labels["model_path"] for sample in family.samples] == [path]


class RecordingObserver:
    def __init__(self) -> None:
        self.records: list[RequestRecord] = []

    def observe(self, request_record: RequestRecord) -> None:
        self.records.append(request_record)


class FailingObserver:
    def observe(self, request_record: RequestRecord) -> None:
        raise OSError("disk full")


def test_observer_receives_requests_with_images(base_path: Path, png: Callable[[int], bytes]) -> None:
    observer = RecordingObserver()
    with (
        DevServer(base_path, port=0, options=Options(observers=[FailingObserver(), observer])) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest(model_spec={"name": "knet"}, output_filter=["label"])
        request.inputs["image"].CopyFrom(tf.make_tensor_proto([png(51), png(255)]))
        assert set(stub.Predict(request).outputs) == {"label"}
        with pytest.raises(grpc.RpcError):
            request.inputs["image"].string_val[0] = b"no image"
            stub.Predict(request)
        other = predict_pb2.PredictRequest(model_spec={"name": "knet", "signature_name": "double"})
        other.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
        stub.Predict(other)
    (record,) = observer.records  # neither failed requests nor those without images
    assert (record.model, record.version, record.signature) == ("knet", 7, "serving_default")
    assert record.image_sha256 == tuple(hashlib.sha256(png(level)).hexdigest() for level in (51, 255))
    assert record.time.utcoffset() is not None and 0 < record.seconds < 60
    dark, bright = record.outputs
    assert dark == {
        "probabilities": pytest.approx([0.8, 0.2]),
        "classes": ["benign", "malignant"],
        "label": "benign",
        "score": pytest.approx(0.2),
        "in_distribution": False,
        "reasons": ["dark", ""],
        "distance": pytest.approx(0.8),
    }
    assert (bright["label"], bright["in_distribution"]) == ("malignant", True)


class BlockedObserver:
    """Waits in its first record until `go_on` is set."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.scores: list[object] = []

    def observe(self, request_record: RequestRecord) -> None:
        assert self.go_on.wait(60)
        self.scores += [outputs["score"] for outputs in request_record.outputs]


def test_slow_observer_delays_no_reply_and_loses_what_does_not_fit(
    base_path: Path,
    png: Callable[[int], bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    images = [png(level) for level in (51, 102, 153, 204)]
    monkeypatch.setattr(observers, "_MAX_WAITING", 2 * max(map(len, images)))
    observer = BlockedObserver()
    with (
        DevServer(base_path, port=0, rest_port=0, options=Options(observers=[observer])) as server,
        Client(server.address, batch=1, concurrency=1) as client,
    ):
        assert len(client.predict(images)) == 4
        dropped = ":knet:observer:dropped_images_count"
        assert samples(server)[dropped, ("knet",)] == 2
        observer.go_on.set()
        deadline = time.monotonic() + 60
        while len(observer.scores) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client.predict(images[3:])
    assert observer.scores == pytest.approx([0.2, 0.4, 0.8])
    warnings = [record for record in caplog.records if "observers are slower" in record.message]
    assert len(warnings) == 1


def test_observer_import_needs_no_tensorflow() -> None:
    program = "import sys, knet.serving.dev_server.observers; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
